"""CSV, TSV and Parquet as rows that remember where they stood, so that an error can say where.

CSV cells arrive as text and Parquet cells as Python values; :class:`TableFile` reads both alike.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeAlias

from alchemiscale_strategist.bounded_json import decode_utf8, read_bounded_bytes
from alchemiscale_strategist.errors import MissingDependencyError, RejectedFileError

__all__ = ["TABLE_SUFFIXES", "Row", "TableFile", "read_table"]

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_PARQUET_SUFFIXES = (".parquet", ".pq")
TABLE_SUFFIXES = (*_DELIMITERS, *_PARQUET_SUFFIXES)
"""The suffixes that :func:`read_table` knows."""

_MAX_BYTES = 256 * 2**20
# A Parquet file of a few bytes can hold a column of any length.
_MAX_PARQUET_CELLS = 50_000_000
_LINE_END = re.compile(r"\r\n|\r|\n")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")

_Unit: TypeAlias = Literal["line", "row"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row: ``number`` is the line where it starts, or for Parquet its place among the rows, both from 1."""

    number: int
    cells: tuple[object, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TableFile:
    """A table as its file has it: columns by place, from 0 in code and from 1 in messages.

    Args:
        path: the file.
        columns: names of the columns, without blanks around them; unnamed ones are empty.
        rows: the rows, blank ones left out; each has as many cells as there are columns.
        unit: what numbers the rows: a ``line`` of text or a ``row`` of Parquet.
        header_line: the line with the names, if it is text.

    >>> table = TableFile(path=Path("t.csv"), columns=("name", "n"), rows=(Row(number=2, cells=("a", "x")),))
    >>> table.text(table.rows[0], table.require("name"))
    'a'
    >>> print(table.refusal("expected a number, got 'x'", row=table.rows[0], column=1))
    t.csv, line 2, column 2: n: expected a number, got 'x'
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    unit: _Unit = "line"
    header_line: int | None = None

    def find(self, name: str) -> int | None:
        """The place of a column, whatever its case, or ``None``."""
        names = [column.casefold() for column in self.columns]
        return names.index(name.casefold()) if name.casefold() in names else None

    def require(self, name: str) -> int:
        """The place of a column.

        Raises:
            RejectedFileError: there is none; names the columns that there are.
        """
        if (place := self.find(name)) is not None:
            return place
        raise self.missing(name)

    def missing(self, expected: str) -> RejectedFileError:
        """The error for a column that is not there."""
        found = ", ".join(repr(name) for name in self.columns)
        problem = f"there is no column {expected!r}; found the columns {found}"
        return RejectedFileError(problem, path=self.path, line=self.header_line, remedy=self.separator_remedy())

    def separator_remedy(self) -> str:
        """What to do where the one column's name looks like several with another separator; or nothing."""
        if len(self.columns) == 1 and (separator := re.search(r"[;,\t|]", self.columns[0])):
            return f"The cells seem to be separated by {separator[0]!r}: .csv takes ',' and .tsv a tab."
        return ""

    def refusal(self, problem: str, *, row: Row | None = None, column: int, remedy: str = "") -> RejectedFileError:
        """The error for one cell, or for a column's name where no row is given."""
        name = self.columns[column] if column < len(self.columns) else ""
        return RejectedFileError(
            f"{name}: {problem}" if name else problem,
            path=self.path,
            line=self.header_line if row is None else self._line(row, column),
            column=column + 1,
            unit=self.unit,
            remedy=remedy,
        )

    def is_empty(self, row: Row, column: int) -> bool:
        """Whether a cell holds nothing: null, or nothing but blanks."""
        value = row.cells[column]
        return value is None or (isinstance(value, str) and not value.strip())

    def text(self, row: Row, column: int, *, expected: str = "text") -> str:
        """A cell as text without blanks around it; a whole number counts as its digits.

        Raises:
            RejectedFileError: the cell is empty or holds something else.
        """
        value = row.cells[column]
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str) and (stripped := value.strip()):
            return stripped
        raise self.refusal(f"{self.shown(row, column)}, expected {expected}", row=row, column=column)

    def number(self, row: Row, column: int) -> float | None:
        """A cell as a number, perhaps NaN or infinite where it is Parquet, or ``None`` where it is no number."""
        value = row.cells[column]
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            return float(value)
        # float() does not know all the blanks that strip() takes away.
        if isinstance(value, str) and _NUMBER.fullmatch(stripped := value.strip()):
            return float(stripped)
        return None

    def shown(self, row: Row, column: int) -> str:
        """What a cell holds, in words for a message."""
        if self.is_empty(row, column):
            return "the cell is empty"
        text = repr(row.cells[column])
        return f"got {text if len(text) <= 80 else text[:79] + '…'}"

    def _line(self, row: Row, column: int) -> int:
        if self.unit == "row":
            return row.number
        # A quoted cell may run over several lines, and moves those behind it down.
        return row.number + sum(len(_LINE_END.findall(str(cell))) for cell in row.cells[:column])


