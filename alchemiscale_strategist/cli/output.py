"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["by_name", "print_json", "standard_output", "table"]


def standard_output() -> Console:
    """A console on standard output; as wide as needed where nobody looks at it."""
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=max(console.width, 120))


def print_json(value: object) -> None:
    """Print a value as JSON; NaN and infinity are none, and would be a mistake of ours."""
    click.echo(json.dumps(value, indent=2, allow_nan=False))


def by_name(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows about Transformations in the order of their names, as a gufe network has none of its own."""
    return sorted(rows, key=lambda row: (row["transformation"], row["key"]))


def table(title: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Table:
    """Rows as a table; numbers to the right, underscores in headings as spaces."""
    shown = list(rows)
    # Names are shown as they are: a SMILES in brackets is no markup.
    drawn = Table(title=Text(title), title_justify="left", header_style="bold")
    for column in columns:
        numeric = any(isinstance(row.get(column), int | float) for row in shown)
        drawn.add_column(column.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
    for row in shown:
        drawn.add_row(*(Text(_text(row.get(column))) for column in columns))
    return drawn


def _text(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
