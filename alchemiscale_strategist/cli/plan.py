"""``plan``: what to run next, and why; nothing is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alchemiscale_strategist.bootstrap import preview_network
from alchemiscale_strategist.cli.options import (
    ExistingFile,
    json_option,
    specification_of,
    strategy_of,
    strategy_options,
)
from alchemiscale_strategist.cli.output import by_name, print_json, standard_output, table
from alchemiscale_strategist.networks import NetworkGraph
from alchemiscale_strategist.planning.models import TaskPlan
from alchemiscale_strategist.results import read_results

__all__ = ["plan"]

_COLUMNS = ("transformation", "results", "weight", "run", "why")


@click.command()
@click.option("--network", "network_file", type=ExistingFile, required=True, help="A gufe network or an edge table.")
@click.option("--results", "results_file", type=ExistingFile, help="A table of results (CSV, TSV, Parquet), kcal/mol.")
@strategy_options
@json_option
def plan(
    *,
    network_file: Path,
    results_file: Path | None,
    strategy: str,
    settings: tuple[str, ...],
    as_json: bool,
    **limits: Any,  # noqa: ANN401 - the options of specification_of
) -> None:
    """Say what to run next on a network, and why; nothing is changed.

    Without results that is the first batch. "run" is how many Tasks are to be in flight at once.
    """
    asked = strategy_of(strategy, settings)
    specification = specification_of(**limits)
    network = NetworkGraph.read(network_file)
    results = read_results(results_file, network) if results_file else None
    found = preview_network(network, asked, specification, results=results).plan
    rows = [
        {**row, "results": results.count(step.key) if results else 0}
        for row, step in zip(found.to_rows(), found.transformations, strict=True)
    ]
    if as_json:
        totals = {"finished": found.finished, "stalled": list(found.stalled), "run": found.want}
        print_json({"network": network.name, "strategy": strategy, **totals, "transformations": rows})
        return
    console = standard_output()
    shown = [{**row, "run": row["want"]} for row in rows]
    console.print(table(f"{network.name}: what {strategy!r} would run next", _COLUMNS, by_name(shown)))
    console.print(_verdict(found, strategy), soft_wrap=True)


def _verdict(found: TaskPlan, strategy: str) -> str:
    if found.finished:
        return f"The Strategy {strategy!r} is satisfied with every Transformation: there is nothing to run."
    if found.stalled:
        return f"Nothing can be run, though the Strategy asks for more: {'; '.join(found.stalled)}."
    busy = sum(row.want > 0 for row in found)
    return f"{found.want} Tasks to run on {busy} of {len(found)} Transformations."
