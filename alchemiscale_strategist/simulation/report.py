"""A simulated campaign told: rows for a table, a comparison with equal repeats everywhere, plain values for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from statistics import fmean, stdev
from typing import Any

from alchemiscale_strategist.planning.models import TaskStatus
from alchemiscale_strategist.simulation.campaign import CampaignEnd, CampaignRun
from alchemiscale_strategist.simulation.precision import EqualRepeats, equal_repeats

__all__ = [
    "COMPARISON_COLUMNS",
    "TRANSFORMATION_COLUMNS",
    "comparison",
    "comparison_rows",
    "conclusions",
    "sampling_error",
    "summary",
    "to_json",
    "transformation_rows",
]

COMPARISON_COLUMNS = ("campaign", "tasks", "gpu_hours", "expected_standard_error")
TRANSFORMATION_COLUMNS = ("transformation", "leg", "results", "failures", "estimate", "standard_error", "truth")


def transformation_rows(run: CampaignRun) -> list[dict[str, Any]]:
    """A row for each Transformation, by name: results, failed attempts, mean, standard error, truth (kcal/mol)."""
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
    return sorted(rows, key=lambda row: (row["transformation"], row["key"]))


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
    found = run.precision.sampling_errors(errors, counts)
    mean = fmean(error**2 for error in found) if found else math.nan
    return math.inf if math.isnan(mean) else math.sqrt(mean)


def summary(run: CampaignRun) -> Mapping[str, Any]:
    """The campaign in a few figures, and how many equal repeats everywhere would give the same precision."""
    final = run.final
    once = comparison(run)[0]
    campaign = run.campaign
    figures: dict[str, Any] = {
        "network": campaign.network.name,
        "truth": campaign.truth_from,
        "strategy": campaign.strategy.name,
        "strategy_settings": campaign.strategy.settings(),
        "specification": repr(campaign.specification),
        "seed": campaign.compute.seed,
        "workers": campaign.compute.workers,
        "failure_rate": campaign.compute.failure_rate,
        "end": run.end.value,
        "passes": final.passes,
        "hours": final.hours,
        "tasks_completed": final.tasks_completed,
        "failures": run.failures,
        "gpu_hours": final.gpu_hours,
        "nodes": run.precision.nodes,
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


def comparison_rows(run: CampaignRun) -> list[dict[str, Any]]:
    """The campaign, then equal repeats everywhere: Tasks, GPU hours and the standard error to expect (kcal/mol)."""
    final = run.final
    points = [
        (f"Strategy {run.campaign.strategy.name!r}", final.tasks_completed, final.gpu_hours, final.standard_error)
    ]
    points += [
        (
            f"{point.repeats} repeat{'s' if point.repeats > 1 else ''} everywhere",
            point.tasks,
            point.gpu_hours,
            point.standard_error,
        )
        for point in comparison(run)
    ]
    return [dict(zip(COMPARISON_COLUMNS, point, strict=True)) for point in points]


def conclusions(run: CampaignRun) -> list[str]:
    """What to make of a campaign, in sentences."""
    figures = summary(run)
    sentences = []
    if figures["truth"]:
        sentences.append(f"Truth: {figures['truth']}.")
    if figures["equal_repeats"] is not None:
        sentences.append(
            f"The expected standard error is the root mean square over {figures['nodes']}. Equal repeats everywhere "
            f"give the same at a rate of {figures['equal_repeats']:.2f} repeats: "
            f"{figures['tasks_with_equal_repeats']:.0f} Tasks and {figures['gpu_hours_with_equal_repeats']:.0f} GPU "
            "hours, failed attempts included."
        )
    sentences.append(
        f"The Strategy took {figures['tasks_completed']} Tasks and {figures['gpu_hours']:.0f} GPU hours, "
        f"with {figures['failures']} failed attempts."
    )
    if (error := figures["sampling_error"]) is not None:
        sentences.append(f"The error that came of it, root mean square over {figures['nodes']}: {error:.3f} kcal/mol.")
    sentences.append(
        f"After {figures['passes']} passes in {figures['hours']:.0f} simulated hours the Strategy is: {_state(run)}"
    )
    return sentences


def _state(run: CampaignRun) -> str:
    match run.end:
        case CampaignEnd.STALLED:
            return f"stalled ({'; '.join(run.health.stalled)})"
        case CampaignEnd.ERROR if run.health.error is not None:
            return f"error ({run.health.error.message})"
        case _:
            return run.end.value


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
