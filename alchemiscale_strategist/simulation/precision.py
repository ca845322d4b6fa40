"""How precise a campaign is, given how many repeats each Transformation has and how far repeats really spread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alchemiscale_strategist.allocation.node_values import EdgeEstimate, node_values
from alchemiscale_strategist.networks import NetworkGraph
from alchemiscale_strategist.planning.models import TransformationKey
from alchemiscale_strategist.simulation.truth import TransformationTruth

__all__ = ["EqualRepeats", "equal_repeats", "mean_standard_error"]

Truths = Mapping[TransformationKey, TransformationTruth]


def mean_standard_error(network: NetworkGraph, truth: Truths, counts: Mapping[TransformationKey, int]) -> float:
    """Root of the mean variance of the nodes (kcal/mol) when each Transformation has that many independent repeats.

    Infinite while Transformations with repeats do not connect all the nodes that the network connects.
    """
    edges = {
        key: EdgeEstimate(estimate=0.0, variance=truth[key].spread ** 2 / count)
        for key, count in counts.items()
        if count
    }
    return node_values(network, edges).mean_standard_error


@dataclass(frozen=True, kw_only=True, slots=True)
class EqualRepeats:
    """What the same number of repeats of every Transformation costs and gives, without any failure."""

    repeats: int
    tasks: int
    gpu_hours: float
    mean_standard_error: float


def equal_repeats(network: NetworkGraph, truth: Truths, *, most: int) -> tuple[EqualRepeats, ...]:
    """Cost and precision of 1, 2, … ``most`` repeats of every Transformation."""
    hours = sum(truth[edge.key].hours for edge in network.transformations)
    once = mean_standard_error(network, truth, {edge.key: 1 for edge in network.transformations})
    return tuple(
        EqualRepeats(
            repeats=repeats,
            tasks=repeats * len(network),
            gpu_hours=repeats * hours,
            mean_standard_error=once / repeats**0.5,
        )
        for repeats in range(1, most + 1)
    )
