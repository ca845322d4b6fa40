"""What is true in a simulated world: free energies, the spread of single repeats, the time that a repeat takes."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

from alchemiscale_strategist.errors import RejectedInputError
from alchemiscale_strategist.networks import NetworkGraph
from alchemiscale_strategist.planning.models import TransformationKey
from alchemiscale_strategist.results import NetworkResults, Repeat

__all__ = ["HOURS_BY_LEG", "TransformationTruth", "made_up_truth", "truth_from_results"]

HOURS_BY_LEG: Mapping[str, float] = {"complex": 4.48, "solvent": 0.58}
"""GPU hours of one repeat: 66 ns (11 windows of 6 ns) at the speeds measured for TYK2 on an L40S, 353.93 and 2750.71
ns a day. Source: OpenFreeEnergy/IndustryBenchmarks2024 (MIT licence)."""

_OTHER_LEG_HOURS = 1.0
_SMALLEST_SPREAD = 0.02  # kcal/mol; three repeats that agree by chance are not perfect


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformationTruth:
    """What is true of one Transformation.

    Args:
        free_energy: the true ΔG, kcal/mol.
        spread: standard deviation of one repeat around it, kcal/mol, > 0.
        reported_uncertainty: the uncertainty that a repeat reports of itself, kcal/mol; ``None`` for none.
        hours: mean GPU hours of a repeat, > 0.
    """

    free_energy: float
    spread: float
    reported_uncertainty: float | None
    hours: float


def truth_from_results(
    network: NetworkGraph, results: NetworkResults, *, hours: Mapping[str, float] = HOURS_BY_LEG
) -> Mapping[TransformationKey, TransformationTruth]:
    """Take real repeats for the truth: each edge keeps their mean and their spread.

    The spread is the sample standard deviation of the repeats, freed of its bias (c4), but at least their mean reported
    uncertainty. The means are not made to close cycles: with hybrid topologies a leg's free energy has a part that
    depends on the atom mapping, which cancels only between the legs of an edge.

    Args:
        network: the graph.
        results: at least two repeats of every Transformation.
        hours: mean GPU hours of a repeat, by leg.

    Raises:
        RejectedInputError: a Transformation has fewer than two repeats.
    """
    # All spreads first: they tell who has too few repeats.
    spreads = {edge.key: _spread(edge.name, results.of(edge.key)) for edge in network.transformations}
    return {
        edge.key: TransformationTruth(
            free_energy=fmean(repeat.estimate for repeat in results.of(edge.key)),
            spread=spreads[edge.key],
            reported_uncertainty=_mean_uncertainty(results.of(edge.key)),
            hours=hours.get(edge.leg, _OTHER_LEG_HOURS),
        )
        for edge in network.transformations
    }


def made_up_truth(
    network: NetworkGraph, *, seed: int, hours: Mapping[str, float] = HOURS_BY_LEG
) -> Mapping[TransformationKey, TransformationTruth]:
    """Invent a truth for a network without results: nodes a few kcal/mol apart, spreads of 0.05 to 1 kcal/mol."""
    node = {
        name: random.Random(f"{seed}:{name.state}:{name.leg}").gauss(0.0, 3.0)  # noqa: S311 - not for secrets
        for name in network.nodes
    }
    truths = {}
    for edge in network.transformations:
        draw = random.Random(f"{seed}:{edge.key}:spread")  # noqa: S311 - not for secrets
        spread = min(max(math.exp(draw.gauss(math.log(0.2), 0.7)), 0.05), 1.0)
        truths[edge.key] = TransformationTruth(
            free_energy=node[edge.node_b] - node[edge.node_a],
            spread=spread,
            reported_uncertainty=round(spread / 3, 4),
            hours=hours.get(edge.leg, _OTHER_LEG_HOURS),
        )
    return truths


def _spread(name: str, repeats: tuple[Repeat, ...]) -> float:
    if len(repeats) < 2:
        raise RejectedInputError(
            field=f"results of {name!r}",
            value=len(repeats),
            expected="at least 2 repeats, to know how far apart they lie",
            remedy="Give results with more repeats, or none at all: a truth is made up then.",
        )
    reported = _mean_uncertainty(repeats) or 0.0
    spread = stdev(repeat.estimate for repeat in repeats) / _stdev_bias(len(repeats))
    return max(spread, reported, _SMALLEST_SPREAD)


def _stdev_bias(size: int) -> float:
    """What part of the true value the sample standard deviation of normal draws is on average: c4, 0.89 for three."""
    return math.sqrt(2 / (size - 1)) * math.exp(math.lgamma(size / 2) - math.lgamma((size - 1) / 2))


def _mean_uncertainty(repeats: tuple[Repeat, ...]) -> float | None:
    known = [repeat.uncertainty for repeat in repeats if repeat.uncertainty is not None]
    return fmean(known) if known else None
