"""The process in which Strategies run: whatever one does here, what leaves is JSON of a bounded size.

A keeper starts it with a socket and options; it answers one request after the other until the keeper is gone.
"""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import json
import numbers
import os
import pickle
import pkgutil
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import NoReturn

from alchemiscale_strategist.adapters.process_pool import linux
from alchemiscale_strategist.adapters.process_pool.frames import (
    CONNECTION_LOST,
    KEEP,
    READY,
    RECYCLE,
    TOKEN_BYTES,
    frame,
    receive_frame,
)
from alchemiscale_strategist.errors import InvalidWeightsError, RejectedInputError, StrategyError
from alchemiscale_strategist.planning.scaling import check_keys
from alchemiscale_strategist.ports import ProposalRequest, StrategyKind, StrategyPayload
from alchemiscale_strategist.strategies.native import NativeStrategy, make_native_strategy

__all__ = ["main", "plain_weights"]

# To tell of a lack of memory takes some, too: the soft limit is the Strategy's, the hard one is ours.
_MEMORY_TO_TELL = 64 * 2**20
_MOST_MESSAGE = 2_000
_MOST_TRACEBACK = 16_000
_MOST_SHOWN = 120


def main() -> NoReturn:
    """Answer requests on the socket that the first argument numbers, as the options in the second say."""
    options = json.loads(sys.argv[2])
    linux.die_with_parent(options["keeper"])
    # A core dump would be as large as the memory limit; the traceback that a crash leaves on stderr says more.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Service managers send these to every process of a service. Ending workers is the service's part, and the
        # Strategy is not to blame for it. Handled, since programs that it starts would inherit ignored signals.
        signal.signal(number, _do_nothing)
    strategies = _Registered(options["strategies"])
    _answer_requests(socket.socket(fileno=int(sys.argv[1])), strategies, _MemoryLimit(options["memory_limit"]))
    # Nothing that a Strategy registered for the interpreter's exit is to run.
    os._exit(0)


def plain_weights(weights: object, transformations: Collection[str]) -> dict[str, float | None]:
    """Return what a Strategy returned as plain texts, floats and ``None``, reading no more than there can be.

    Raises:
        InvalidWeightsError: it is no mapping, a key is no Transformation, or a weight neither a real number nor None.

    >>> plain_weights({"a": 1, "b": None}, {"a", "b", "c"})
    {'a': 1.0, 'b': None}
    """
    if not isinstance(weights, Mapping):
        found = f"{type(weights).__name__}, expected a mapping of keys to weights"
        raise InvalidWeightsError(f"the Strategy returned {found}")
    # One more than there are Transformations is enough to find a key that is none, however long it goes on.
    items = itertools.islice(iter(weights.items()), len(transformations) + 1)
    plain = {_plain_key(key): _plain_weight(key, weight) for key, weight in items}
    check_keys(plain, transformations)
    return plain


class _Registered(Mapping[str, type[NativeStrategy]]):
    """The Strategies that workers know: names, and where each is imported from."""

    def __init__(self, references: Mapping[str, str]) -> None:
        self._references = references
        for name in references:
            # Now, so that no proposal's time goes into it; one that cannot be imported fails when it is asked for.
            with contextlib.suppress(Exception):
                self[name]

    def __getitem__(self, name: str) -> type[NativeStrategy]:
        found: type[NativeStrategy] = pkgutil.resolve_name(self._references[name])
        return found

    def __contains__(self, name: object) -> bool:
        # A Mapping's own would try to import it, and fail.
        return name in self._references

    def __iter__(self) -> Iterator[str]:
        return iter(self._references)

    def __len__(self) -> int:
        return len(self._references)


def _answer_requests(
    channel: socket.socket, strategies: Mapping[str, type[NativeStrategy]], memory: AbstractContextManager[None]
) -> None:
    process = os.getpid()
    environment = dict(os.environ)
    try:
        channel.sendall(frame(READY))
        while (request := receive_frame(channel)) is not None:
            channel.sendall(frame(request[:TOKEN_BYTES]))
            verdict, answer = _answer(request[TOKEN_BYTES:], strategies, memory)
            if os.getpid() != process:
                # The Strategy forked, and this is the copy that came back: the other one answers.
                os._exit(0)
            if dict(os.environ) != environment:
                verdict = RECYCLE
            channel.sendall(frame(request[:TOKEN_BYTES] + verdict + json.dumps(answer).encode("ascii")))
    except OSError:
        # The Strategy closed the socket, or the keeper is gone.
        os._exit(CONNECTION_LOST)


