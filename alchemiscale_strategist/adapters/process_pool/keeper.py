"""The process between the service and a worker: it hands requests down, holds the limits, and buries what is left.

No Strategy runs here, and nothing that one made is unpickled or parsed. One keeper has one worker at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing import parent_process
from multiprocessing.connection import wait
from types import FrameType
from typing import NoReturn

from alchemiscale_strategist.adapters.process_pool import linux
from alchemiscale_strategist.adapters.process_pool.frames import (
    CONNECTION_LOST,
    HEADER_BYTES,
    KEEP,
    READY,
    TOKEN_BYTES,
    frame,
    frame_length,
)

__all__ = ["BEGIN_LIMIT", "START_LIMIT", "Ending", "Outcome", "WorkerOptions", "become_keeper", "run_in_worker"]

START_LIMIT = 60.0
"""Seconds within which a worker has to be ready, with all its imports."""

BEGIN_LIMIT = 10.0
"""Seconds within which a worker that is ready has to take a request on."""

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2])['path']; "
    "from alchemiscale_strategist.adapters.process_pool.worker import main; main()"
)
_TICK = 0.1
# A keeper that stood still (a stopped or frozen service) does not count the time against the Strategy.
_MOST_COUNTED = 0.5
# For a crash to be told apart from a closed socket, and for a traceback to be written.
_MOMENT = 0.5
_CHUNK = 2**16
_MOST_OUTPUT = 4 * 2**10
_MOST_UNREAD = 2**20
# What may stay behind in the heap: with more, the next Strategy would have noticeably less.
_LEFT_BEHIND = 1 / 8
# From here on a SIGKILL that nobody of ours sent is taken for the kernel's, which was out of memory.
_NEAR_THE_LIMIT = 0.8


class Ending(StrEnum):
    """How a proposal ended, as its keeper sees it."""

    ANSWERED = "answered"
    TOO_LONG = "too long"
    TOO_LARGE = "too large"
    DIED = "died"
    NOT_STARTED = "not started"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a keeper tells the service.

    Args:
        ending: how it ended.
        answer: JSON, not parsed, from a worker that answered.
        verdict: whether that worker may live on.
        exit_code: of one that died, negative for a signal; ``None`` for one that lived on without its socket.
        output: the end of what went to stdout and stderr.
        problem: why none could be started.
    """

    ending: Ending
    answer: bytes = b""
    verdict: bytes = b""
    exit_code: int | None = None
    output: bytes = b""
    problem: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerOptions:
    """What every worker of a runner is started with; plain values, so that they travel."""

    strategies: Mapping[str, str]
    environment: Mapping[str, str]
    path: tuple[str, ...]
    time_limit: float
    memory_limit: int
    max_tasks: int


def become_keeper(options: WorkerOptions) -> None:
    """Turn a fresh process of the pool into a keeper and start its first worker."""
    global _keeper  # noqa: PLW0603 - a process is one keeper, and the pool hands its tasks to functions
    linux.hide_from_same_user()
    linux.adopt_orphans()
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    _keeper = _Keeper(options)


def run_in_worker(request: bytes, answer_limit: int) -> Outcome:
    """Have the worker answer a request; runs in a keeper."""
    if _keeper is None:
        return Outcome(ending=Ending.NOT_STARTED, problem="this process was not made a keeper")
    return _keeper.run(request, answer_limit)


class _Keeper:
    def __init__(self, options: WorkerOptions) -> None:
        self._options = options
        self._worker: _Worker | None = None
        self._tasks = 0
        self._prepare()

    def run(self, request: bytes, answer_limit: int) -> Outcome:
        problem = ""
        # The first worker may have ended since it was looked at; a fresh one has no such excuse.
        for _ in range(2):
            try:
                worker = self._ready_worker()
                worker.begin(request)
                break
            except (OSError, _NotStartedError) as error:
                problem = str(error)
                self._discard()
        else:
            return Outcome(ending=Ending.NOT_STARTED, problem=problem)
        outcome = worker.finish(answer_limit)
        self._tasks += 1
        if outcome.verdict != KEEP or self._tasks >= self._options.max_tasks or not worker.is_as_it_was():
            self._discard()
            self._prepare()
        return outcome

    def _ready_worker(self) -> _Worker:
        # Nobody but the kernel touches it between two proposals, but the kernel may be short of memory.
        if self._worker is None or not self._worker.is_as_it_was():
            self._discard()
            self._worker = _Worker(self._options)
        self._worker.wait_until_ready()
        return self._worker

    def _prepare(self) -> None:
        # It imports what it needs while there is nothing to do. Where it cannot be started, the next proposal will say.
        with contextlib.suppress(OSError):
            self._worker = _Worker(self._options)

    def _discard(self) -> None:
        self._tasks = 0
        if self._worker is not None:
            self._worker.bury()
            self._worker = None


