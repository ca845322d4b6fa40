"""The service's side: the places of a pool, requests that wait for them, and what comes back put into errors."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from pkgutil import resolve_name
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, assert_never

from alchemiscale_strategist.adapters.process_pool.keeper import (
    BEGIN_LIMIT,
    START_LIMIT,
    Ending,
    Outcome,
    WorkerOptions,
    become_keeper,
    run_in_worker,
)
from alchemiscale_strategist.bounded_json import JsonLimits, JsonValue, parse_bounded_json
from alchemiscale_strategist.checks import check_whole_number
from alchemiscale_strategist.errors import (
    InvalidWeightsError,
    MissingDependencyError,
    RejectedFileError,
    RejectedInputError,
    StoppedError,
    StrategistError,
    StrategyError,
    TransientError,
)
from alchemiscale_strategist.planning.models import TransformationKey, Weights
from alchemiscale_strategist.ports import ProposalRequest
from alchemiscale_strategist.strategies.native import NATIVE_STRATEGIES, NativeStrategy

if TYPE_CHECKING:
    from pebble import ProcessPool

__all__ = ["DEFAULT_ENVIRONMENT", "ProcessPoolRunner", "ProposalCancelledError"]

DEFAULT_ENVIRONMENT = (
    "PATH",
    "HOME",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONNOUSERSITE",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPYCACHEPREFIX",
    "PYTHONHASHSEED",
    "PYTHONUTF8",
    "OMP_*",
    "OPENBLAS_*",
    "MKL_*",
)
"""The environment variables that workers get to see; ``*`` stands for any letters."""

_MEBIBYTE = 2**20
_LEAST_MEMORY = 16 * _MEBIBYTE
# The pool is as wide as the operator wants it; libraries that start a thread for every core would make it wider.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
# A weight takes at most 25 characters, an escaped one of a key 6, or 12 beyond the basic plane.
_MOST_OF_A_WEIGHT = 64
_MOST_OF_A_LETTER = 12
_MOST_OF_AN_ERROR = 2**18
# A keeper ends every proposal in time; one that does not is out of order.
_KEEPERS_MARGIN = 30.0
_LOOK_AFTER_THE_POOL = 1.0

_WAKE = "then set it again, or wake it when the cause is gone"


_BROKEN_POOL = (
    "It is started anew for the next proposal. If that breaks down as well, the processes say why on stderr. A script "
    "that makes a runner does so below `if __name__ == '__main__':`, since spawned processes import it."
)


class ProposalCancelledError(StoppedError):
    """The runner was closed before the proposal was ready: nobody's fault, and worth another try elsewhere."""

    remedy = "Give the claim back: another service, or this one after its start, takes it up again."


