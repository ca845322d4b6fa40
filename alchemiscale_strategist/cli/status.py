"""``status`` and ``health``: how the Strategies of a store are doing."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from alchemiscale_strategist.bootstrap import EmbeddedStore
from alchemiscale_strategist.checks import check_number
from alchemiscale_strategist.cli.options import json_option
from alchemiscale_strategist.cli.output import print_json, standard_output, table
from alchemiscale_strategist.cli.store_options import existing_store, find_strategy, store_option
from alchemiscale_strategist.cli.wording import (
    absolute,
    described,
    iso,
    limit,
    plain,
    relative,
    settings_of,
    shown_mode,
    unbroken,
)
from alchemiscale_strategist.planning.health import Failure
from alchemiscale_strategist.planning.models import ResultsSeen, StrategyMode, StrategyStatus
from alchemiscale_strategist.ports import StrategyRecord

__all__ = ["NetworkStatus", "NextPass", "health", "status"]

_COLUMNS = (
    "network",
    "strategy",
    "mode",
    "status",
    "iterations",
    "results",
    "in_flight",
    "last_iteration",
    "next_iteration",
)
_DAY = 86400.0
_NEW_LINE = "\n"


@dataclass(frozen=True, kw_only=True)
class NextPass:
    """When the next pass is due, and why then; ``due`` is ``None`` where nothing but a user or a result brings one."""

    due: datetime | None
    why: str = ""

    def shown(self, now: datetime) -> str:
        """In words."""
        if self.due is None:
            return self.why
        when = relative(max(self.due, now), now)
        return f"{when}: {self.why}" if self.why else when


@dataclass(frozen=True, kw_only=True)
class NetworkStatus:
    """A network's Strategy, and what is seen of the network beside it."""

    record: StrategyRecord
    results: int
    in_flight: int
    next_pass: NextPass

    @classmethod
    def read(cls, store: EmbeddedStore, record: StrategyRecord, *, now: datetime) -> NetworkStatus:
        """Look at the network that a record is about."""
        observation = store.observe(record.network)
        latest = store.iterations(record.network, limit=1)
        # No iteration has seen the specification as it is now.
        edited = bool(latest) and latest[0].generation != record.generation
        return cls(
            record=record,
            results=observation.results_seen.count,
            in_flight=observation.in_flight,
            next_pass=_next_pass(record, observation.results_seen, edited=edited, now=now),
        )

    def to_dict(self, now: datetime) -> dict[str, Any]:
        """As plain values, for programs."""
        record, due = self.record, self.next_pass.due
        return {
            "network": record.network_name,
            "key": record.network,
            "strategy": record.strategy.name,
            "mode": record.specification.mode.value,
            "status": record.health.status.value,
            "iterations": record.health.iterations,
            "results": self.results,
            "in_flight": self.in_flight,
            "last_iteration": iso(record.health.last_iteration),
            "next_iteration": iso(due),
            "due": due is not None and due <= now,
            "why": self.next_pass.why,
            "remark": _remark(record),
        }

    def to_row(self, now: datetime, *, with_key: bool) -> dict[str, Any]:
        """As people see it."""
        record, last = self.record, self.record.health.last_iteration
        return {
            **self.to_dict(now),
            "network": plain(f"{record.network_name} ({record.network})" if with_key else record.network_name),
            "strategy": plain(record.strategy.name),
            "mode": shown_mode(record.specification),
            "status": _status(record),
            "last_iteration": None if last is None else relative(last, now),
            "next_iteration": plain(self.next_pass.shown(now)),
        }


@click.command()
@click.argument("network", required=False)
@store_option
@click.option(
    "--watch",
    type=float,
    is_flag=False,
    flag_value=2.0,
    metavar="[SECONDS]",
    help="Look again every 2 or so many SECONDS, until Ctrl-C.",
)
@json_option
def status(*, network: str | None, store_file: Path, watch: float | None, as_json: bool) -> None:
    """Show every network that has a Strategy, or NETWORK (name or key): how it is doing, and when its next pass is due.

    With --watch and --json one JSON document a line.
    """
    if watch is not None:
        check_number("--watch", watch, least=0.05, below=_DAY)
    with existing_store(store_file) as store:
        if watch is None:
            _print_once(store, network, as_json=as_json)
        elif as_json:
            with contextlib.suppress(KeyboardInterrupt):
                for now in _again_and_again(watch):
                    click.echo(json.dumps(_as_json(store, network, now), allow_nan=False))
        else:
            _watch(standard_output(), watch, lambda now: _drawn(store, network, now, title=f"{absolute(now)} UTC"))


