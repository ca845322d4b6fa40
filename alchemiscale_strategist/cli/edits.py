"""``pause``, ``resume``, ``wake``, ``drop`` and ``set``: what users change of a Strategy that is there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from alchemiscale_strategist.bootstrap import EmbeddedStore
from alchemiscale_strategist.cli.store_options import existing_store, find_strategies, find_strategy, store_option
from alchemiscale_strategist.cli.wording import described, limit, plain, shown_mode
from alchemiscale_strategist.errors import RejectedInputError
from alchemiscale_strategist.planning.models import Specification, StrategyMode, StrategyStatus, TaskScaling
from alchemiscale_strategist.ports import StrategyRecord

__all__ = ["drop", "pause", "resume", "set_", "wake"]

_networks_argument = click.argument("networks", metavar="NETWORK...", nargs=-1, required=True)


def _limit_or_none(_ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """A whole number, or ``none`` for no limit."""
    if value is None or value.lower() == "none":
        return None
    try:
        return int(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a whole number nor 'none'.", param=param) from None


class _UnchangedError(Exception):
    """Leaves an edit that would change nothing, so that no pass is superseded for it."""


@click.command()
@_networks_argument
@store_option
def pause(*, networks: tuple[str, ...], store_file: Path) -> None:
    """Do nothing more for each NETWORK (name or key) until it is resumed; its Tasks stay as they are."""
    with existing_store(store_file) as store:
        for record in find_strategies(store, networks):
            _edit(store, record, Specification.paused)


@click.command()
@_networks_argument
@store_option
def resume(*, networks: tuple[str, ...], store_file: Path) -> None:
    """Go on with each NETWORK (name or key) in the mode that it had before the pause."""
    with existing_store(store_file) as store:
        records = find_strategies(store, networks)
        for record in records:
            _check_resumable(record)
        for record in records:
            _edit(store, record, Specification.resumed)


@click.command()
@_networks_argument
@store_option
def wake(*, networks: tuple[str, ...], store_file: Path) -> None:
    """Make the Strategy of each NETWORK (name or key) awake and due at once; an error is forgotten."""
    with existing_store(store_file) as store:
        for record in find_strategies(store, networks):
            store.wake(record.network)
            mode = record.specification.mode
            then = "but it is disabled" if mode is StrategyMode.DISABLED else "due at once"
            _tell(record, f"status {record.health.status} → {StrategyStatus.AWAKE}, {then}")


@click.command()
@_networks_argument
@store_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(*, networks: tuple[str, ...], store_file: Path, yes: bool) -> None:
    """Take the Strategy away from each NETWORK (name or key), with its history; network, Tasks and results stay."""
    with existing_store(store_file) as store:
        records = find_strategies(store, networks)
        if not yes:
            _confirm(records)
        for record in records:
            store.drop_strategy(record.network)
            _tell(record, f"Strategy {described(record.strategy)} → none; Tasks stay as they are")


@click.command(name="set")
@click.argument("network")
@store_option
@click.option("--mode", type=click.Choice([mode.value for mode in StrategyMode]), help="What the service may do.")
@click.option("--max-tasks-per-transformation", type=int, metavar="N", help="Most Tasks of one Transformation at once.")
@click.option("--max-tasks-per-network", callback=_limit_or_none, metavar="N|none", help="Most Tasks at once.")
@click.option(
    "--task-scaling",
    type=click.Choice([scaling.value for scaling in TaskScaling]),
    help="How weights become numbers of Tasks.",
)
@click.option("--sleep-interval", type=float, metavar="S", help="Seconds between two passes.")
@click.option("--extends-preference", type=float, metavar="P", help="Fraction of created Tasks that extend one.")
@click.pass_context
def set_(ctx: click.Context, /, *, network: str, store_file: Path, **options: Any) -> None:  # noqa: ANN401 - as click has it
    """Change what is given of the specification of NETWORK (name or key), and nothing else."""
    given = {
        name: value for name, value in options.items() if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT
    }
    if not given:
        raise click.UsageError("say what to change, for instance --mode full")
    with existing_store(store_file) as store:
        _edit(store, find_strategy(store, network), lambda now: _changed(now, given))


def _changed(specification: Specification, given: dict[str, Any]) -> Specification:
    if given.get("mode") != StrategyMode.DISABLED:
        return replace(specification, **given)
    # As a pause does, so that one can resume it.
    others = {name: value for name, value in given.items() if name != "mode"}
    return replace(specification, **others).paused()


def _edit(store: EmbeddedStore, record: StrategyRecord, change: Callable[[Specification], Specification]) -> None:
    """Edit in one transaction, and tell each field that is another now."""
    olds: list[Specification] = []

    def edit(old: Specification) -> Specification:
        olds.append(old)
        if (new := change(old)) == old:
            raise _UnchangedError
        return new

    try:
        new = store.edit_specification(record.network, edit)
    except _UnchangedError:
        _tell(record, f"nothing to change, mode {shown_mode(olds[-1])}")
        return
    _tell(record, "; ".join(_differences(olds[-1], new)))


def _differences(old: Specification, new: Specification) -> list[str]:
    told = []
    for field in fields(Specification):
        if field.name == "mode_before_pause" or getattr(old, field.name) == getattr(new, field.name):
            continue
        told.append(f"{field.name} {_shown(field.name, old)} → {_shown(field.name, new)}")
    return told


def _shown(name: str, specification: Specification) -> str:
    if name == "mode":
        return shown_mode(specification)
    value = getattr(specification, name)
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g} s"
    return limit(value) if name == "max_tasks_per_network" else str(value)


def _check_resumable(record: StrategyRecord) -> None:
    specification = record.specification
    if specification.mode is StrategyMode.DISABLED and specification.mode_before_pause is None:
        raise RejectedInputError(
            field="resume",
            value=record.network_name,
            expected="a network that was paused: this one was never in another mode",
            remedy="Say which: alchemiscale-strategist set NETWORK --mode partial",
        )


def _confirm(records: list[StrategyRecord]) -> None:
    names = ", ".join(plain(record.network_name) for record in records)
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on whether to drop: add --yes")
    click.confirm(f"Drop the Strategy of {names}, with its history?", abort=True)


def _tell(record: StrategyRecord, what: str) -> None:
    click.echo(plain(f"{record.network_name}: {what}"))
