"""Every object of a chain, by the form in which gufe would read it: which class, codec or reference it names."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from alchemiscale_strategist.bounded_json import JsonValue
from alchemiscale_strategist.checks import can_be_encoded
from alchemiscale_strategist.payloads.codecs import (
    CUSTOM,
    PLAIN_CODECS,
    REFUSED_CODECS,
    UNITS,
    Name,
    check_quantity,
    refuse_numpy_scalar,
    unknown_codec,
)
from alchemiscale_strategist.payloads.errors import RefusalReason, RejectedPayloadError, not_json, refusal, shown
from alchemiscale_strategist.payloads.places import FIELD, Place

__all__ = ["Walk"]

_MODULE = "__module__"
_QUALNAME = "__qualname__"
_CLASS = "__class__"
_VERSION = ":version:"
_REFERENCE = ":gufe-key:"


@dataclass(kw_only=True, slots=True)
class Walk:
    """One walk over a chain; collects which entry refers to which key, and where."""

    strategies: frozenset[Name]
    parts: frozenset[Name]
    most_values: int
    values: int = 0
    references: list[tuple[str, Place]] = field(default_factory=list)

    def entry(self, fields: dict[str, JsonValue], place: Place) -> Name:
        """Check an entry's fields; return its class."""
        refuse_numpy_scalar(fields, place)
        name = _named(fields, _MODULE, _QUALNAME)
        if name is None:
            raise refusal(
                RefusalReason.CLASS_NOT_ALLOWED, place, "names no class", f"texts as '{_MODULE}' and '{_QUALNAME}'"
            )
        if name not in self.strategies | self.parts:
            raise _class_not_allowed(name, place)
        version = fields.get(_VERSION, 1)
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise _unexpected(_VERSION, place, f"has the {_VERSION} {shown(version)}", "a whole number of at least 1")
        self.fields(fields, place, besides={_MODULE, _QUALNAME, _VERSION}, may_refer=True)
        return name

    def fields(self, fields: dict[str, JsonValue], place: Place, *, besides: set[str], may_refer: bool) -> None:
        """Check what becomes the keyword arguments of a class."""
        self.count(len(besides), place)
        for name, value in fields.items():
            if name in besides:
                continue
            if not FIELD.fullmatch(name) or name == UNITS:
                raise _unexpected(name, place, f"has the field {shown(name)}", "an ASCII identifier without '_' first")
            self.count(1, place)
            self.value(value, place.at(name), may_refer=may_refer)

    def value(self, value: JsonValue, place: Place, *, may_refer: bool) -> None:
        """Check any value; ``may_refer`` tells whether gufe follows references here."""
        self.count(1, place)
        match value:
            case dict():
                self.object(value, place, may_refer=may_refer)
            case list():
                for position, item in enumerate(value):
                    self.value(item, place.at(position), may_refer=may_refer)
            case str():
                if not can_be_encoded(value):
                    raise not_json(f"has half of a surrogate pair in {place}")
            case int() | float() | None:
                pass
            case _:
                assert_never(value)

    def object(self, fields: dict[str, JsonValue], place: Place, *, may_refer: bool) -> None:
        """Check an object by the form in which gufe would read it."""
        refuse_numpy_scalar(fields, place)
        if _REFERENCE in fields:
            self.reference(fields, place, may_refer=may_refer)
        elif _QUALNAME in fields:
            # As gufe writes in to_dict, where it stands inside: the decoder falls back to that on some errors.
            raise _unexpected(_QUALNAME, place, "is an object of a class in full", "a reference to an entry")
        elif _CLASS in fields or _MODULE in fields:
            self.instance(fields, place)
        elif CUSTOM in fields or UNITS in fields:
            check_quantity(fields, place)
            self.count(len(fields), place)
        else:
            for key, value in fields.items():
                _check_key(key, place)
                self.count(1, place)
                self.value(value, place.at(key), may_refer=may_refer)

    def reference(self, fields: dict[str, JsonValue], place: Place, *, may_refer: bool) -> None:
        """Check a reference, and note it."""
        key = fields[_REFERENCE]
        if not isinstance(key, str) or len(fields) > 1:
            raise _unexpected(_REFERENCE, place, "is no plain reference", f'{{"{_REFERENCE}": KEY}} and no more')
        if not may_refer:
            # Settings are made before references are followed: this one would reach the class as an object.
            raise _unexpected(_REFERENCE, place, "is a reference inside of settings", "references outside of them")
        self.references.append((key, place))

    def instance(self, fields: dict[str, JsonValue], place: Place) -> None:
        """Check an object that gufe's decoder replaces by an instance of the class that it names."""
        name = _named(fields, _MODULE, _CLASS)
        if name is None:
            raise refusal(
                RefusalReason.CLASS_NOT_ALLOWED,
                place,
                "names no class, or half of one",
                f"texts as '{_MODULE}' and '{_CLASS}'",
            )
        allowed = name in self.parts
        if not allowed and name in REFUSED_CODECS:
            raise unknown_codec(place, f"is a {name[1]}", ":".join(name))
        if not allowed and name not in PLAIN_CODECS:
            raise _class_not_allowed(name, place)
        if fields.get(CUSTOM) is not True:
            # The decoder imports the class all the same, and then fails on it or does not, from version to version.
            raise unknown_codec(place, f"is of a class, but without '{CUSTOM}': true", ":".join(name))
        tags = {_CLASS, _MODULE, CUSTOM}
        if allowed:
            self.fields(fields, place, besides=tags, may_refer=False)
            return
        only, form = PLAIN_CODECS[name]
        value = fields.get(only)
        if fields.keys() != tags | {only} or not isinstance(value, str) or not form.fullmatch(value):
            raise unknown_codec(place, f"is no {name[1]} as gufe writes it", ":".join(name))
        self.count(len(fields), place)

    def count(self, more: int, place: Place) -> None:
        """Count values, up to the limit."""
        self.values += more
        if self.values > self.most_values:
            raise refusal(
                RefusalReason.TOO_LARGE,
                place,
                "is one value too many",
                f"at most {self.most_values:,} in all",
                remedy="A Strategy is small; the operator may raise the limit.",
            )


def _check_key(key: str, place: Place) -> None:
    # Names that only look like gufe's do no harm in today's gufe; nobody needs them either.
    plain = unicodedata.normalize("NFKC", key).strip()
    if not key.isprintable() or plain.startswith((":", "__")):
        raise _unexpected(
            key, place, f"has the key {shown(key)}", "printable text that begins with neither ':' nor '__'"
        )


def _named(fields: Mapping[str, JsonValue], module: str, name: str) -> Name | None:
    match fields.get(module), fields.get(name):
        case str(found_module), str(found_name):
            return found_module, found_name
    return None


def _class_not_allowed(name: Name, place: Place) -> RejectedPayloadError:
    text = ":".join(name)
    return refusal(
        RefusalReason.CLASS_NOT_ALLOWED,
        place,
        f"is of the class {shown(text)}",
        "one that the operator allows",
        offender=text,
        remedy="Ask the operator to allow it, if it is a class of a package that is trusted and installed there.",
    )


def _unexpected(name: str, place: Place, found: str, expected: str) -> RejectedPayloadError:
    return refusal(RefusalReason.UNEXPECTED_FIELD, place, found, expected, offender=name)