def read_table(path: str | Path, *, max_bytes: int = _MAX_BYTES) -> TableFile:
    """Read a table; the suffix tells how: ``.csv``, ``.tsv`` (UTF-8) or ``.parquet``, ``.pq``.

    Raises:
        RejectedFileError: another suffix, not readable, too large, no header, the same column twice, a row with too
            few or too many cells.
        MissingDependencyError: Parquet without pyarrow.

    >>> read_table("results.xlsx")
    Traceback (most recent call last):
    ...
    alchemiscale_strategist.errors.RejectedFileError: results.xlsx: expected a file whose name ends in .csv, .tsv,
    .parquet, .pq
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        known = ", ".join(TABLE_SUFFIXES)
        raise RejectedFileError(f"expected a file whose name ends in {known}", path=path)
    content = read_bounded_bytes(path, max_bytes=max_bytes)
    if suffix in _DELIMITERS:
        table = _text_table(path, decode_utf8(content, source=path), _DELIMITERS[suffix])
    else:
        table = _parquet_table(path, content, max_bytes)
    _check_columns(table)
    return table


def _text_table(path: Path, text: str, delimiter: str) -> TableFile:
    records = tuple(_records(path, text, delimiter))
    if not records:
        raise RejectedFileError("is empty, expected a line with the names of the columns", path=path)
    header, rows = records[0], records[1:]
    columns = tuple(str(cell).strip() for cell in header.cells)
    table = TableFile(path=path, columns=columns, rows=rows, header_line=header.number)
    for row in rows:
        if (count := len(row.cells)) != len(columns):
            raise table.refusal(
                f"the row has {count} cells, expected {len(columns)} as in line {header.number}",
                row=row,
                column=min(count, len(columns)),
                remedy=table.separator_remedy(),
            )
    return table


def _records(path: Path, text: str, delimiter: str) -> Iterator[Row]:
    # Without translation of line ends, the reader's lines are those that an editor counts.
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    start = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield Row(number=start, cells=tuple(cells))
            start = reader.line_num + 1
    except csv.Error as error:
        raise RejectedFileError(f"the row cannot be read: {error}", path=path, line=start) from None


def _check_columns(table: TableFile) -> None:
    first: dict[str, int] = {}
    for place, column in enumerate(table.columns):
        # Unnamed columns, such as the index that pandas writes, are nobody's.
        if column and (earlier := first.setdefault(column.casefold(), place)) != place:
            raise table.refusal(f"column {earlier + 1} has the same name", column=place)


def _parquet_table(path: Path, content: bytes, max_bytes: int) -> TableFile:
    try:
        import pyarrow as pa  # noqa: PLC0415 - optional, and slow to import
        import pyarrow.parquet as pq  # noqa: PLC0415 - optional, and slow to import
    except ImportError:
        raise MissingDependencyError(feature="Reading Parquet", package="pyarrow", extra="tables") from None
    if not content:
        raise RejectedFileError("is empty, expected Parquet", path=path)
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        _check_parquet_size(path, file.metadata, max_bytes)
        read = file.read()
        names = [str(name).strip() for name in read.column_names]
        values = [column.to_pylist() for column in read.columns]
    except RejectedFileError:
        raise
    except (pa.ArrowException, OSError, ValueError, ArithmeticError, LookupError, TypeError, MemoryError) as error:
        # pyarrow passes on whatever Python error the damage leads to.
        raise RejectedFileError(f"cannot be read as Parquet: {error}", path=path) from None
    return TableFile(path=path, columns=tuple(names), rows=_parquet_rows(values), unit="row")


def _check_parquet_size(path: Path, metadata: Any, max_bytes: int) -> None:  # noqa: ANN401 - pyarrow ships no types
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if size > max_bytes or metadata.num_rows * metadata.num_columns > _MAX_PARQUET_CELLS:
        problem = f"holds more than the limit of {max_bytes:,} bytes or {_MAX_PARQUET_CELLS:,} cells"
        raise RejectedFileError(problem, path=path)


def _parquet_rows(values: Sequence[Sequence[object]]) -> tuple[Row, ...]:
    rows = (Row(number=number, cells=cells) for number, cells in enumerate(zip(*values, strict=True), start=1))
    return tuple(row for row in rows if any(cell is not None for cell in row.cells))
