"""``history``: what every iteration did, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from alchemiscale_strategist.cli.options import json_option
from alchemiscale_strategist.cli.output import by_name, print_json, standard_output, table
from alchemiscale_strategist.cli.store_options import existing_store, find_strategy, store_option
from alchemiscale_strategist.cli.wording import absolute, iso, plain, unbroken
from alchemiscale_strategist.planning.models import Reason, TransformationKey
from alchemiscale_strategist.ports import IterationRecord, TransformationChange

__all__ = ["change_to_dict", "history", "reason_sentence"]

_MOST = 1_000_000
_COLUMNS = ("iteration", "at", "results", "created", "actioned", "cancelled", "in_flight", "status", "remark")
_CHANGE_COLUMNS = ("transformation", "weight", "tasks", "created", "actioned", "cancelled", "why")

Names = Mapping[TransformationKey, str]


@click.command()
@click.argument("network")
@store_option
@click.option("--limit", type=click.IntRange(1, _MOST), default=20, show_default=True, help="Most iterations.")
@click.option("--before", type=click.IntRange(1), metavar="I", help="Only iterations before number I.")
@click.option("--changes", is_flag=True, help="List the Transformations that each iteration changed, and why.")
@json_option
def history(*, network: str, store_file: Path, limit: int, before: int | None, changes: bool, as_json: bool) -> None:
    """Show the iterations of NETWORK (name or key), the newest first; times are UTC.

    JSON has the changes always.
    """
    with existing_store(store_file) as store:
        record = find_strategy(store, network)
        # No number is as large as that, and no database takes a larger one.
        records = store.iterations(record.network, limit=limit, before=None if before is None else min(before, 2**53))
        names = {state.key: state.name or state.key for state in store.observe(record.network).transformations}
    if as_json:
        told = [_to_dict(iteration, names) for iteration in records]
        print_json({"network": record.network_name, "key": record.network, "iterations": told})
        return
    console = standard_output()
    if not records:
        console.print(
            plain(f"{record.network_name}: no such iterations; there were {record.health.iterations} so far.")
        )
        return
    title = plain(f"{record.network_name}: the latest of {record.health.iterations} iterations")
    console.print(unbroken(table(title, _COLUMNS, [_row(iteration) for iteration in records]), "at"))
    if changes:
        _print_changes(console, records, names)


def reason_sentence(reason: str) -> str:
    """A stored reason in words; one that a later version wrote, as it stands."""
    try:
        return Reason(reason).sentence
    except ValueError:
        return reason


def change_to_dict(change: TransformationChange, names: Names) -> dict[str, Any]:
    """What happened to a Transformation as plain values, for programs."""
    values = asdict(change)
    key = values.pop("transformation")
    # One that the network does not have any more has no name.
    return {"transformation": names.get(key, key), "key": key, **values, "why": reason_sentence(change.reason)}


def _row(iteration: IterationRecord) -> dict[str, Any]:
    stalled = f"stalled: {'; '.join(iteration.stalled)}" if iteration.stalled else ""
    return {
        "iteration": iteration.iteration,
        "at": absolute(iteration.at),
        "results": iteration.results,
        "created": iteration.created,
        "actioned": iteration.actioned,
        "cancelled": iteration.cancelled,
        "in_flight": iteration.in_flight,
        "status": iteration.status.value,
        "remark": plain(iteration.error.partition("\n")[0] or stalled),
    }


def _to_dict(iteration: IterationRecord, names: Names) -> dict[str, Any]:
    return {
        "iteration": iteration.iteration,
        "at": iso(iteration.at),
        "fence": iteration.fence,
        "generation": iteration.generation,
        "status": iteration.status.value,
        "results": iteration.results,
        "created": iteration.created,
        "actioned": iteration.actioned,
        "cancelled": iteration.cancelled,
        "in_flight": iteration.in_flight,
        "stalled": list(iteration.stalled),
        "error": iteration.error,
        "changes": [change_to_dict(change, names) for change in iteration.changes],
    }


def _print_changes(console: Console, records: Sequence[IterationRecord], names: Names) -> None:
    for iteration in records:
        title = f"Iteration {iteration.iteration}, {absolute(iteration.at)}"
        if not iteration.changes:
            console.print(f"{title}: nothing was changed.")
            continue
        rows = [change_to_dict(change, names) for change in iteration.changes]
        shown = [
            {
                **row,
                "transformation": plain(row["transformation"]),
                "tasks": f"{row['have']} → {row['want']}",
                "why": plain(row["why"]),
            }
            for row in rows
        ]
        console.print(table(title, _CHANGE_COLUMNS, by_name(shown)))