class ProcessPoolRunner:
    """Runs native Strategies in worker processes, under limits on time and memory; fulfils ``ProposalRunner``.

    A proposal that loops, eats memory, prints without end or kills its process fails alone, with a
    :class:`StrategyError`. Any number of threads may call :meth:`propose`; those for whom no worker is free wait, and
    their time does not count. Processes are started by the first proposal and live until :meth:`close`, or until the
    service is gone, however it ended. Made for Linux. They are spawned and so import the main module: a script does its
    work below ``if __name__ == "__main__":``.

    It contains faults, not attacks: a worker has the service's user id, its network and its files. Between two
    proposals a worker is looked at from outside, and replaced when threads, processes, files, signal handlers,
    environment, directory or memory are not what they were, and when a Strategy ran out of memory or wanted to exit.
    What one changed *within* Python's modules stays for the next one, unless ``max_tasks_per_worker`` is 1.

    Args:
        workers: how many proposals run at once, ≥ 1; each place takes two processes.
        time_limit: how long a proposal may run, > 0.
        memory_limit: bytes that a proposal may use beyond what the interpreter and the Strategies' modules take, at
            least 16 MiB. Private memory ends in a ``MemoryError`` (``RLIMIT_DATA``); what that does not count, shared
            memory and other processes of the Strategy's, is measured ten times a second, and too much of it killed.
        max_tasks_per_worker: after so many proposals a worker is replaced, ≥ 1.
        strategies: the Strategies that workers know: classes that can be imported by name, or ``"module:Name"``, which
            is imported in the workers only.
        environment: names of the environment variables that workers get, as far as they are set; ``*`` stands for any
            letters. Nothing else of the environment reaches them. Numeric libraries get one thread each where the
            environment does not say otherwise.

    Raises:
        RejectedInputError: names the argument that is not acceptable.
        MissingDependencyError: pebble is not installed.
        StrategistError: the system is not Linux.

    >>> from alchemiscale_strategist.networks import NetworkGraph, NetworkTransformation
    >>> from alchemiscale_strategist.ports import GraphInputs, StrategyPayload
    >>> from alchemiscale_strategist.results import NetworkResults
    >>> edge = NetworkTransformation(key="Transformation-1", name="a_b", state_a="a", state_b="b", leg="solvent")
    >>> network = NetworkGraph(name="pair", key="EdgeTable-1", transformations=(edge,))
    >>> inputs = GraphInputs(network=network, results=NetworkResults(transformations=(edge.key,), repeats={}))
    >>> request = ProposalRequest(strategy=StrategyPayload.native("uniform"), inputs=inputs)
    >>> with ProcessPoolRunner(workers=1, time_limit=timedelta(seconds=10)) as runner:
    ...     runner.propose(request)
    {'Transformation-1': 1.0}
    """

    def __init__(
        self,
        *,
        workers: int = 2,
        time_limit: timedelta = timedelta(minutes=1),
        memory_limit: int = 2048 * _MEBIBYTE,
        max_tasks_per_worker: int = 100,
        strategies: Mapping[str, type[NativeStrategy] | str] = NATIVE_STRATEGIES,
        environment: Collection[str] = DEFAULT_ENVIRONMENT,
    ) -> None:
        check_whole_number("workers", workers, least=1)
        check_whole_number("memory_limit", memory_limit, least=_LEAST_MEMORY)
        check_whole_number("max_tasks_per_worker", max_tasks_per_worker, least=1)
        _check_duration("time_limit", time_limit)
        if isinstance(environment, str):
            raise RejectedInputError(field="environment", value=environment, expected="a collection of names")
        if sys.platform != "linux":
            raise StrategistError(
                f"processes of their own for Strategies need Linux, and this is {sys.platform}",
                remedy="Use the in-process runner for Strategies that you trust.",
            )
        _require_pebble()
        self._workers = workers
        self._options = WorkerOptions(
            strategies={name: _reference(name, strategy) for name, strategy in strategies.items()},
            environment=_ONE_THREAD
            | {
                name: value
                for name, value in os.environ.items()
                if any(fnmatchcase(name, pattern) for pattern in environment)
            },
            path=tuple(str(Path(entry).absolute()) for entry in sys.path),
            time_limit=time_limit.total_seconds(),
            memory_limit=memory_limit,
            max_tasks=max_tasks_per_worker,
        )
        # Guards what follows; notified of every change to the places and of the end.
        self._gate = threading.Condition()
        self._waiting: deque[object] = deque()
        self._free = workers
        self._closed = False
        self._pool: ProcessPool | None = None
        self._running: set[Future[Outcome]] = set()

    def propose(self, request: ProposalRequest) -> Weights:
        """Return the Strategy's weights as floats and ``None``, from a worker.

        Waits for a free worker for as long as it takes.

        Raises:
            InvalidWeightsError: it returned something else than weights of the network's Transformations.
            StrategyError: it is unknown, its settings are wrong, or it failed; ``error_type`` is the class of what it
                raised, or ``TimeLimitExceeded``, ``MemoryLimitExceeded`` or ``WorkerDied``; ``details`` has its
                traceback and the end of what it printed.
            ProposalCancelledError: the runner is closed, or was closed meanwhile.
            TransientError: the runner's own processes failed.
        """
        # A copy of the network without what was computed from it and is kept in it, which may be larger than it is.
        network = replace(request.inputs.network)
        content = pickle.dumps(
            replace(request, inputs=replace(request.inputs, network=network)), protocol=pickle.HIGHEST_PROTOCOL
        )
        of_weights = sum(_MOST_OF_A_WEIGHT + _MOST_OF_A_LETTER * len(edge.key) for edge in network)
        answer_limit = _MOST_OF_AN_ERROR + of_weights
        with self._place():
            outcome = self._run(content, answer_limit)
        return _Reading(request.strategy.name, outcome, self._options, answer_limit).weights()

    def close(self, *, cancel: bool = False) -> None:
        """End the workers; returns when no process is left. Closing again does nothing.

        Proposals that wait for a worker end with a :class:`ProposalCancelledError`. Those that run are waited for, or,
        with ``cancel``, end in the same way at once.
        """
        with self._gate:
            self._closed = True
            self._gate.notify_all()
            running = tuple(self._running) if cancel else ()
        for future in running:
            future.cancel()
        with self._gate:
            self._gate.wait_for(lambda: self._free == self._workers)
            if self._pool is not None:
                _end_pool(self._pool)
                self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; what still runs is cancelled when the block ends with an error."""
        self.close(cancel=kind is not None)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        ticket = object()
        with self._gate:
            # In the order in which they came: a thread that comes again and again would get ahead of one that waits.
            self._waiting.append(ticket)
            try:
                self._gate.wait_for(lambda: self._closed or (self._free > 0 and self._waiting[0] is ticket))
                self._refuse_when_closed()
                self._free -= 1
            finally:
                self._waiting.remove(ticket)
                self._gate.notify_all()
        try:
            yield
        finally:
            with self._gate:
                self._free += 1
                self._gate.notify_all()

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise ProposalCancelledError("the runner of proposals is closed")

    def _run(self, content: bytes, answer_limit: int) -> Outcome:
        pool, future = self._schedule(content, answer_limit)
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        try:
            # A pool that breaks down forgets those of its tasks that it has not handed out yet.
            while not done.wait(_LOOK_AFTER_THE_POOL) and (pool.active or done.wait(_LOOK_AFTER_THE_POOL)):
                pass
            return future.result(timeout=0)
        except CancelledError:
            raise ProposalCancelledError("the proposal was cancelled, as its runner was closed") from None
        except BrokenExecutor as error:
            raise TransientError(f"the pool of processes broke down: {error}", remedy=_BROKEN_POOL) from error
        except FutureTimeoutError as error:
            raise TransientError("nothing was heard of the process in charge of the proposal") from error
        except Exception as error:
            # No Strategy runs in those processes, so whatever went wrong there is ours.
            raise TransientError(f"the process in charge of the proposal failed: {_described(error)}") from error
        finally:
            # Where the caller was interrupted: its place is free again, so the work has to end.
            future.cancel()
            with self._gate:
                self._running.discard(future)

    def _schedule(self, content: bytes, answer_limit: int) -> tuple[ProcessPool, Future[Outcome]]:
        backstop = self._options.time_limit + 2 * (START_LIMIT + BEGIN_LIMIT) + _KEEPERS_MARGIN
        problem: Exception | None = None
        with self._gate:
            self._refuse_when_closed()
            # A pool may have broken down while nobody looked; the second one has no such excuse.
            for _ in range(2):
                self._pool = self._pool or _new_pool(self._workers, self._options)
                try:
                    future = self._pool.schedule(run_in_worker, args=(content, answer_limit), timeout=backstop)
                except (RuntimeError, OSError) as error:
                    problem = error
                    _end_pool(self._pool)
                    self._pool = None
                else:
                    self._running.add(future)
                    return self._pool, future
        raise TransientError(f"no process can be started for proposals: {_described(problem)}") from problem


class _Reading:
    """What an outcome means for those who asked for weights."""

    def __init__(self, strategy: str, outcome: Outcome, options: WorkerOptions, answer_limit: int) -> None:
        self._strategy = f"the Strategy {strategy!r}"
        self._outcome = outcome
        self._options = options
        self._answer_limit = answer_limit

    def weights(self) -> Weights:
        match self._outcome.ending:
            case Ending.ANSWERED:
                return self._answered()
            case Ending.TOO_LONG:
                raise self._failure(
                    f"{self._strategy} took longer than the time limit of {self._options.time_limit:g} s",
                    error_type="TimeLimitExceeded",
                    remedy=f"Make it quicker, or have the service's time limit raised; {_WAKE}.",
                )
            case Ending.TOO_LARGE:
                raise self._too_large("its process was killed")
            case Ending.DIED:
                raise self._failure(
                    f"{self._strategy} ended its process: {_ending(self._outcome.exit_code)}",
                    error_type="WorkerDied",
                    remedy=f"Mend the Strategy, which is to return its weights or raise an error; {_WAKE}.",
                )
            case Ending.NOT_STARTED:
                raise TransientError(f"no worker can be started for proposals: {self._outcome.problem}")
            case _:
                assert_never(self._outcome.ending)

    def _answered(self) -> Weights:
        try:
            limits = JsonLimits(max_bytes=self._answer_limit, max_depth=4, allow_non_finite=True)
            answer = parse_bounded_json(self._outcome.answer, source="answer", limits=limits)
        except RejectedFileError as error:
            raise self._damaged(error.problem) from error
        match answer:
            case {"weights": dict(weights)}:
                return self._plain(weights)
            case {"invalid": str(message), "details": str(details)}:
                raise InvalidWeightsError(_clean(message), details=self._details(details))
            case {"refused": str(message), "type": str(kind), "remedy": str(remedy), "details": str(details)}:
                raise self._failure(message, error_type=kind, details=details, remedy=remedy)
            case {"raised": str(told), "memory": True, "details": str(details)}:
                raise self._too_large(f"it raised {told}", details=details)
            case {"raised": str(told), "type": str(kind), "details": str(details)}:
                raise self._failure(
                    f"{self._strategy} raised {told}", error_type=kind, details=details, remedy=f"Mend it; {_WAKE}."
                )
            case _:
                raise self._damaged("it has another form")

    def _plain(self, weights: dict[str, JsonValue]) -> Weights:
        plain: dict[TransformationKey, float | None] = {}
        for key, weight in weights.items():
            if weight is not None and not isinstance(weight, float):
                raise self._damaged("a weight is no number")
            plain[TransformationKey(key)] = weight
        return plain

    def _too_large(self, what: str, *, details: str = "") -> StrategyError:
        limit = f"{self._options.memory_limit / _MEBIBYTE:,.0f} MiB"
        return self._failure(
            f"{self._strategy} needed more than the memory limit of {limit}: {what}",
            error_type="MemoryLimitExceeded",
            details=details,
            remedy=f"Have it use less memory, or have the service's memory limit raised; {_WAKE}.",
        )

    def _damaged(self, problem: str) -> StrategyError:
        return self._failure(
            f"{self._strategy} damaged its connection to the service: the answer cannot be read, {problem}",
            error_type="WorkerDied",
            remedy=f"Mend the Strategy, which is to leave files alone that it has not opened; {_WAKE}.",
        )

    def _failure(self, message: str, *, error_type: str, remedy: str, details: str = "") -> StrategyError:
        return StrategyError(
            _clean(message), error_type=_clean(error_type), details=self._details(details), remedy=_clean(remedy)
        )

    def _details(self, traceback: str) -> str:
        parts = [_clean(traceback).strip()]
        if output := self._outcome.output.decode("utf-8", errors="backslashreplace").strip():
            parts.append(f"The end of its output:\n{output}")
        return "\n\n".join(part for part in parts if part)


def _check_duration(field: str, value: object) -> None:
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise RejectedInputError(field=field, value=value, expected="a timedelta above 0")


def _require_pebble() -> None:
    try:
        import pebble  # noqa: F401, PLC0415 - workers load this module, too, and have no use for it
    except ImportError:
        raise MissingDependencyError(
            feature="running Strategies in processes of their own", package="pebble", extra="service"
        ) from None


def _new_pool(workers: int, options: WorkerOptions) -> ProcessPool:
    from pebble import ProcessPool  # noqa: PLC0415 - as above

    # Spawned, not forked, as the service has threads. Not by a fork server either: that would be one more process to
    # die, shared with whatever else in the service uses one, and it would stand between a keeper and its parent.
    context: Any = multiprocessing.get_context("spawn")
    return ProcessPool(max_workers=workers, initializer=become_keeper, initargs=(options,), context=context)


def _end_pool(pool: ProcessPool) -> None:
    # It is given up in any case; keepers that it cannot end see the service end, and follow.
    with contextlib.suppress(RuntimeError, OSError):
        pool.stop()  # type: ignore[no-untyped-call] # pebble's
        pool.join()


def _reference(name: str, strategy: type[NativeStrategy] | str) -> str:
    field = f"strategies[{name!r}]"
    if isinstance(strategy, str):
        if _REFERENCE.fullmatch(strategy):
            return strategy
        raise RejectedInputError(field=field, value=strategy, expected="a class, or text such as 'package.module:Name'")
    reference = f"{strategy.__module__}:{strategy.__qualname__}"
    try:
        found = resolve_name(reference)
    except (ImportError, AttributeError, ValueError):
        found = None
    # Another process has another main module.
    if found is not strategy or strategy.__module__ == "__main__":
        expected = "a class that a module of its own can be asked for by name"
        raise RejectedInputError(field=field, value=strategy, expected=expected)
    return reference


def _ending(exit_code: int | None) -> str:
    if exit_code is None:
        return "it closed or damaged its connection to the service"
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:  # a real-time signal
        name = f"signal {-exit_code}"
    return f"killed by {name}"


def _described(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _clean(text: str) -> str:
    """Text that every database takes: without half of a surrogate pair."""
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")
