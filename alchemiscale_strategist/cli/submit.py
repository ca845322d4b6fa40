"""``submit``: a network into the store, with the Strategy that is to look after it."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from alchemiscale_strategist.bootstrap import EmbeddedStore, open_store
from alchemiscale_strategist.bounded_json import JsonLimits, load_bounded_json
from alchemiscale_strategist.cli.options import ExistingFile, specification_of, strategy_of, strategy_options
from alchemiscale_strategist.cli.output import standard_output
from alchemiscale_strategist.cli.store_options import store_option
from alchemiscale_strategist.cli.wording import described, limit, plain
from alchemiscale_strategist.errors import RejectedFileError, RejectedInputError
from alchemiscale_strategist.networks import NetworkGraph
from alchemiscale_strategist.planning.models import Specification, StrategyMode
from alchemiscale_strategist.ports import StrategyPayload
from alchemiscale_strategist.results import read_results
from alchemiscale_strategist.strategies.native import NativeStrategy, make_native_strategy

__all__ = ["submit"]

_FIELDS = ("strategy", "settings")
_FILE_LIMITS = JsonLimits(max_bytes=2**20, max_depth=16)


# alchemiscale's own default is partial, where nothing is cancelled; plan and simulate have full.
@click.command(context_settings={"default_map": {"mode": StrategyMode.PARTIAL.value}})
@click.argument("network_file", type=ExistingFile)
@store_option
@strategy_options
@click.option("--strategy-file", type=ExistingFile, help="A JSON file with the Strategy's name and settings.")
@click.option(
    "--extends-preference",
    type=float,
    default=0.0,
    show_default=True,
    metavar="P",
    help="Fraction of the created Tasks that extend a completed one, 0 to 1.",
)
@click.option(
    "--sleep-interval",
    type=float,
    default=3600.0,
    show_default=True,
    metavar="S",
    help="Seconds between two passes.",
)
@click.option("--results", "results_file", type=ExistingFile, help="A table of results so far (CSV, TSV, Parquet).")
@click.pass_context
def submit(
    ctx: click.Context,
    /,
    *,
    network_file: Path,
    store_file: Path,
    strategy: str,
    settings: tuple[str, ...],
    strategy_file: Path | None,
    results_file: Path | None,
    **limits: Any,  # noqa: ANN401 - the options of specification_of
) -> None:
    """Put NETWORK_FILE into a store, unless it is there, and set its Strategy, in place of any other.

    The store is made where it is missing. A service on it (alchemiscale-strategist serve) makes the first pass at once.
    """
    asked = _strategy(ctx, strategy, settings, strategy_file)
    specification = specification_of(**limits)
    network = NetworkGraph.read(network_file)
    results = read_results(results_file, network) if results_file else None
    # From here on nothing can be a mistake in what was asked for, so nothing is left half done.
    with open_store(store_file, must_exist=False) as store:
        known = network.key in store.network_keys()
        key = store.add_network(network)
        added = store.add_results(key, results) if results is not None else None
        replaced = store.get_strategy(key)
        payload = StrategyPayload.native(asked.name, asked.settings())
        store.set_strategy(key, payload, specification)
        told = [_network_sentence(store, network, known=known, added=added)]
    told.append(f"Strategy: {described(payload)}, {_specified(specification)}.")
    if replaced is not None:
        told.append(
            f"It replaces {described(replaced.strategy)}: iterations ({replaced.health.iterations} so far) and history "
            "begin anew, Tasks and results stay."
        )
    told.append(f"Next: its first pass, as soon as a service runs: alchemiscale-strategist serve --store {store_file}")
    console = standard_output()
    for sentence in told:
        console.print(plain(sentence), soft_wrap=True)


def _strategy(ctx: click.Context, name: str, settings: tuple[str, ...], file: Path | None) -> NativeStrategy:
    if file is None:
        return strategy_of(name, settings)
    if settings or ctx.get_parameter_source("strategy") is not ParameterSource.DEFAULT:
        expected = "no --strategy and no --setting beside it"
        raise RejectedInputError(field="--strategy-file", value=str(file), expected=expected)
    return _read_strategy(file)


def _read_strategy(path: Path) -> NativeStrategy:
    """The Strategy that a file names: ``{"strategy": "uniform", "settings": {"repeats": 3}}``."""
    content = load_bounded_json(path, limits=_FILE_LIMITS)
    if not isinstance(content, dict):
        raise RejectedFileError(f"expected an object with {' and '.join(map(repr, _FIELDS))}", path=path)
    for field in content:
        if field not in _FIELDS:
            close = difflib.get_close_matches(field, _FIELDS, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise RejectedFileError(f"unknown field {field[:80]!r}, expected {' and '.join(_FIELDS)}{hint}", path=path)
    name, settings = content.get("strategy"), content.get("settings", {})
    if not isinstance(name, str):
        raise RejectedFileError("strategy: expected the name of a Strategy", path=path)
    if not isinstance(settings, dict):
        raise RejectedFileError("settings: expected an object of settings", path=path)
    try:
        return make_native_strategy(name, settings)
    except RejectedInputError as error:
        raise RejectedFileError(str(error), path=path) from None


def _network_sentence(store: EmbeddedStore, network: NetworkGraph, *, known: bool, added: int | None) -> str:
    there = "was there already" if known else f"added, {len(network)} Transformations"
    results = "" if added is None else f"; {added} new result{'s' if added != 1 else ''}"
    return f"{network.name} ({network.key}) in {store.path}: {there}{results}."


def _specified(specification: Specification) -> str:
    return (
        f"mode {specification.mode}, "
        f"at most {specification.max_tasks_per_transformation} Tasks of a Transformation at once "
        f"({limit(specification.max_tasks_per_network)} on the network), "
        f"every {specification.sleep_interval.total_seconds():g} s"
    )
