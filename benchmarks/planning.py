"""How long it takes to plan, from 100 to 100,000 Transformations.

Times ``weights_to_counts`` and ``plan_task_changes`` together on made-up networks: python benchmarks/planning.py
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import platform
import random
import statistics
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

from alchemiscale_strategist import (
    NetworkKey,
    Observation,
    Specification,
    TaskKey,
    TaskRecord,
    TaskScaling,
    TaskStatus,
    TransformationKey,
    TransformationState,
    normalize_weights,
    plan_task_changes,
    weights_to_counts,
)
from alchemiscale_strategist.planning.models import Weights

SIZES = (100, 1_000, 10_000, 100_000)
TARGET_SIZE, TARGET_SECONDS = 10_000, 0.2
START = datetime(2025, 1, 1, tzinfo=UTC)


def made_up_observation(size: int, chance: random.Random) -> Observation:
    """A network with 0 to 3 Tasks on every Transformation, a few of them in error."""
    statuses = list(TaskStatus)
    shares = [30, 20, 40, 2, 4, 4]
    states = []
    for n in range(size):
        tasks = []
        for m in range(chance.randrange(4)):
            status = chance.choices(statuses, shares)[0]
            done = int(status is TaskStatus.COMPLETE)
            tasks.append(
                TaskRecord(
                    key=TaskKey(f"Task-{n}-{m}"),
                    status=status,
                    actioned=status.in_flight and chance.random() < 0.8,
                    created=START + timedelta(seconds=chance.randrange(10**6)),
                    results=done,
                    successful_results=done,
                )
            )
        states.append(
            TransformationState(
                key=TransformationKey(f"Transformation-{n}"),
                tasks=tuple(tasks),
                successful_results=sum(task.successful_results for task in tasks),
                first_success=min((task.created for task in tasks if task.successful_results), default=None),
            )
        )
    return Observation(network=NetworkKey("made-up"), transformations=tuple(states))


def made_up_weights(observation: Observation, chance: random.Random) -> Weights:
    """Weights that differ by orders of magnitude, some of them 0 or None."""
    weights: dict[TransformationKey, float | None] = {}
    for state in observation.transformations:
        draw = chance.random()
        weights[state.key] = None if draw < 0.1 else 0.0 if draw < 0.15 else chance.lognormvariate(0, 1)
    return normalize_weights(weights)


def measured(sizes: list[int], runs: int, seed: int) -> Iterator[dict[str, Any]]:
    """One row for every size, scaling and network limit: least and median time of each function, in seconds."""
    for size in sizes:
        observation = made_up_observation(size, random_from(seed))
        weights = made_up_weights(observation, random_from(seed + 1))
        for scaling in TaskScaling:
            for limit in (None, size):
                specification = Specification(mode="full", task_scaling=scaling, max_tasks_per_network=limit)
                pairs = [once(observation, weights, specification) for _ in range(runs)]
                row: dict[str, Any] = {"size": size, "scaling": scaling.value, "limit": limit}
                for name, times in [
                    ("counts", [counts for counts, _ in pairs]),
                    ("plan", [plan for _, plan in pairs]),
                    ("both", [sum(pair) for pair in pairs]),
                ]:
                    row[f"{name}_min"] = min(times)
                    row[f"{name}_median"] = statistics.median(times)
                yield row


def once(observation: Observation, weights: Weights, specification: Specification) -> tuple[float, float]:
    """Seconds for ``weights_to_counts`` and for ``plan_task_changes``."""
    # Copied for every run, since an observation remembers what it has worked out about its Tasks.
    observation = replace(observation, transformations=tuple(replace(s) for s in observation.transformations))
    gc.collect()
    begin = perf_counter()
    weights_to_counts(
        weights,
        max_tasks_per_transformation=specification.max_tasks_per_transformation,
        max_tasks_per_network=specification.max_tasks_per_network,
        task_scaling=specification.task_scaling,
    )
    between = perf_counter()
    plan_task_changes(observation, weights, specification)
    return between - begin, perf_counter() - between


def random_from(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - made-up data, no secret


def with_growth(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the exponent of growth since the next smaller size: 1 is linear, 2 quadratic."""
    before: dict[tuple[str, bool], dict[str, Any]] = {}
    for row in rows:
        case = (row["scaling"], row["limit"] is None)
        smaller = before.get(case)
        row["growth"] = (
            None
            if smaller is None
            else math.log(row["both_min"] / smaller["both_min"]) / math.log(row["size"] / smaller["size"])
        )
        before[case] = row
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    head = ("size", "scaling", "limit", "counts ms", "plan ms", "both ms", "median ms", "growth")
    cells = [
        (
            f"{row['size']:,}",
            row["scaling"],
            "–" if row["limit"] is None else f"{row['limit']:,}",
            *(f"{1000 * row[name]:.2f}" for name in ("counts_min", "plan_min", "both_min", "both_median")),
            "–" if row["growth"] is None else f"{row['growth']:.2f}",
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in [head, *cells]) for column in range(len(head))]
    return "\n".join(
        "  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in [head, *cells]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="numbers of Transformations")
    parser.add_argument("--runs", type=int, default=5, help="runs of each case")
    parser.add_argument("--seed", type=int, default=1, help="seed of the made-up networks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements here, in seconds")
    arguments = parser.parse_args()

    rows = with_growth(list(measured(sorted(arguments.sizes), arguments.runs, arguments.seed)))
    print(f"Python {platform.python_version()}, least of {arguments.runs} runs (and their median)")
    print(table(rows))
    slowest = max((row["both_min"] for row in rows if row["size"] == TARGET_SIZE), default=None)
    if slowest is not None:
        verdict = "met" if slowest <= TARGET_SECONDS else "MISSED"
        print(f"Target of {TARGET_SECONDS} s at {TARGET_SIZE:,}: {verdict}, the slowest took {slowest:.3f} s")
    if arguments.json:
        report = {"python": platform.python_version(), "runs": arguments.runs, "seed": arguments.seed, "rows": rows}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
