"""Rows as a table: plain text for terminals, HTML for notebooks, pandas where it is installed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, ClassVar

from alchemiscale_strategist.errors import MissingDependencyError

__all__ = ["Tabular", "dataframe", "html_table", "text_table"]

_MOST_ROWS = 60

Rows = Sequence[Mapping[str, Any]]


class Tabular(ABC):
    """What reads as a table: printed as text, shown as HTML in a notebook, made a DataFrame where pandas is there.

    A subclass says how its one-line ``repr`` goes, gives its rows, and names the columns that people are shown.
    """

    table_columns: ClassVar[tuple[str, ...]]

    @abstractmethod
    def to_rows(self) -> list[dict[str, Any]]:
        """Return plain rows, one for each Transformation or result, ready for JSON."""

    def to_dataframe(self) -> Any:  # noqa: ANN401 - pandas is optional, so its type cannot be named here
        """Return the rows as a pandas DataFrame, indexed by Transformation.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        return dataframe(self.to_rows(), index="transformation")

    def __str__(self) -> str:
        return f"{self!r}\n{text_table(self.table_columns, self.to_rows())}"

    def _repr_html_(self) -> str:
        return html_table(self.table_columns, self.to_rows(), caption=repr(self)[1:-1])


def text_table(columns: Sequence[str], rows: Rows) -> str:
    """Rows as aligned text, numbers to the right; only the first and last of very many.

    >>> print(text_table(["name", "n"], [{"name": "a", "n": 1}, {"name": "bc", "n": 12}]))
    name   n
    a      1
    bc    12
    """
    shown, left_out = _head_and_tail(rows)
    cells = [[_cell(row.get(column)) for column in columns] for row in shown]
    widths = [max([len(name), *(len(line[i]) for line in cells)]) for i, name in enumerate(columns)]
    right = [any(isinstance(row.get(column), int | float) for row in rows) for column in columns]
    lines = [
        "  ".join(text.rjust(width) if numeric else text.ljust(width) for text, width, numeric in zipped).rstrip()
        for zipped in (zip(line, widths, right, strict=True) for line in [list(columns), *cells])
    ]
    if left_out:
        lines.insert(1 + _MOST_ROWS // 2, f"… {left_out} more …")
    return "\n".join(lines)


def html_table(columns: Sequence[str], rows: Rows, *, caption: str) -> str:
    """Rows as an HTML table; every text is escaped.

    >>> html_table(["n"], [{"n": "<b>"}], caption="x")
    '<table><caption>x</caption><thead><tr><th>n</th></tr></thead><tbody><tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """
    shown, left_out = _head_and_tail(rows)
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = [
        "<tr>" + "".join(f"<td>{escape(_cell(row.get(column)))}</td>" for column in columns) + "</tr>" for row in shown
    ]
    if left_out:
        body.insert(_MOST_ROWS // 2, f'<tr><td colspan="{len(columns)}">… {left_out} more …</td></tr>')
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table>"
    )


def dataframe(rows: Rows, *, index: str) -> Any:  # noqa: ANN401 - pandas is optional, so its type cannot be named here
    """Rows as a pandas DataFrame.

    Raises:
        MissingDependencyError: pandas is not installed.
    """
    try:
        import pandas as pd  # noqa: PLC0415 - optional, and slow to import
    except ImportError:
        raise MissingDependencyError(feature="to_dataframe()", package="pandas", extra="tables") from None
    return pd.DataFrame(list(rows)).set_index(index) if rows else pd.DataFrame()


def _head_and_tail(rows: Rows) -> tuple[Rows, int]:
    if len(rows) <= _MOST_ROWS:
        return rows, 0
    half = _MOST_ROWS // 2
    return [*rows[:half], *rows[-half:]], len(rows) - 2 * half


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
