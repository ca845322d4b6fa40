"""A simulated campaign told: rows for a table, a comparison with equal repeats everywhere, plain values for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from statistics import fmean, stdev
from typing import Any

from alchemiscale_strategist.planning.models import TaskStatus
from alchemiscale_strategist.simulation.campaign import CampaignRun
from alchemiscale_strategist.simulation.precision import EqualRepeats, PrecisionModel, equal_repeats

__all__ = ["TRANSFORMATION_COLUMNS", "comparison", "sampling_error", "summary", "to_json", "transformation_rows"]

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
    campaign = run.campaign
    return equal_repeats(
        campaign.network, campaign.truth, most=max(most, 3), failure_rate=campaign.compute.failure_rate
    )


def sampling_error(run: CampaignRun) -> float:
    """Root mean square error of the ligands (or states) because repeats scatter, kcal/mol; infinite while unknown."""
    campaign = run.campaign
    errors = {
        key: fmean(repeat.estimate for repeat in repeats) - campaign.truth[key].free_energy
        for key, repeats in run.results.items()
    }
    counts = {key: len(repeats) for key, repeats in run.results.items()}
    found = PrecisionModel(campaign.network, campaign.truth).sampling_errors(errors, counts)
    mean = fmean(error**2 for error in found) if found else math.nan
    return math.inf if math.isnan(mean) else math.sqrt(mean)


def summary(run: CampaignRun) -> Mapping[str, Any]:
    """The campaign in a few figures, and how many equal repeats everywhere would give the same precision."""
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
        "nodes": PrecisionModel(run.campaign.network, run.campaign.truth).nodes,
        "standard_error": _finite(final.standard_error),
        "sampling_error": _finite(sampling_error(run)),
        "equal_repeats": None,
        "tasks_with_equal_repeats": None,
        "gpu_hours_with_equal_repeats": None,
    }
    if math.isfinite(final.standard_error):
        # Variance falls as 1/repeats; what is not whole is a rate to compare with, and nothing that could be run.
        repeats = (once.standard_error / final.standard_error) ** 2
        figures["equal_repeats"] = repeats
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
        "course": [{**asdict(point), "standard_error": _finite(point.standard_error)} for point in run.course],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
