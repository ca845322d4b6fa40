"""Strategies that misbehave, each in one way, and one that does not; for tests of whatever runs Strategies.

Workers import this module by name, so the folder has to be on ``sys.path``, or name the module in a plugin. All take a
setting ``scratch``: a folder in which they leave notes for the test. ``MISBEHAVING`` has those that are to end in the
status ``error`` under a limit of a few seconds and of 128 MiB, with the type of error that tells what they did.
"""
# ruff: noqa: ARG002, T201 - what it is given matters to none of them, and some print

import contextlib
import ctypes
import json
import mmap
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from alchemiscale_strategist.strategies.native import NativeStrategyBase

MEBIBYTE = 2**20
FOR_EVER = 3600
ONE_FILLED_PAGE = b"x" * mmap.PAGESIZE

BY_NAME = {}
MISBEHAVING = {}


def healthy(network):
    return {edge.key: 1.0 for edge in network}


@dataclass(frozen=True, kw_only=True)
class Behaviour(NativeStrategyBase):
    """Does what ``act`` says, then proposes as others do."""

    scratch: str = ""

    def act(self):
        """Return weights, or ``None`` for healthy ones."""

    def propose(self, network, results):
        returned = self.act()
        return healthy(network) if returned is None else returned

    def note(self, name, text=""):
        """Write a file at one stroke, so that who waits for it finds all of it."""
        if self.scratch:
            unfinished = Path(self.scratch, f".{name}")
            unfinished.write_text(str(text), encoding="utf-8")
            unfinished.rename(Path(self.scratch, name))


def strategy(error_type=None):
    """Make a Strategy of a function, which may take a Behaviour, and register it under the function's name."""

    def register(act):
        name = act.__name__
        does = act if act.__code__.co_argcount else staticmethod(act)
        # Without annotations it has the fields of a Behaviour and no others.
        made = type(name, (Behaviour,), {"name": name, "act": does, "__module__": __name__, "__doc__": act.__doc__})
        BY_NAME[name] = made
        if error_type is not None:
            MISBEHAVING[name] = error_type
        return made

    return register


@strategy()
def behaves():
    """Nothing amiss."""


# Taking too long


@strategy("TimeLimitExceeded")
def loops(self):
    self.note("started", os.getpid())
    while True:
        pass


@strategy("TimeLimitExceeded")
def waits(self):
    self.note("started", os.getpid())
    threading.Event().wait(FOR_EVER)


@strategy("TimeLimitExceeded")
def loops_in_c():
    """One call that never comes back to the interpreter: no signal handler and no other thread of Python's runs."""
    sum(range(10**15))


@strategy("TimeLimitExceeded")
def loops_deaf():
    """Ends for no signal that can be refused."""
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        pass


@strategy("TimeLimitExceeded")
def stops_itself():
    os.kill(os.getpid(), signal.SIGSTOP)


@strategy("TimeLimitExceeded")
def prints_for_ever():
    while True:
        os.write(1, b"and on and on " * 5000)


@strategy("TimeLimitExceeded")
def loops_when_it_is_shown():
    class EndlessError(Exception):
        def __str__(self):  # noqa: PLE0307 - it never gets so far
            while True:
                pass

    raise EndlessError


# Taking too much memory


@strategy("MemoryLimitExceeded")
def hoards():
    kept = []
    while True:
        kept.append(bytearray(MEBIBYTE))


@strategy("MemoryLimitExceeded")
def asks_for_a_terabyte():
    bytearray(2**40)


@strategy("MemoryLimitExceeded")
def hoards_small_things():
    kept = []
    while True:
        kept.append(object())


@strategy("MemoryLimitExceeded")
def hoards_shared_memory():
    """Which no limit on data counts."""
    kept = []
    while True:
        kept.append(mmap.mmap(-1, 8 * MEBIBYTE))
        kept[-1].write(b"x" * 8 * MEBIBYTE)
        time.sleep(0.02)  # slower than the machine dies, quicker than the limit on time


