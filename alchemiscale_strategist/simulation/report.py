"""A simulated campaign told: rows for a table, a comparison with equal repeats everywhere, plain values for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from statistics import fmean, stdev
from typing import Any

from alchemiscale_strategist.allocation.node_values import EdgeEstimate, node_values
from alchemiscale_strategist.planning.models import TaskStatus
from alchemiscale_strategist.simulation.campaign import CampaignRun
from alchemiscale_strategist.simulation.precision import EqualRepeats, equal_repeats

__all__ = ["TRANSFORMATION_COLUMNS", "comparison", "realised_error", "summary", "to_json", "transformation_rows"]

TRANSFORMATION_COLUMNS = ("transformation", "leg", "results", "failures", "estimate", "standard_error", "truth")


def transformation_rows(run: CampaignRun) -> list[dict[str, Any]]:
    """A row for each Transformation: results and failed attempts, mean and standard error, and the truth (kcal/mol)."""
    states = {state.key: state for state in run.observation.transformations}
    rows = []
    for edge in run.campaign.network.transformations:
        estimates = [repeat.estimate for repeat in run.results.of(edge.key)]
        tasks = states[edge.key].tasks
        rows.append(
            {
                "transformation": edge.name,
                "key": edge.key,
                "leg": edge.leg,
                "results": len(estimates),
                "failures": sum(task.results - task.successful_results for task in tasks),
                "in_error": sum(task.status is TaskStatus.ERROR for task in tasks),
                "estimate": fmean(estimates) if estimates else None,
                "standard_error": stdev(estimates) / len(estimates) ** 0.5 if len(estimates) > 1 else None,
                "truth": run.campaign.truth[edge.key].free_energy,
            }
        )
    return rows


def comparison(run: CampaignRun) -> tuple[EqualRepeats, ...]:
    """Equal repeats everywhere, from 1 to the most results that a Transformation got (at least 3)."""
    most = max((len(repeats) for repeats in run.results.values()), default=0)
    return equal_repeats(run.campaign.network, run.campaign.truth, most=max(most, 3))


def realised_error(run: CampaignRun) -> float:
    """Root mean square error of the node values, kcal/mol: what the edges' errors come to; infinite while unknown."""
    truth = run.campaign.truth
    errors = {
        key: EdgeEstimate(
            estimate=fmean(repeat.estimate for repeat in repeats) - truth[key].free_energy,
            variance=truth[key].spread ** 2 / len(repeats),
        )
        for key, repeats in run.results.items()
    }
    # Node values are linear in what is measured, so those of the errors are the errors of the nodes.
    squares = [error**2 for error in node_values(run.campaign.network, errors).values.values()]
    mean = fmean(squares) if squares else math.nan
    return math.inf if math.isnan(mean) else math.sqrt(mean)


def summary(run: CampaignRun) -> Mapping[str, Any]:
    """The campaign in a few figures, and what equal repeats everywhere would cost for the same precision."""
    final = run.final
    once = comparison(run)[0]
    figures: dict[str, Any] = {
        "network": run.campaign.network.name,
        "strategy": run.campaign.strategy.name,
        "end": run.end.value,
        "passes": final.passes,
        "hours": final.hours,
        "tasks_completed": final.tasks_completed,
        "failures": run.failures,
        "gpu_hours": final.gpu_hours,
        "mean_standard_error": _finite(final.mean_standard_error),
        "realised_error": _finite(realised_error(run)),
        "tasks_with_equal_repeats": None,
        "gpu_hours_with_equal_repeats": None,
    }
    if math.isfinite(final.mean_standard_error):
        # Variance falls as 1/repeats, so a fraction of a repeat is meant as a rate, not as a plan.
        repeats = (once.mean_standard_error / final.mean_standard_error) ** 2
        figures["tasks_with_equal_repeats"] = repeats * once.tasks
        figures["gpu_hours_with_equal_repeats"] = repeats * once.gpu_hours
    return figures


def to_json(run: CampaignRun) -> dict[str, Any]:
    """Everything as plain values; what is infinite is ``None``."""
    return {
        "summary": summary(run),
        "health": run.health.to_dict(),
        "transformations": transformation_rows(run),
        "equal_repeats": [asdict(point) for point in comparison(run)],
        "course": [
            {**asdict(point), "mean_standard_error": _finite(point.mean_standard_error)} for point in run.course
        ],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
