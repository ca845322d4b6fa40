"""Objects that gufe turns into something else than settings: the few that may pass, and those that may not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

from alchemiscale_strategist.bounded_json import JsonValue
from alchemiscale_strategist.payloads.errors import RefusalReason, RejectedPayloadError, refusal
from alchemiscale_strategist.payloads.places import Place

__all__ = [
    "CUSTOM",
    "PLAIN_CODECS",
    "REFUSED_CODECS",
    "UNITS",
    "Name",
    "check_quantity",
    "refuse_numpy_scalar",
    "unknown_codec",
]

CUSTOM = ":is_custom:"
UNITS = "pint_unit_registry"

# Texts of which gufe makes a number with a unit. pint evaluates the arithmetic in them, so there is little: words,
# joined by * and /, each with a short exponent. What pint itself writes has this form.
_UNIT_WORD = r"[A-Za-z][A-Za-z0-9_]{0,39}(?: \*\* -?[0-9]{1,2}(?:\.[0-9]{1,4})?)?"
_UNIT = re.compile(rf"(?:1 / )?{_UNIT_WORD}(?: [*/] {_UNIT_WORD}){{0,9}}", re.ASCII)

Name: TypeAlias = tuple[str, str]  # module and name of a class, not yet known to be one

# Values of gufe's codecs that may pass, with the one field that each has. gufe hands a text of this form to
# datetime.fromisoformat or to uuid.UUID: no other module is loaded, and neither reads more than the text.
PLAIN_CODECS: Mapping[Name, tuple[str, re.Pattern[str]]] = {
    ("datetime", "datetime"): (
        "isotime",
        re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?", re.ASCII),
    ),
    ("uuid", "UUID"): ("uuid", re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)),
}
# Those that may not: a path is of another machine, bytes are compressed a second time, and arrays are as large as
# they say and of any type that numpy knows.
REFUSED_CODECS: frozenset[Name] = frozenset(
    {("pathlib", "PosixPath"), ("pathlib._local", "PosixPath"), ("builtins", "bytes"), ("numpy", "ndarray")}
)


def check_quantity(fields: Mapping[str, JsonValue], place: Place) -> None:
    """Check a unit, or a number with one: multiplied by what pint makes of a text, and no more."""
    numbers = {key: value for key, value in fields.items() if key not in {CUSTOM, UNITS}}
    match numbers:
        case {"magnitude": int() | float() as magnitude, "unit": str(unit)} if not isinstance(magnitude, bool):
            expected = 2
        case {"unit_name": str(unit)}:
            expected = 1
        case _:
            raise unknown_codec(place, "is no number with a unit as gufe writes it", "")
    tagged = fields.get(CUSTOM) is True and fields.get(UNITS) == "openff_units"
    if not tagged or len(numbers) != expected or not _UNIT.fullmatch(unit):
        raise unknown_codec(place, "is no number with a unit as gufe writes it", unit)


def refuse_numpy_scalar(fields: Mapping[str, JsonValue], place: Place) -> None:
    """Refuse what gufe takes for a numpy scalar."""
    # gufe takes any object with these two for one, whatever else it says it is, an entry's fields among them.
    if "dtype" in fields and "bytes" in fields:
        raise unknown_codec(place, "has the fields of a numpy scalar", "dtype")


def unknown_codec(place: Place, found: str, offender: str) -> RejectedPayloadError:
    """The error for an object of a form that may not pass."""
    return refusal(
        RefusalReason.UNKNOWN_CODEC,
        place,
        found,
        "plain JSON, settings of a class that is allowed, numbers with units, datetimes or UUIDs",
        offender=offender,
    )