class _NotStartedError(Exception):
    """A worker did not become ready."""


class _Conversation:
    """A message down a worker's socket and the answer to it, as far as they got; both begin with the same token."""

    def __init__(self, message: bytes, *, token: bytes, answer_limit: int) -> None:
        self.unsent = memoryview(message)
        self.broken = False
        self._received = bytearray()
        self._token = token
        self._most = HEADER_BYTES + len(token) + answer_limit

    @property
    def answer(self) -> bytes | None:
        """The answer without its token, when all of it is there."""
        length = self._length()
        if length is None or len(self._received) < length:
            return None
        return bytes(self._received[HEADER_BYTES + len(self._token) : length])

    def move(self, channel: socket.socket, *, readable: bool, writable: bool) -> None:
        """Send and receive what goes without waiting."""
        try:
            if writable:
                self.unsent = self.unsent[channel.send(self.unsent[:_CHUNK]) :]
            if readable:
                # No more than belongs to it: the next message may follow at once.
                wanted = (self._length() or HEADER_BYTES) - len(self._received)
                chunk = channel.recv(min(wanted, _CHUNK))
                self._received += chunk
                self.broken = not chunk or not self._is_an_answer()
        except BlockingIOError:
            pass
        except OSError:
            self.broken = True

    def _is_an_answer(self) -> bool:
        length = self._length()
        if length is None:
            return True  # so far
        begins = self._received[HEADER_BYTES : HEADER_BYTES + len(self._token)]
        return HEADER_BYTES + len(self._token) <= length <= self._most and self._token.startswith(begins)

    def _length(self) -> int | None:
        if len(self._received) < HEADER_BYTES:
            return None
        return HEADER_BYTES + frame_length(bytes(self._received[:HEADER_BYTES]))


