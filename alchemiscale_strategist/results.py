"""Results as a table gives them: estimates of every repeat of every Transformation, in kcal/mol."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from alchemiscale_strategist.errors import RejectedFileError, RejectedInputError
from alchemiscale_strategist.networks import NetworkGraph
from alchemiscale_strategist.planning.models import TransformationKey
from alchemiscale_strategist.planning.tables import Tabular
from alchemiscale_strategist.table_files import Row, TableFile, read_table

__all__ = ["NetworkResults", "Repeat", "read_results"]

# Beyond it a float no longer holds every whole number.
_MOST_REPEAT = 2**53
_LARGEST_ENERGY = 1e6  # kcal/mol; anything beyond is a mistake, and squares of it overflow
_UNIT = "kcal/mol"
# What one finds in tables, by the letters of its name, and how it becomes kcal/mol.
_OTHER_UNITS = {
    "kj": ("kJ/mol", "divide by 4.184"),
    "kilojoule": ("kJ/mol", "divide by 4.184"),
    "kilojoules": ("kJ/mol", "divide by 4.184"),
    "j": ("J/mol", "divide by 4184"),
    "joule": ("J/mol", "divide by 4184"),
    "joules": ("J/mol", "divide by 4184"),
    "cal": ("cal/mol", "divide by 1000"),
    "kt": ("kT", "multiply by 0.0019872 times the temperature in kelvin"),
    "kbt": ("kT", "multiply by 0.0019872 times the temperature in kelvin"),
    "ev": ("eV", "multiply by 23.0605"),
    "hartree": ("hartree", "multiply by 627.509"),
}
_NOT_LETTERS = re.compile(r"[^a-z]+")
_PER_MOLE = re.compile(r"(?:per)?(?:mol|mole)\Z")
_NUMBER_AND_UNIT = re.compile(r"[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?\s*(?P<unit>[^\W\d].*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeat:
    """One result of a Transformation.

    Args:
        repeat: number of the repeat, ≥ 0.
        estimate: free energy difference in kcal/mol, finite.
        uncertainty: its standard error in kcal/mol, finite and ≥ 0; ``None`` where it is not known.

    Raises:
        RejectedInputError: names the field that is out of its range.

    >>> Repeat(repeat=0, estimate=-1.25, uncertainty=0.1)
    Repeat(repeat=0, estimate=-1.25, uncertainty=0.1)
    """

    repeat: int
    estimate: float
    uncertainty: float | None = None

    def __post_init__(self) -> None:
        if self.repeat < 0:
            raise RejectedInputError(field="repeat", value=self.repeat, expected="a whole number of at least 0")
        if not math.isfinite(self.estimate):
            raise RejectedInputError(field="estimate", value=self.estimate, expected="a finite number")
        if self.uncertainty is not None and not 0 <= self.uncertainty < math.inf:
            expected = "a finite number of at least 0, or None where it is not known"
            raise RejectedInputError(field="uncertainty", value=self.uncertainty, expected=expected)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class NetworkResults(Tabular, Mapping[TransformationKey, tuple[Repeat, ...]]):
    """The results of a network: a mapping from those Transformations that have any to their repeats, by number.

    Args:
        transformations: the keys of all Transformations of the network, with results or without.
        repeats: the repeats of those that have any, in any order.

    Raises:
        RejectedInputError: results for another Transformation, or the same repeat twice.

    >>> results = NetworkResults(
    ...     transformations=("Transformation-1", "Transformation-2"),
    ...     repeats={"Transformation-1": [Repeat(repeat=0, estimate=1.5)]},
    ... )
    >>> results.count("Transformation-1"), results.of("Transformation-2"), results.total
    (1, (), 1)
    >>> results
    <NetworkResults: 1 result of 1 of 2 Transformations>
    """

    table_columns: ClassVar = ("transformation", "repeat", "estimate_kcal_per_mol", "uncertainty_kcal_per_mol")

    transformations: tuple[TransformationKey, ...]
    repeats: InitVar[Mapping[TransformationKey, Iterable[Repeat]]]
    _by_key: dict[TransformationKey, tuple[Repeat, ...]] = field(init=False)

    def __post_init__(self, repeats: Mapping[TransformationKey, Iterable[Repeat]]) -> None:
        put = object.__setattr__
        put(self, "transformations", tuple(self.transformations))
        given = {key: _sorted_repeats(key, found) for key, found in repeats.items()}
        if unknown := sorted(given.keys() - set(self.transformations)):
            raise RejectedInputError(field="repeats", value=unknown, expected="keys of the network's Transformations")
        # In the network's order, whatever the order they came in.
        put(self, "_by_key", {key: given[key] for key in self.transformations if given.get(key)})

    def of(self, key: TransformationKey) -> tuple[Repeat, ...]:
        """The repeats of a Transformation, none where it has no results.

        Raises:
            RejectedInputError: the network has no such Transformation.
        """
        if (found := self._by_key.get(key)) is not None:
            return found
        if key in self._known:
            return ()
        raise RejectedInputError(field="transformation", value=key, expected="the key of one of the network's")

    def count(self, key: TransformationKey) -> int:
        """How many results a Transformation has.

        Raises:
            RejectedInputError: the network has no such Transformation.
        """
        return len(self.of(key))

    @property
    def total(self) -> int:
        """How many results there are in all."""
        return sum(len(repeats) for repeats in self._by_key.values())

    @cached_property
    def _known(self) -> frozenset[TransformationKey]:
        return frozenset(self.transformations)

    def __getitem__(self, key: TransformationKey) -> tuple[Repeat, ...]:
        return self._by_key[key]

    def __iter__(self) -> Iterator[TransformationKey]:
        return iter(self._by_key)

    def __len__(self) -> int:
        return len(self._by_key)

    def to_rows(self) -> list[dict[str, Any]]:
        """The repeats as plain rows, in kcal/mol, with the columns of a table of results."""
        return [
            {
                "transformation": key,
                "repeat": repeat.repeat,
                "estimate_kcal_per_mol": repeat.estimate,
                "uncertainty_kcal_per_mol": repeat.uncertainty,
            }
            for key, repeats in self.items()
            for repeat in repeats
        ]

    def __repr__(self) -> str:
        results = f"{self.total} result{'' if self.total == 1 else 's'}"
        return f"<NetworkResults: {results} of {len(self)} of {len(self.transformations)} Transformations>"


def read_results(path: str | Path, network: NetworkGraph) -> NetworkResults:
    r"""Read a table of results in kcal/mol: CSV, TSV or Parquet, one row a repeat.

    Columns: ``transformation`` (a name or a key), ``repeat`` (a whole number ≥ 0), ``estimate_kcal_per_mol`` or
    ``estimate``; where wanted ``uncertainty_kcal_per_mol`` or ``uncertainty`` (≥ 0, empty where it is not known) and
    ``transformation_key``, which tells apart Transformations of the same name. A column ``unit`` may say kcal/mol and
    nothing else. Other columns are ignored. A table with nothing but its header gives no results.

    Raises:
        RejectedFileError: tells line and column, what is there and what was expected.
        MissingDependencyError: Parquet without pyarrow.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     edges, results = Path(folder, "pair.csv"), Path(folder, "results.csv")
    ...     _ = edges.write_text("transformation,state_a,state_b,leg\na_b,a,b,complex\n")
    ...     _ = results.write_text("transformation,repeat,estimate,uncertainty\na_b,0,1.5,0.1\na_b,1,1.25,\n")
    ...     read = read_results(results, NetworkGraph.from_edge_table(edges))
    >>> for repeats in read.values():
    ...     print(*repeats, sep="\n")
    Repeat(repeat=0, estimate=1.5, uncertainty=0.1)
    Repeat(repeat=1, estimate=1.25, uncertainty=None)
    """
    table = read_table(path)
    columns = _columns(table)
    repeats: dict[TransformationKey, list[Repeat]] = {}
    places: dict[tuple[TransformationKey, int], int] = {}
    for row in table.rows:
        _check_unit(table, row, columns.unit)
        key = _transformation(table, row, columns, network)
        repeat = _repeat(table, row, columns)
        if (earlier := places.setdefault((key, repeat.repeat), row.number)) != row.number:
            name = network.by_key[key].name
            problem = f"repeat {repeat.repeat} of {name!r} is already in {table.unit} {earlier}, expected it once"
            raise table.refusal(problem, row=row, column=columns.repeat)
        repeats.setdefault(key, []).append(repeat)
    return NetworkResults(transformations=tuple(network.by_key), repeats=repeats)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Columns:
    transformation: int
    key: int | None
    repeat: int
    estimate: int
    uncertainty: int | None
    unit: int | None


def _columns(table: TableFile) -> _Columns:
    transformation = table.require("transformation")
    repeat = table.require("repeat")
    estimate = _energy_column(table, "estimate")
    if estimate is None:
        raise table.missing("estimate_kcal_per_mol")
    return _Columns(
        transformation=transformation,
        key=table.find("transformation_key"),
        repeat=repeat,
        estimate=estimate,
        uncertainty=_energy_column(table, "uncertainty"),
        unit=units if (units := table.find("unit")) is not None else table.find("units"),
    )


def _energy_column(table: TableFile, quantity: str) -> int | None:
    units = {
        place: _unit_letters(name[len(quantity) :])
        for place, name in enumerate(table.columns)
        if name.casefold().startswith(quantity)
    }
    right = [place for place, unit in units.items() if unit in {"", "kcal"}]
    if len(right) > 1:
        raise table.refusal(f"column {right[0] + 1} gives the {quantity}, too, expected it once", column=right[1])
    if right:
        return right[0]
    for place, unit in units.items():
        if unit in _OTHER_UNITS:
            raise _wrong_unit(table, unit, row=None, column=place)
    return None


def _check_unit(table: TableFile, row: Row, column: int | None) -> None:
    if column is None or table.is_empty(row, column):
        return
    unit = _unit_letters(table.text(row, column, expected=_UNIT))
    if unit in _OTHER_UNITS:
        raise _wrong_unit(table, unit, row=row, column=column)
    if unit != "kcal":
        raise table.refusal(f"{table.shown(row, column)}, expected {_UNIT}", row=row, column=column)


def _unit_letters(text: str) -> str:
    letters = _NOT_LETTERS.sub("", text.casefold()).removeprefix("in")
    return _PER_MOLE.sub("", letters)


def _wrong_unit(table: TableFile, unit: str, *, row: Row | None, column: int) -> RejectedFileError:
    name, conversion = _OTHER_UNITS[unit]
    return table.refusal(
        f"found the unit {name}, expected {_UNIT}: {conversion}",
        row=row,
        column=column,
        remedy=f"Convert the column to {_UNIT} ({conversion}) and write the numbers without their unit.",
    )


def _transformation(table: TableFile, row: Row, columns: _Columns, network: NetworkGraph) -> TransformationKey:
    named = table.text(row, columns.transformation, expected="the name or key of a Transformation")
    if columns.key is None or table.is_empty(row, columns.key):
        return _resolved(table, row, columns.transformation, named, network)
    given = table.text(row, columns.key, expected="the key of a Transformation")
    if given not in network.by_key:
        # A name is no key, even where it means one.
        _resolved(table, row, columns.key, given, network)
        raise table.refusal(f"got the name {given!r}, expected a key", row=row, column=columns.key)
    key = TransformationKey(given)
    if named not in {key, network.by_key[key].name}:
        problem = f"{given} is the key of {network.by_key[key].name!r}, expected the key of {named!r}"
        raise table.refusal(problem, row=row, column=columns.key)
    return key


def _resolved(table: TableFile, row: Row, column: int, text: str, network: NetworkGraph) -> TransformationKey:
    try:
        return network.resolve(text)
    except RejectedInputError as error:
        raise table.refusal(f"got {text!r}, expected {error.expected}", row=row, column=column) from None


def _repeat(table: TableFile, row: Row, columns: _Columns) -> Repeat:
    number = table.number(row, columns.repeat)
    if number is None or not 0 <= number <= _MOST_REPEAT or not number.is_integer():
        problem = f"{table.shown(row, columns.repeat)}, expected a whole number of at least 0"
        raise table.refusal(problem, row=row, column=columns.repeat)
    return Repeat(
        repeat=int(number),
        estimate=_energy(table, row, columns.estimate, expected="a finite number"),
        uncertainty=_uncertainty(table, row, columns.uncertainty),
    )


def _uncertainty(table: TableFile, row: Row, column: int | None) -> float | None:
    if column is None or table.is_empty(row, column):
        return None
    expected = "a finite number of at least 0, or nothing where it is not known"
    uncertainty = _energy(table, row, column, expected=expected)
    if uncertainty < 0:
        raise table.refusal(f"{table.shown(row, column)}, expected {expected}", row=row, column=column)
    return uncertainty


def _energy(table: TableFile, row: Row, column: int, *, expected: str) -> float:
    number = table.number(row, column)
    if number is not None and abs(number) <= _LARGEST_ENERGY:
        return number
    if number is not None and math.isfinite(number):
        problem = f"{table.shown(row, column)}, expected at most {_LARGEST_ENERGY:,.0f} {_UNIT} either way"
        raise table.refusal(problem, row=row, column=column)
    value = row.cells[column]
    remedy = ""
    if isinstance(value, str):
        if match := _NUMBER_AND_UNIT.fullmatch(value.strip()):
            unit = _unit_letters(match["unit"])
            if unit in _OTHER_UNITS:
                raise _wrong_unit(table, unit, row=row, column=column)
            remedy = f"Write the number alone, in {_UNIT}."
        elif "," in value:
            remedy = "Write the number with a decimal point and without separators."
    raise table.refusal(f"{table.shown(row, column)}, expected {expected}", row=row, column=column, remedy=remedy)


def _sorted_repeats(key: TransformationKey, repeats: Iterable[Repeat]) -> tuple[Repeat, ...]:
    found = tuple(sorted(repeats, key=lambda repeat: repeat.repeat))
    if len({repeat.repeat for repeat in found}) < len(found):
        raise RejectedInputError(field="repeats", value=key, expected="every repeat of a Transformation once")
    return found