@strategy("MemoryLimitExceeded")
def hoards_in_children():
    """Of which each keeps to the limit."""
    for _ in range(4):
        if os.fork() == 0:
            kept = bytearray(b"x") * (64 * MEBIBYTE)
            threading.Event().wait(FOR_EVER)
            os._exit(len(kept) == 0)
    threading.Event().wait(FOR_EVER)


# Ending the process


@strategy("WorkerDied")
def exits_with_three():
    os._exit(3)


@strategy("WorkerDied")
def exits_well():
    os._exit(0)


@strategy("SystemExit")
def exits_by_exception():
    sys.exit(3)


@strategy("WorkerDied")
def exits_from_a_thread():
    threading.Thread(target=os._exit, args=(4,)).start()
    threading.Event().wait(FOR_EVER)


@strategy("WorkerDied")
def segfaults():
    ctypes.string_at(0)


@strategy("WorkerDied")
def aborts():
    os.abort()


@strategy("WorkerDied")
def kills_itself():
    os.kill(os.getpid(), signal.SIGKILL)


@strategy("WorkerDied")
def kills_its_group():
    os.killpg(0, signal.SIGKILL)


@strategy("WorkerDied")
def exits_and_leaves_a_child():
    """The child has the socket, so that it stays open."""
    if os.fork() == 0:
        threading.Event().wait(FOR_EVER)
        os._exit(0)
    os._exit(5)


@strategy("WorkerDied")
def closes_all_files():
    os.closerange(3, 256)


@strategy("WorkerDied")
def writes_to_all_files():
    """Its socket among them: what it writes there is no answer."""
    for number in range(3, 256):
        with contextlib.suppress(OSError):
            os.write(number, b"not what anybody expects, and much longer than a header" * 10)


@strategy("WorkerDied")
def writes_an_answer():
    """Well framed, but no JSON."""
    for number in range(3, 256):
        with contextlib.suppress(OSError):
            os.write(number, (40).to_bytes(8, "big") + b"+" * 40)
    threading.Event().wait(FOR_EVER)


@strategy()
def forges_an_answer(self):
    """The text in the file ``answer``, and looks up what makes it one; no accident does."""
    caller = sys._getframe()
    while "channel" not in caller.f_locals:
        caller = caller.f_back
    content = caller.f_locals["request"][:16] + b"+" + Path(self.scratch, "answer").read_bytes()
    caller.f_locals["channel"].sendall(len(content).to_bytes(8, "big") + content)
    os._exit(0)


@strategy("KeyboardInterrupt")
def interrupts():
    raise KeyboardInterrupt


# Leaving something behind, but proposing


@strategy()
def prints_megabytes():
    for _ in range(64):
        print("to stdout " * 6554)
        print("to stderr " * 6554, file=sys.stderr)
        os.write(1, b"past Python " * 5461)
    subprocess.run([sys.executable, "-c", "print('of a child ' * 500_000)"], check=True)
    print("the very last words")


@strategy("ValueError")
def prints_and_raises():
    print("first words", "and so on " * 100_000)
    print("the very last words")
    raise ValueError("after much ado")


@strategy()
def leaves_a_thread():
    threading.Thread(target=threading.Event().wait, args=(FOR_EVER,)).start()


@strategy()
def leaves_a_thread_that_exits():
    """Some time after its proposal was good."""

    def exit_later():
        time.sleep(0.05)
        os._exit(6)

    threading.Thread(target=exit_later, daemon=True).start()


@strategy()
def leaves_a_child(self):
    child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({FOR_EVER})"])
    self.note("left", child.pid)
    child.returncode = 0  # or its end would be a ResourceWarning


@strategy()
def leaves_a_daemon(self):
    leave_a_daemon(self)