@click.command()
@click.argument("network")
@store_option
@json_option
def health(*, network: str, store_file: Path, as_json: bool) -> None:
    """Show how the Strategy of NETWORK (name or key) is doing: its errors, retries, why it is stuck."""
    with existing_store(store_file) as store:
        record = find_strategy(store, network)
        seen = NetworkStatus.read(store, record, now=_now())
    if as_json:
        print_json(_health_json(seen))
        return
    console = standard_output()
    console.print(Text(plain(f"{record.network_name} ({record.network})"), style="bold"), soft_wrap=True)
    for name, value in _facts(seen, _now()):
        console.print(Text(f"  {name:<22}{plain(value)}"), soft_wrap=True)
    for part in _troubles(record):
        console.print(Text(plain(part)), soft_wrap=True)


def _now() -> datetime:
    return datetime.now(tz=UTC)


def _next_pass(record: StrategyRecord, results: ResultsSeen, *, edited: bool, now: datetime) -> NextPass:
    """What :meth:`StrategyHealth.is_due` says, as a time and in words."""
    health = record.health
    if health.mode is StrategyMode.DISABLED:
        paused = record.specification.mode_before_pause is not None
        return NextPass(due=None, why="when it is resumed" if paused else "when its mode is set")
    if health.status is StrategyStatus.ERROR:
        return NextPass(due=None, why="when it is woken or set again")
    if record.problems:
        return NextPass(due=None, why="what is stored cannot be read")
    if health.retry_at is not None:
        return NextPass(due=health.retry_at, why=f"retry {health.retries}")
    if health.last_iteration is None or edited:
        return NextPass(due=now, why="the first" if health.last_iteration is None else "edited")
    rested = health.last_iteration + health.sleep_interval
    if health.status is StrategyStatus.DORMANT:
        if results == health.results_seen:
            return NextPass(due=None, why="when results change")
        return NextPass(due=rested, why="results changed")
    return NextPass(due=rested)


def _remark(record: StrategyRecord) -> str:
    """What somebody should look into, in a few words; empty when all is well."""
    health = record.health
    if record.problems:
        return f"what is stored cannot be read: {'; '.join(record.problems)}"
    if health.error is not None:
        return f"{health.error.type}: {health.error.message.partition(_NEW_LINE)[0]}"
    if health.last_failure is not None:
        return f"{health.last_failure.type}: {health.last_failure.message.partition(_NEW_LINE)[0]}"
    return f"stalled: {'; '.join(health.stalled)}" if health.stalled else ""


def _status(record: StrategyRecord) -> str:
    return f"{record.health.status}, stalled" if record.health.stalled else record.health.status.value


# status


def _read(store: EmbeddedStore, network: str | None, now: datetime) -> list[NetworkStatus]:
    records: Sequence[StrategyRecord] = store.list_strategies() if network is None else [find_strategy(store, network)]
    return [NetworkStatus.read(store, record, now=now) for record in records]


def _as_json(store: EmbeddedStore, network: str | None, now: datetime) -> dict[str, Any]:
    seen = _read(store, network, now)
    return {"store": str(store.path), "at": iso(now), "networks": [one.to_dict(now) for one in seen]}


def _drawn(store: EmbeddedStore, network: str | None, now: datetime, *, title: str = "") -> RenderableType:
    seen = _read(store, network, now)
    if not seen:
        return Text(f"No network in {store.path} has a Strategy. Set one with: alchemiscale-strategist submit")
    names = Counter(one.record.network_name for one in seen)
    rows = [one.to_row(now, with_key=names[one.record.network_name] > 1) for one in seen]
    remarks = [
        Text(f"{row['network']}: {plain(row['remark'])}", no_wrap=True, overflow="ellipsis")
        for row in rows
        if row["remark"]
    ]
    more = [Text("More of it, and what to do: alchemiscale-strategist health NETWORK")] if remarks else []
    drawn = table(f"{store.path} {title}".rstrip(), _COLUMNS, rows)
    # A key that is told because names are not enough has to be one that can be copied.
    return Group(unbroken(drawn, "network") if names.most_common(1)[0][1] > 1 else drawn, *remarks, *more)


