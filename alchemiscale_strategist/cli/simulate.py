"""``simulate``: a whole campaign in virtual time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from alchemiscale_strategist.cli.options import (
    ExistingFile,
    json_option,
    specification_of,
    strategy_of,
    strategy_options,
)
from alchemiscale_strategist.cli.output import print_json, standard_output, table
from alchemiscale_strategist.errors import RejectedInputError
from alchemiscale_strategist.networks import NetworkGraph
from alchemiscale_strategist.planning.models import TransformationKey
from alchemiscale_strategist.ports import StrategyPayload
from alchemiscale_strategist.results import read_results
from alchemiscale_strategist.simulation.campaign import (
    Campaign,
    CampaignEnd,
    CampaignRun,
    Progress,
    simulate_campaign,
)
from alchemiscale_strategist.simulation.compute import ComputeSettings
from alchemiscale_strategist.simulation.examples import tyk2
from alchemiscale_strategist.simulation.plot import check_plot_path, save_plot
from alchemiscale_strategist.simulation.report import (
    COMPARISON_COLUMNS,
    TRANSFORMATION_COLUMNS,
    comparison_rows,
    conclusions,
    to_json,
    transformation_rows,
)
from alchemiscale_strategist.simulation.truth import TransformationTruth, made_up_truth, truth_from_results

__all__ = ["simulate"]


@click.command()
@click.argument("network_file", metavar="[NETWORK]", required=False, type=ExistingFile)
@click.option(
    "--results",
    "results_file",
    type=ExistingFile,
    help="Real repeats of NETWORK to draw results like; without them a truth is made up.",
)
@strategy_options
@click.option("--workers", type=int, default=8, show_default=True, help="Tasks that run at once.")
@click.option("--failure-rate", type=float, default=0.02, show_default=True, help="Chance that an attempt fails.")
@click.option("--max-restarts", type=int, default=3, show_default=True, help="Restarts of a failed Task.")
@click.option("--sleep-interval", type=float, default=3600.0, show_default=True, help="Seconds between two passes.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same campaign.")
@click.option("--store", "store_file", type=click.Path(dir_okay=False, path_type=Path), help="Keep the store here.")
@click.option(
    "--plot",
    "plot_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Save a plot of uncertainty against compute: .png, .svg, .pdf or .html (a page with the tables).",
)
@json_option
def simulate(
    *,
    network_file: Path | None,
    results_file: Path | None,
    strategy: str,
    settings: tuple[str, ...],
    workers: int,
    failure_rate: float,
    max_restarts: int,
    seed: int,
    store_file: Path | None,
    plot_file: Path | None,
    as_json: bool,
    **limits: Any,  # noqa: ANN401 - the options of specification_of
) -> None:
    """Simulate a campaign on NETWORK until the Strategy has no more to ask, in virtual time.

    The service itself is real: reconciler, planning and store; only the compute is drawn at random. NETWORK is a gufe
    AlchemicalNetwork (JSON) or an edge table (CSV, TSV, Parquet); without it TYK2 is taken, with real results.
    """
    if plot_file is not None:
        check_plot_path(plot_file)
    compute = ComputeSettings(workers=workers, failure_rate=failure_rate, max_restarts=max_restarts, seed=seed)
    network, truth, source = _world(network_file, results_file, seed)
    asked = strategy_of(strategy, settings)
    campaign = Campaign(
        network=network,
        truth=truth,
        strategy=StrategyPayload.native(asked.name, asked.settings()),
        specification=specification_of(**limits),
        compute=compute,
        truth_from=source,
    )
    errors = Console(stderr=True, highlight=False)
    with _live_progress(errors) as show:
        run = simulate_campaign(campaign, store_path=store_file or ":memory:", on_progress=show)
    saved = save_plot(run, plot_file) if plot_file else None
    if as_json:
        print_json({"plot": str(saved) if saved else None, **to_json(run)})
    else:
        _print_report(run, saved)
    if run.end is not CampaignEnd.DORMANT:
        raise SystemExit(1)


def _world(
    network_file: Path | None, results_file: Path | None, seed: int
) -> tuple[NetworkGraph, Mapping[TransformationKey, TransformationTruth], str]:
    """The network, what is true of it, and where that truth comes from."""
    if network_file is None:
        if results_file is not None:
            raise RejectedInputError(field="--results", value=str(results_file), expected="its NETWORK beside it")
        network, results = tyk2()
        return network, truth_from_results(network, results), "TYK2 that ships with the package (real repeats)"
    network = NetworkGraph.read(network_file)
    if results_file is None:
        return network, made_up_truth(network, seed=seed), f"made up from seed {seed}"
    return network, truth_from_results(network, read_results(results_file, network)), f"repeats in {results_file.name}"


@contextmanager
def _live_progress(console: Console) -> Iterator[Callable[[Progress], None]]:
    """A line that follows the campaign, where somebody looks at the terminal."""
    if not console.is_terminal:
        yield lambda _progress: None
        return
    with Live(console=console, refresh_per_second=10, transient=True) as live:
        yield lambda progress: live.update(Text(_progress_line(progress)))


def _progress_line(progress: Progress) -> str:
    error = progress.standard_error
    precision = f"{error:.3f} kcal/mol" if math.isfinite(error) else "not connected yet"
    return (
        f"hour {progress.hours:.0f}: pass {progress.passes}, {progress.tasks_completed} Tasks completed, "
        f"{progress.in_flight} in flight, standard error {precision}"
    )


def _print_report(run: CampaignRun, saved: Path | None) -> None:
    console = standard_output()
    title = f"{run.campaign.network.name}: {run.campaign.strategy.name!r}, seed {run.campaign.compute.seed} (kcal/mol)"
    console.print(table(title, TRANSFORMATION_COLUMNS, transformation_rows(run)))
    against = "Against the same number of repeats everywhere (kcal/mol)"
    console.print(table(against, COMPARISON_COLUMNS, comparison_rows(run)))
    for sentence in conclusions(run):
        console.print(sentence, soft_wrap=True)
    if saved is not None:
        console.print(f"Plot: {saved}", soft_wrap=True)