class _Worker:
    def __init__(self, options: WorkerOptions) -> None:
        self._options = options
        self._said = bytearray()
        self._state: linux.ProcessState | None = None
        self._memory = 0
        self._token = b""
        told = {
            "keeper": os.getpid(),
            "path": options.path,
            "strategies": dict(options.strategies),
            "memory_limit": options.memory_limit,
        }
        self._channel, theirs = socket.socketpair()
        # Our copy of the end to write to stays open: with none left, the other would count as readable for ever.
        self._output, self._output_writer = os.pipe()
        try:
            # Safe paths (-P): nothing is imported from the working directory. Unbuffered (-u): what a Strategy prints
            # does not show up among what a later one prints.
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
                [sys.executable, "-P", "-u", "-c", _BOOT, str(theirs.fileno()), json.dumps(told)],
                stdin=subprocess.DEVNULL,
                stdout=self._output_writer,
                stderr=self._output_writer,
                env=options.environment,
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except BaseException:
            self._close()
            raise
        finally:
            theirs.close()
        self._channel.setblocking(False)  # noqa: FBT003 - it has no keywords
        os.set_blocking(self._output, False)

    def wait_until_ready(self) -> None:
        """Wait for a fresh worker's first message, and remember how it looks before any Strategy ran in it."""
        if self._state is not None:
            return
        conversation = _Conversation(b"", token=READY, answer_limit=0)
        outcome = self._exchange(conversation, seconds=START_LIMIT, memory_limit=sys.maxsize)
        self._state = linux.process_state(self._process.pid)
        if outcome.ending is not Ending.ANSWERED or self._state is None:
            output = outcome.output.decode("utf-8", errors="replace").strip()
            raise _NotStartedError(f"{outcome.ending}, exit code {outcome.exit_code}, last words: {output or 'none'}")
        self._memory = linux.memory_in_use(self._process.pid)

    def begin(self, request: bytes) -> None:
        """Have it take a request on; until it says that it has, nothing is the Strategy's fault."""
        self._said.clear()
        self._token = os.urandom(TOKEN_BYTES)
        conversation = _Conversation(frame(self._token + request), token=self._token, answer_limit=0)
        outcome = self._exchange(conversation, seconds=BEGIN_LIMIT, memory_limit=sys.maxsize)
        if outcome.ending is not Ending.ANSWERED:
            raise _NotStartedError(f"it did not take the request on: {outcome.ending}, exit code {outcome.exit_code}")

    def finish(self, answer_limit: int) -> Outcome:
        """Wait for its answer, under the limits."""
        conversation = _Conversation(b"", token=self._token, answer_limit=answer_limit)
        memory_limit = self._memory + self._options.memory_limit
        return self._exchange(conversation, seconds=self._options.time_limit, memory_limit=memory_limit)

    def is_as_it_was(self) -> bool:
        """Whether no Strategy left anything: threads, processes, files, signal handlers, memory, unread words."""
        if self._state is None:
            return True  # none has run in it yet
        unread, _, _ = select.select([self._channel], [], [], 0)
        return (
            not unread
            and self._process.poll() is None
            and linux.descendants(os.getpid()) == [self._process.pid]
            and linux.process_state(self._process.pid) == self._state
            and linux.memory_in_use(self._process.pid) - self._memory <= self._options.memory_limit * _LEFT_BEHIND
        )

    def bury(self) -> None:
        """Kill it and all that descends from it."""
        self._process.kill()
        self._process.wait()
        _kill_descendants()
        self._close()

    def _close(self) -> None:
        self._channel.close()
        os.close(self._output)
        os.close(self._output_writer)

    def _exchange(self, conversation: _Conversation, *, seconds: float, memory_limit: int) -> Outcome:
        in_use = 0
        ended = False
        before = time.monotonic()
        next_look = before + _TICK
        while seconds > 0:
            received = self._wait(conversation, 0 if ended else min(_TICK, seconds))
            if conversation.broken or (ended and not received):
                return self._died(in_use=in_use, memory_limit=memory_limit)
            if (answer := conversation.answer) is not None:
                output = self._last_words()
                return Outcome(ending=Ending.ANSWERED, verdict=answer[:1], answer=answer[1:], output=output)
            now = time.monotonic()
            if now >= next_look:
                next_look = now + _TICK
                # A process that it left may hold the socket open when the worker itself is gone, and what was sent
                # before may still be unread.
                ended = self._process.poll() is not None
                in_use = linux.memory_in_use(self._process.pid) or in_use
                if in_use > memory_limit:
                    return Outcome(ending=Ending.TOO_LARGE, output=self._last_words())
            seconds -= min(now - before, _MOST_COUNTED)
            before = now
        self._have_it_say_where_it_is()
        return Outcome(ending=Ending.TOO_LONG, output=self._last_words())

    def _wait(self, conversation: _Conversation, seconds: float) -> bool:
        """Wait until something can be moved, move it, and return whether the worker sent any of it."""
        sending = [self._channel] if conversation.unsent else []
        readable, writable, _ = select.select([self._output, self._channel.fileno()], sending, [], seconds)
        if self._output in readable:
            self._listen()
        received = self._channel.fileno() in readable
        conversation.move(self._channel, readable=received, writable=bool(writable))
        return received

    def _died(self, *, in_use: int, memory_limit: int) -> Outcome:
        exit_code = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            exit_code = self._process.wait(_MOMENT)
        if exit_code == CONNECTION_LOST:
            exit_code = None
        out_of_memory = exit_code == -signal.SIGKILL and in_use > memory_limit * _NEAR_THE_LIMIT
        ending = Ending.TOO_LARGE if out_of_memory else Ending.DIED
        return Outcome(ending=ending, exit_code=exit_code, output=self._last_words())

    def _have_it_say_where_it_is(self) -> None:
        # To this signal the worker's faulthandler writes the stack of every thread, whatever they are doing.
        self._process.send_signal(signal.SIGABRT)
        deadline = time.monotonic() + _MOMENT
        while self._process.poll() is None and (left := deadline - time.monotonic()) > 0:
            if select.select([self._output], [], [], min(left, _TICK / 10))[0]:
                self._listen()

    def _last_words(self) -> bytes:
        # What fits into a pipe may be unread; of a stream that never ends no more than that is waited for.
        for _ in range(_MOST_UNREAD // _CHUNK):
            if not self._listen():
                break
        return bytes(self._said)

    def _listen(self) -> bool:
        try:
            self._said += os.read(self._output, _CHUNK)
        except BlockingIOError:
            return False
        del self._said[:-_MOST_OUTPUT]
        return True


_keeper: _Keeper | None = None


def _kill_descendants() -> None:
    linux.kill_all(lambda: linux.descendants(os.getpid()))


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    _kill_descendants()
    # Not 0: the pool would go on waiting for what a process was busy with if that ended well.
    os._exit(1)


def _end_with_parent(parent: int) -> None:
    service = parent_process()
    # A process that the service forked may hold the other end of the sentinel; then the new parent shows.
    while service is not None and not wait([service.sentinel], timeout=1.0) and os.getppid() == parent:
        pass
    _kill_descendants()
    os._exit(0)
