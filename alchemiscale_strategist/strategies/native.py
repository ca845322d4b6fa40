"""Native Strategies: small frozen values that look at a network's graph and results and propose weights.

They need neither gufe nor stratocaster, so they work on the embedded store and in notebooks.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, Self

from alchemiscale_strategist.checks import check_number, check_whole_number
from alchemiscale_strategist.errors import RejectedInputError
from alchemiscale_strategist.networks import NetworkGraph
from alchemiscale_strategist.planning.models import TransformationKey
from alchemiscale_strategist.results import NetworkResults

__all__ = [
    "NATIVE_STRATEGIES",
    "ConnectivityStrategy",
    "NativeStrategy",
    "NativeStrategyBase",
    "UniformStrategy",
    "make_native_strategy",
]


class NativeStrategy(Protocol):
    """A Strategy that is a frozen dataclass of its settings."""

    name: ClassVar[str]

    @classmethod
    def from_settings(cls, settings: Mapping[str, object]) -> Self:
        """Make one from plain settings; a :class:`RejectedInputError` names what is wrong with them."""
        ...

    def settings(self) -> dict[str, object]:
        """Return the settings as plain values, from which ``from_settings`` makes an equal Strategy."""
        ...

    def propose(self, network: NetworkGraph, results: NetworkResults) -> dict[TransformationKey, float | None]:
        """Return a weight ≥ 0 for every Transformation, or ``None`` where its stop condition is met."""
        ...


class NativeStrategyBase:
    """Base of native Strategies: a frozen dataclass of settings, made from plain ones and told as such.

    A subclass has a ``name``, checks its settings in ``__post_init__``, and proposes.
    """

    name: ClassVar[str]

    @classmethod
    def from_settings(cls, settings: Mapping[str, object]) -> Self:
        """Make one; a :class:`RejectedInputError` names a setting that is unknown or not acceptable."""
        known = [field.name for field in fields(cls)]  # type: ignore[arg-type] # every subclass is a dataclass
        for name in settings:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f" (did you mean {close[0]!r}?)" if close else ""
                raise RejectedInputError(
                    field=f"settings of {cls.name!r}", value=name, expected=f"one of {', '.join(known)}{hint}"
                )
        return cls(**settings)

    def settings(self) -> dict[str, object]:
        """Return the settings as plain values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type] # as above


@dataclass(frozen=True, kw_only=True)
class UniformStrategy(NativeStrategyBase):
    """The same weight for every Transformation until it has ``repeats`` successful results, then ``None``.

    Args:
        repeats: successful results wanted of each, ≥ 1.
    """

    name: ClassVar[str] = "uniform"

    repeats: int = 3

    def __post_init__(self) -> None:
        check_whole_number("repeats", self.repeats, least=1)

    def propose(self, network: NetworkGraph, results: NetworkResults) -> dict[TransformationKey, float | None]:
        """Return 1 for every Transformation that has too few results, ``None`` for the others."""
        return {edge.key: 1.0 if results.count(edge.key) < self.repeats else None for edge in network.transformations}


@dataclass(frozen=True, kw_only=True)
class ConnectivityStrategy(NativeStrategyBase):
    """Favour Transformations between well connected states, less so with every result they have.

    The weight is the mean degree of the two end states times ``decay_rate`` to the number of successful results; it
    becomes ``None`` below ``cutoff`` or from ``max_runs`` results on. Source: stratocaster 0.2's Strategy of this name,
    whose weights it gives on networks without parallel edges; stratocaster overlooks all but one of those.

    Args:
        decay_rate: between 0 and 1, both excluded.
        cutoff: > 0, or ``None``.
        max_runs: ≥ 1, or ``None``; one of the two is needed.
    """

    name: ClassVar[str] = "connectivity"

    decay_rate: float = 0.5
    cutoff: float | None = None
    max_runs: int | None = 3

    def __post_init__(self) -> None:
        check_number("decay_rate", self.decay_rate, above=0, below=1)
        if self.cutoff is not None:
            check_number("cutoff", self.cutoff, above=0)
        check_whole_number("max_runs", self.max_runs, least=1, or_none="no such limit")
        if self.cutoff is None and self.max_runs is None:
            raise RejectedInputError(field="cutoff", value=None, expected="a number, unless max_runs is given")

    def propose(self, network: NetworkGraph, results: NetworkResults) -> dict[TransformationKey, float | None]:
        """Return the weights."""
        degrees = network.degrees
        weights: dict[TransformationKey, float | None] = {}
        for edge in network.transformations:
            count = results.count(edge.key)
            weight = self.decay_rate**count * (degrees[edge.node_a] + degrees[edge.node_b]) / 2
            stop = (self.cutoff is not None and weight < self.cutoff) or (
                self.max_runs is not None and count >= self.max_runs
            )
            weights[edge.key] = None if stop else weight
        return weights


NATIVE_STRATEGIES: Mapping[str, type[NativeStrategy]] = {
    strategy.name: strategy for strategy in (UniformStrategy, ConnectivityStrategy)
}
"""The native Strategies that ship, by name."""


def make_native_strategy(
    name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    strategies: Mapping[str, type[NativeStrategy]] = NATIVE_STRATEGIES,
) -> NativeStrategy:
    """Make a native Strategy by name.

    Raises:
        RejectedInputError: there is none of that name, or a setting is unknown or not acceptable.

    >>> make_native_strategy("connectivity", {"max_runs": 2})
    ConnectivityStrategy(decay_rate=0.5, cutoff=None, max_runs=2)
    >>> make_native_strategy("fastest")
    Traceback (most recent call last):
    ...
    alchemiscale_strategist.errors.RejectedInputError: strategy: got 'fastest', expected one of connectivity, uniform
    """
    if name not in strategies:
        raise RejectedInputError(field="strategy", value=name, expected=f"one of {', '.join(sorted(strategies))}")
    return strategies[name].from_settings(settings or {})
