"""gufe's keyed chains, read as plain JSON: a list of ``[key, fields]``, each referring to others by key.

Nothing that an entry names is imported or built.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alchemiscale_strategist.bounded_json import JsonValue
from alchemiscale_strategist.checks import can_be_encoded
from alchemiscale_strategist.errors import RejectedFileError

__all__ = ["ChainEntry", "KeyedChain", "shown"]

_KEY_FIELD = ":gufe-key:"


@dataclass(frozen=True, kw_only=True, slots=True)
class ChainEntry:
    """One ``[key, fields]`` of a keyed chain; ``position`` counts from 1."""

    key: str
    position: int
    fields: dict[str, JsonValue]

    @property
    def kind(self) -> str:
        """The class that it says it is."""
        qualname = self.fields.get("__qualname__")
        return qualname if isinstance(qualname, str) else "of no __qualname__"


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyedChain:
    """The entries of a keyed chain by key; the last one, ``root``, is the object that was written.

    >>> KeyedChain.read(Path("pair.json"), [["A-1", {"__qualname__": "A"}]], root="A").root.key
    'A-1'
    """

    path: Path
    entries: Mapping[str, ChainEntry]
    root: ChainEntry

    @classmethod
    def read(cls, path: Path, document: JsonValue, *, root: str) -> KeyedChain:
        """Check that a JSON document is the keyed chain of an object of the class ``root``.

        Raises:
            RejectedFileError: it is not; with the entry, numbered from 1, and what was expected.
        """
        if not isinstance(document, list) or not document:
            raise _no_chain(path, document)
        entries: dict[str, ChainEntry] = {}
        for position, item in enumerate(document, start=1):
            entry = _entry(path, position, item)
            if entry.key in entries:
                problem = f"{entry.key} is entry {entries[entry.key].position}, too, expected every key only once"
                raise RejectedFileError(problem, path=path, line=position, unit="entry")
            entries[entry.key] = entry
        chain = cls(path=path, entries=entries, root=next(reversed(entries.values())))
        if chain.root.kind != root:
            raise chain.refusal(chain.root, f"is {shown(chain.root.kind)}, expected the last entry to be {root}")
        return chain

    def refusal(self, entry: ChainEntry, problem: str) -> RejectedFileError:
        """The error for one entry."""
        problem = f"{shown(entry.key)} {problem}"
        return RejectedFileError(problem, path=self.path, line=entry.position, unit="entry")

    def name(self, entry: ChainEntry) -> str:
        """What the entry says it is called, or nothing."""
        name = entry.fields.get("name")
        if name is None:
            return ""
        if isinstance(name, str) and can_be_encoded(name):
            return name.strip()
        raise self.refusal(entry, f"has the 'name' {shown(name)}, expected text or null")

    def field(self, entry: ChainEntry, name: str) -> ChainEntry:
        """The entry that a field refers to."""
        if name not in entry.fields:
            raise self.refusal(
                entry, f"({shown(entry.kind)}) has no field {name!r}, expected a reference to another entry"
            )
        return self.follow(entry, entry.fields[name], f"its field {name!r}")

    def follow(self, entry: ChainEntry, reference: JsonValue, where: str) -> ChainEntry:
        """The entry that a reference leads to; ``where`` in ``entry`` it stands."""
        key = reference.get(_KEY_FIELD) if isinstance(reference, dict) else None
        if not isinstance(key, str):
            expected = f'expected a reference such as {{"{_KEY_FIELD}": "Transformation-…"}}'
            raise self.refusal(entry, f"has {shown(reference)} as {where}, {expected}")
        if key not in self.entries:
            raise self.refusal(entry, f"refers to {shown(key)} by {where}, expected it among the entries")
        return self.entries[key]


def _entry(path: Path, position: int, item: JsonValue) -> ChainEntry:
    match item:
        case [str(key), dict(fields)] if key and key.isprintable():
            return ChainEntry(key=key, position=position, fields=fields)
    problem = f"is {shown(item)}, expected a pair of a key and an object, as in a keyed chain of gufe"
    raise RejectedFileError(problem, path=path, line=position, unit="entry")


def _no_chain(path: Path, document: JsonValue) -> RejectedFileError:
    remedy = "Write the object with its to_json."
    if isinstance(document, dict) and "__qualname__" in document:
        found = f"is one object, {shown(document['__qualname__'])}, as old versions of gufe wrote"
        remedy = "Read it with gufe's from_json and write it again with to_json."
    else:
        found = f"is {shown(document)}"
    expected = "expected a keyed chain of gufe: a list of pairs of a key and an object, that object last"
    return RejectedFileError(f"{found}, {expected}", path=path, remedy=remedy)


def shown(value: JsonValue, limit: int = 80) -> str:
    """A JSON value in an error message: texts and numbers as they are but not endlessly, others by their kind."""
    match value:
        case dict():
            return "an object"
        case list():
            return "a list" if value else "an empty list"
        case str():
            return repr(value) if len(value) <= limit else f"{value[:limit]!r}…"
        case _:
            return json.dumps(value)[:limit]