def _print_once(store: EmbeddedStore, network: str | None, *, as_json: bool) -> None:
    now = _now()
    if as_json:
        print_json(_as_json(store, network, now))
    else:
        standard_output().print(_drawn(store, network, now))


def _again_and_again(seconds: float) -> Iterator[datetime]:
    while True:
        yield _now()
        time.sleep(seconds)


def _watch(console: Console, seconds: float, draw: Callable[[datetime], RenderableType]) -> None:
    """Show what is drawn again and again until Ctrl-C: in one place on a terminal, one below the other elsewhere."""
    with contextlib.suppress(KeyboardInterrupt):
        if not console.is_terminal:
            for now in _again_and_again(seconds):
                console.print(draw(now))
            return
        with Live(console=console, auto_refresh=False) as live:
            for now in _again_and_again(seconds):
                live.update(draw(now), refresh=True)


# health


def _health_json(seen: NetworkStatus) -> dict[str, Any]:
    record, asked = seen.record, seen.record.specification
    before = asked.mode_before_pause
    return {
        "network": record.network_name,
        "key": record.network,
        "strategy": {
            "kind": record.strategy.kind.value,
            "name": record.strategy.name,
            "settings": settings_of(record.strategy),
        },
        "specification": {
            "mode": asked.mode.value,
            "max_tasks_per_transformation": asked.max_tasks_per_transformation,
            "max_tasks_per_network": asked.max_tasks_per_network,
            "task_scaling": asked.task_scaling.value,
            "extends_preference": asked.extends_preference,
            "sleep_interval": asked.sleep_interval.total_seconds(),
            "mode_before_pause": None if before is None else before.value,
        },
        "generation": record.generation,
        "problems": list(record.problems),
        "results": seen.results,
        "in_flight": seen.in_flight,
        "next_iteration": iso(seen.next_pass.due),
        "why": seen.next_pass.why,
        "health": record.health.to_dict(),
    }


def _facts(seen: NetworkStatus, now: datetime) -> Iterator[tuple[str, str]]:
    record, asked, health = seen.record, seen.record.specification, seen.record.health
    yield "Strategy", described(record.strategy)
    before = asked.mode_before_pause
    yield "mode", asked.mode.value if before is None else f"paused ({before} before)"
    yield "status", _status(record)
    yield "iterations", str(health.iterations)
    yield "last iteration", "–" if health.last_iteration is None else relative(health.last_iteration, now)
    yield "next iteration", seen.next_pass.shown(now)
    yield "sleep interval", f"{asked.sleep_interval.total_seconds():g} s"
    count = health.last_iteration_result_count
    yield "results", f"{seen.results}" if count is None else f"{seen.results}, of which the last iteration saw {count}"
    yield "Tasks in flight", str(seen.in_flight)
    per_network = limit(asked.max_tasks_per_network)
    yield "most Tasks", f"{asked.max_tasks_per_transformation} of a Transformation, {per_network} on the network"
    yield "task scaling", asked.task_scaling.value
    yield "extends preference", f"{asked.extends_preference:g}"


def _troubles(record: StrategyRecord) -> Iterator[str]:
    health = record.health
    if record.problems:
        yield "What is stored cannot be read, and the default stands in its place:"
        yield from (f"  {problem}" for problem in record.problems)
    if health.error is not None:
        yield from _failure("The Strategy failed", health.error)
    if health.last_failure is not None:
        tries = "1 try" if health.retries == 1 else f"{health.retries} tries, the last one"
        yield from _failure(f"{tries} failed, through no fault of the Strategy", health.last_failure)
    if health.stalled:
        yield "Stalled, as nothing can be done though the Strategy asks for more:"
        yield from (f"  {reason}" for reason in health.stalled)
    if health.unclaimable:
        yield "In flight, though no compute service can claim them (weight 0, or a parent that cannot be extended):"
        yield from (f"  {task}" for task in health.unclaimable)


def _failure(heading: str, failure: Failure) -> Iterator[str]:
    yield f"{heading}: {failure.type}"
    yield _indented(failure.message)
    if failure.remedy:
        yield f"What to do: {failure.remedy}"
    if failure.traceback:
        yield _indented(failure.traceback.rstrip())


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