def leave_a_daemon(behaviour):
    """In a session of its own and without its parent: out of reach of whoever kills groups or children."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            behaviour.note("left", os.getpid())
            threading.Event().wait(FOR_EVER)
        os._exit(0)
    while not Path(behaviour.scratch, "left").exists():
        time.sleep(0.01)


@strategy("TimeLimitExceeded")
def leaves_a_daemon_and_waits(self):
    leave_a_daemon(self)
    self.note("started", os.getpid())
    threading.Event().wait(FOR_EVER)


@strategy()
def forks_and_both_return():
    os.fork()


@strategy()
def forks_and_the_copy_raises():
    """Before the original has an answer."""
    if os.fork() == 0:
        raise ValueError("I am not the one")
    time.sleep(0.2)


@strategy()
def leaves_its_folder():
    os.chdir("/proc")


@strategy()
def leaves_signal_handlers():
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


@strategy()
def leaves_open_files(self):
    self.note("file")
    os.open(Path(self.scratch, "file"), os.O_RDONLY)


@strategy()
def leaves_output_closed():
    os.closerange(0, 3)


@strategy()
def leaves_a_umask():
    os.umask(0o777)


@strategy()
def leaves_a_variable():
    os.environ["LEFT"] = "behind"


KEPT = []


@strategy()
def leaves_memory_full():
    KEPT.append(bytearray(b"x") * (96 * MEBIBYTE))


@strategy()
def leaves_memory_limited():
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (soft // 2, hard))


@strategy()
def needs_memory():
    """Less than the limit, but not if somebody left much behind."""
    bytearray(b"x") * (96 * MEBIBYTE)


# Telling the test how it runs


@strategy()
def tells_of_itself(self):
    """What it can see of the world."""
    parent = os.getppid()
    told = {
        "pid": os.getpid(),
        "parent": parent,
        "environment": dict(os.environ),
        "environment_at_start": Path("/proc/self/environ").read_bytes().decode(),
        "environment_of_parent": _readable(Path(f"/proc/{parent}/environ")),
        "files": [_kind(link) for link in sorted(Path("/proc/self/fd").iterdir()) if link.is_symlink()],
        "folder": str(Path.cwd()),
    }
    self.note("told", json.dumps(told))


def _kind(link):
    return link.readlink().name.partition(":")[0]


def _readable(path):
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return None


@strategy()
def takes_its_time(self):
    """Notes when it began and ended, by the clock that all processes share."""
    began = time.monotonic()
    time.sleep(0.6)
    self.note(f"span-{os.getpid()}-{began}", json.dumps([began, time.monotonic()]))


@strategy()
def waits_for_a_note(self):
    self.note("started", os.getpid())
    while not Path(self.scratch, "go on").exists():
        time.sleep(0.01)


# Returning what is none of plain numbers and texts


class _TellsWhenPickled(float):
    scratch = ""

    def __reduce__(self):
        return os.system, (f"touch {self.scratch}/unpickled",)


class _KeyOfItsOwn(str):
    __slots__ = ()

    def __reduce__(self):
        return os.system, ("false",)


@dataclass(frozen=True, kw_only=True)
class RunsCodeWhenUnpickled(Behaviour):
    """Its weights and its keys are numbers and texts, but not plain ones."""

    name: ClassVar[str] = "runs_code_when_unpickled"

    def propose(self, network, results):
        _TellsWhenPickled.scratch = self.scratch
        return {_KeyOfItsOwn(edge.key): _TellsWhenPickled(0.5) for edge in network}


@dataclass(frozen=True, kw_only=True)
class ReturnsMillions(Behaviour):
    """More weights than there are Transformations by far."""

    name: ClassVar[str] = "returns_millions"

    def propose(self, network, results):
        return dict.fromkeys(map(str, range(1_000_000)), 1.0)


@dataclass(frozen=True, kw_only=True)
class ReturnsNoEnd(Behaviour):
    """A mapping that never ends."""

    name: ClassVar[str] = "returns_no_end"

    def propose(self, network, results):
        class Endless(dict):
            def items(self):
                while True:
                    yield network.transformations[0].key, 1.0

        return Endless(a=1)


for _each in (RunsCodeWhenUnpickled, ReturnsMillions, ReturnsNoEnd):
    BY_NAME[_each.name] = _each
MISBEHAVING["returns_millions"] = "InvalidWeightsError"

REFERENCES = {name: f"{__name__}:{made.__qualname__}" for name, made in BY_NAME.items()}
