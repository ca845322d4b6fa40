"""How commands that look into a store say things: texts of others, times, Strategies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rich.table import Table

from alchemiscale_strategist.errors import RejectedInputError
from alchemiscale_strategist.planning.models import Specification
from alchemiscale_strategist.ports import StrategyKind, StrategyPayload

__all__ = [
    "absolute",
    "described",
    "iso",
    "limit",
    "number",
    "plain",
    "relative",
    "settings_of",
    "shown_mode",
    "unbroken",
]

_DAY = timedelta(days=1)


def plain(text: str) -> str:
    r"""A text of somebody else's, safe to print: what would steer a terminal is spelled out.

    >>> plain("red \x1b[31m")
    'red \\x1b[31m'
    """
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode() for char in text
    )


def absolute(time: datetime) -> str:
    """A time in UTC, to the second."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def relative(time: datetime, now: datetime) -> str:
    """A time as it lies from now, where that is less than a day; otherwise the time itself.

    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> [relative(noon + timedelta(minutes=minutes), noon) for minutes in (-90, -0.1, 0, 59.9, 1441)]
    ['90 min ago', 'just now', 'now', 'in 60 min', '2026-01-02 12:01:00']
    """
    apart = abs(time - now)
    if apart >= _DAY:
        return absolute(time)
    if time == now:
        return "now"
    if time < now:
        return "just now" if apart < timedelta(minutes=1) else f"{_span(apart)} ago"
    return f"in {_span(apart)}"


def iso(time: datetime | None) -> str | None:
    """A time for programs."""
    return None if time is None else time.isoformat()


def number(value: float | None) -> str:
    """A number as tables show it."""
    return "–" if value is None else f"{value:.4g}"


def limit(value: int | None) -> str:
    """A limit, which may be none."""
    return "no limit" if value is None else str(value)


def settings_of(strategy: StrategyPayload) -> dict[str, object] | None:
    """A native Strategy's settings; ``None`` where it is another, or where they cannot be read."""
    if strategy.kind is not StrategyKind.NATIVE:
        return None
    try:
        return strategy.settings()
    except RejectedInputError:
        return None


def described(strategy: StrategyPayload) -> str:
    """A Strategy's name and settings.

    >>> described(StrategyPayload.native("uniform", {"repeats": 3}))
    'uniform (repeats=3)'
    """
    settings = settings_of(strategy)
    if settings is None:
        return plain(f"{strategy.name} ({strategy.kind})")
    shown = ", ".join(f"{name}={value}" for name, value in settings.items())
    return plain(f"{strategy.name} ({shown})" if shown else strategy.name)


def shown_mode(specification: Specification) -> str:
    """The mode as people are told it; a pause is a mode of its own."""
    return "paused" if specification.mode_before_pause is not None else specification.mode.value


def unbroken(table: Table, heading: str) -> Table:
    """The same table; other columns are folded before the one under that heading."""
    for column in table.columns:
        column.no_wrap = column.no_wrap or column.header == heading
    return table


def _span(apart: timedelta) -> str:
    seconds = apart.total_seconds()
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.0f} h"