def _answer(
    request: bytes, strategies: Mapping[str, type[NativeStrategy]], memory: AbstractContextManager[None]
) -> tuple[bytes, dict[str, object]]:
    try:
        with memory:
            # The service wrote it; in the other direction nothing is ever unpickled.
            wanted: ProposalRequest = pickle.loads(request)  # noqa: S301
            strategy = _load(wanted.strategy, strategies)
            network = wanted.inputs.network
            known = frozenset(edge.key for edge in network)
            weights = plain_weights(strategy.propose(network, wanted.inputs.results), known)
    except BaseException as error:  # noqa: BLE001 - the boundary behind which a Strategy may do what it likes
        # To raise an error is a decent way to fail; who was out of memory or wanted to exit may have left a mess.
        decent = isinstance(error, Exception) and not isinstance(error, MemoryError)
        return (KEEP if decent else RECYCLE), _told(error)
    return KEEP, {"weights": weights}


def _load(payload: StrategyPayload, strategies: Mapping[str, type[NativeStrategy]]) -> NativeStrategy:
    if payload.kind is not StrategyKind.NATIVE:
        raise StrategyError(
            f"the Strategy {payload.name!r} is a gufe object, and this service runs native ones only",
            remedy=f"Set a native Strategy: {', '.join(sorted(strategies))}.",
        )
    try:
        return make_native_strategy(payload.name, payload.settings(), strategies=strategies)
    except (Exception, SystemExit) as error:
        told = _text(error) if isinstance(error, RejectedInputError) else _shown_error(error)
        raise StrategyError(
            f"the Strategy {payload.name!r} cannot be made: {told}",
            error_type=type(error).__name__,
            remedy="Set it again with settings that it accepts.",
        ) from error


def _plain_key(key: object) -> str:
    if isinstance(key, str):
        return str.__str__(key)
    raise InvalidWeightsError(f"a key of the weights is {_shown(key)}, expected the key of a Transformation")


def _plain_weight(key: object, weight: object) -> float | None:
    if weight is None:
        return None
    if isinstance(weight, numbers.Real) and not isinstance(weight, bool):
        with contextlib.suppress(OverflowError):  # a whole number beyond the range of a float
            return float(weight)
    expected = "expected None or a finite number ≥ 0"
    raise InvalidWeightsError(f"the weight of {_shown(key)} is {_shown(weight)}, {expected}")


def _told(error: BaseException) -> dict[str, object]:
    """What there is to say about an error, none of whose own methods can be relied upon."""
    details = _traceback(error)
    if isinstance(error, InvalidWeightsError):
        return {"invalid": _cut(_text(error), _MOST_MESSAGE), "details": details}
    if isinstance(error, StrategyError):
        # Ours, or of a Strategy that knows what to say.
        told = {"refused": _text(error), "type": error.error_type, "remedy": error.remedy}
        return {**{name: _cut(str(text), _MOST_MESSAGE) for name, text in told.items()}, "details": details}
    memory = isinstance(error, MemoryError)
    return {"raised": _shown_error(error), "type": _name(error), "details": details, "memory": memory}


def _shown_error(error: BaseException) -> str:
    text = _cut(_text(error), _MOST_MESSAGE)
    return f"{_name(error)}: {text}" if text else _name(error)


def _name(error: BaseException) -> str:
    return _cut(type(error).__name__, _MOST_SHOWN)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - it is the Strategy's own method
        return "(an error that cannot be printed)"


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))[-_MOST_TRACEBACK:]
    except BaseException:  # noqa: BLE001 - as above
        return ""


def _shown(value: object) -> str:
    try:
        return _cut(repr(value), _MOST_SHOWN)
    except BaseException:  # noqa: BLE001 - as above
        return f"a {type(value).__name__} that cannot be printed"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


class _MemoryLimit:
    """How much data the process may have: the soft limit while a Strategy runs, the hard one while its end is told."""

    def __init__(self, limit: int) -> None:
        # Data, not address space: libraries reserve that by the gigabyte and never touch it. What the interpreter and
        # the imports take is not the Strategy's.
        self._soft = linux.data_bytes() + limit
        self._hard = self._soft + _MEMORY_TO_TELL
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        if most != resource.RLIM_INFINITY:
            self._hard = min(self._hard, most)
            self._soft = min(self._soft, self._hard)

    def __enter__(self) -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (self._soft, self._hard))

    def __exit__(self, *_: object) -> None:
        # A Strategy may have set it lower for good.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, (self._hard, self._hard))


def _do_nothing(*_: object) -> None:
    pass
