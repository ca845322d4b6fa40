"""What a submitted Strategy names, checked before anything decodes it: classes, codecs, references, sizes.

gufe's decoder imports whatever module a payload names, wherever it stands, and calls what it finds there. So a payload
is read as plain JSON first. An object that gufe reads in a special way passes only where it is known and harmless, and
a class only if an operator allows exactly that one. Nothing that it names is imported or built here.
"""

from __future__ import annotations

import functools
import json
import math
import re
import unicodedata
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn, TypeAlias, assert_never

from alchemiscale_strategist.bounded_json import JsonValue
from alchemiscale_strategist.checks import check_whole_number
from alchemiscale_strategist.errors import MissingDependencyError, RejectedInputError
from alchemiscale_strategist.ports import StrategyKind, StrategyPayload

__all__ = [
    "DEFAULT_PAYLOAD_LIMITS",
    "STRATOCASTER_CLASSES",
    "AllowedClasses",
    "ClassName",
    "PayloadLimits",
    "RefusalReason",
    "RejectedPayloadError",
    "check_stored_payload",
    "check_strategy_payload",
]

_DOTTED_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)


class RefusalReason(StrEnum):
    """Why a payload is refused."""

    TOO_LARGE = "too_large"
    """More bytes, entries or values than the limits allow, or a number beyond 64 bits."""
    TOO_DEEP = "too_deep"
    """Nested more deeply than the limits allow."""
    NOT_DECOMPRESSIBLE = "not_decompressible"
    """Damaged or cut off zstd or gzip, more than one frame, or something after it."""
    NOT_JSON = "not_json"
    """Not JSON in UTF-8."""
    DUPLICATE_KEY = "duplicate_key"
    """An object has the same key twice; readers differ in which one counts."""
    NOT_A_KEYED_CHAIN = "not_a_keyed_chain"
    """JSON, but not a list of pairs of a key and an object, each key once."""
    KEY_MISMATCH = "key_mismatch"
    """An entry's key is not made of its class's qualname and a token."""
    CLASS_NOT_ALLOWED = "class_not_allowed"
    """A class that no operator allows."""
    NOT_A_STRATEGY = "not_a_strategy"
    """The last entry is of a class that may stand inside a Strategy only."""
    UNKNOWN_CODEC = "unknown_codec"
    """An object in a form that gufe turns into something else, which is none of the few that may pass."""
    UNEXPECTED_FIELD = "unexpected_field"
    """A name that gufe or a store reads in a special way, where it does not belong."""
    DANGLING_REFERENCE = "dangling_reference"
    """A reference to no entry, or to a later one."""
    CYCLIC = "cyclic"
    """An entry that refers to itself, directly or through others."""
    UNREFERENCED_ENTRY = "unreferenced_entry"
    """An entry, not the last, to which no later one refers: a second root."""
    NAME_MISMATCH = "name_mismatch"
    """A stored payload goes by another name than its last entry's."""


class RejectedPayloadError(RejectedInputError):
    """A payload is refused: ``reason``, ``where`` in it, and ``offender``: the class or field, or empty.

    >>> try:
    ...     check_strategy_payload(b"[]", allowed=STRATOCASTER_CLASSES)
    ... except RejectedPayloadError as error:
    ...     print(error.reason, error.where)
    not_a_keyed_chain strategy
    """

    def __init__(
        self, reason: RefusalReason, *, where: str, found: str, expected: str, offender: str = "", remedy: str = ""
    ) -> None:
        offender = offender[:_LONGEST_SHOWN]
        super().__init__(field=where, value=offender, expected=expected, remedy=remedy)
        # In place of the base class's sentence: what was found is more than a value.
        self.args = (f"{where}: {found}, expected {expected}",)
        self.reason = reason
        self.where = where
        self.found = found
        self.offender = offender

    def __reduce__(self) -> tuple[object, ...]:
        # It crosses from the process that runs the Strategy, and an error with keywords does not pickle by itself.
        made = functools.partial(
            type(self),
            self.reason,
            where=self.where,
            found=self.found,
            expected=self.expected,
            offender=self.offender,
            remedy=self.remedy,
        )
        return made, ()


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class ClassName:
    """A class by its module and qualname: text that is compared exactly, and never imported.

    Args:
        module: the dotted name of the module in which the class is defined.
        qualname: the class's ``__qualname__``.

    Raises:
        RejectedInputError: not ASCII identifiers joined by dots.

    >>> str(ClassName(module="mypackage.strategies", qualname="Greedy"))
    'mypackage.strategies:Greedy'
    """

    module: str
    qualname: str

    def __post_init__(self) -> None:
        names: dict[str, object] = {"module": self.module, "qualname": self.qualname}
        for name, value in names.items():
            if not isinstance(value, str) or not _DOTTED_NAME.fullmatch(value):
                raise RejectedInputError(field=name, value=value, expected="ASCII identifiers joined by dots")

    @classmethod
    def parse(cls, text: str) -> ClassName:
        """Read the form ``package.module:QualName``.

        Raises:
            RejectedInputError: the text has another form.

        >>> ClassName.parse("mypackage.strategies:Greedy")
        ClassName(module='mypackage.strategies', qualname='Greedy')
        >>> ClassName.parse("mypackage.strategies.Greedy")
        Traceback (most recent call last):
        ...
        alchemiscale_strategist.errors.RejectedInputError: class: got 'mypackage.strategies.Greedy', expected ...
        """
        module, colon, qualname = text.partition(":")
        if not (colon and _DOTTED_NAME.fullmatch(module) and _DOTTED_NAME.fullmatch(qualname)):
            raise RejectedInputError(field="class", value=text, expected="the form 'package.module:QualName'")
        return cls(module=module, qualname=qualname)

    def __str__(self) -> str:
        return f"{self.module}:{self.qualname}"


@dataclass(frozen=True, kw_only=True, slots=True)
class AllowedClasses:
    """The classes that a payload may name. Two of these are joined by ``|``.

    Args:
        strategies: classes of which a submitted Strategy may be.
        parts: classes that may stand inside one: their settings.

    Raises:
        RejectedInputError: a member is no :class:`ClassName`.

    >>> mine = AllowedClasses.parse(strategies=["mypackage:Greedy"], parts=["mypackage:GreedySettings"])
    >>> sorted(str(name) for name in (STRATOCASTER_CLASSES | mine).strategies)
    ['mypackage:Greedy', 'stratocaster.strategies.connectivity:ConnectivityStrategy',
     'stratocaster.strategies.radialgrowth:RadialGrowthStrategy']
    """

    strategies: frozenset[ClassName] = frozenset()
    parts: frozenset[ClassName] = frozenset()

    def __post_init__(self) -> None:
        fields: dict[str, object] = {"strategies": self.strategies, "parts": self.parts}
        for name, members in fields.items():
            if not isinstance(members, frozenset) or not all(isinstance(member, ClassName) for member in members):
                raise RejectedInputError(field=name, value=members, expected="a frozenset of ClassName")

    @classmethod
    def parse(cls, *, strategies: Collection[str] = (), parts: Collection[str] = ()) -> AllowedClasses:
        """Read an operator's lists of ``package.module:QualName``.

        Raises:
            RejectedInputError: one text where a list belongs, or a text of another form.
        """
        for name, texts in (("strategies", strategies), ("parts", parts)):
            if isinstance(texts, str):
                raise RejectedInputError(field=name, value=texts, expected="a list of texts")
        return cls(
            strategies=frozenset(ClassName.parse(text) for text in strategies),
            parts=frozenset(ClassName.parse(text) for text in parts),
        )

    def __or__(self, other: AllowedClasses) -> AllowedClasses:
        if not isinstance(other, AllowedClasses):
            return NotImplemented
        return AllowedClasses(strategies=self.strategies | other.strategies, parts=self.parts | other.parts)


STRATOCASTER_CLASSES = AllowedClasses.parse(
    strategies=[
        "stratocaster.strategies.connectivity:ConnectivityStrategy",
        "stratocaster.strategies.radialgrowth:RadialGrowthStrategy",
    ],
    parts=[
        "stratocaster.strategies.connectivity:ConnectivityStrategySettings",
        "stratocaster.strategies.radialgrowth:RadialGrowthStrategySettings",
    ],
)
"""The strategies of stratocaster with their settings."""

# The walk is recursive; this leaves most of Python's own limit to the caller.
_DEEPEST = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class PayloadLimits:
    """How much a payload may be. The defaults are generous: stratocaster's own strategies have some 400 bytes.

    Args:
        max_compressed_bytes: of what is submitted as zstd or gzip, ≥ 1.
        max_json_bytes: of the JSON, decompressed or submitted as it is, and again as it is stored, ≥ 1.
        max_depth: deepest nesting of lists and objects, from 1 to 100; a plain Strategy has 4.
        max_entries: entries of the keyed chain, ≥ 1.
        max_values: values of any kind, including lists, objects and the keys of objects, ≥ 1.

    Raises:
        RejectedInputError: a limit is no whole number in its range.
    """

    max_compressed_bytes: int = 64 * 1024
    max_json_bytes: int = 256 * 1024
    max_depth: int = 16
    max_entries: int = 16
    max_values: int = 10_000

    def __post_init__(self) -> None:
        for name in self.__slots__:
            check_whole_number(name, getattr(self, name), least=1)
        if self.max_depth > _DEEPEST:
            raise RejectedInputError(
                field="max_depth", value=self.max_depth, expected=f"a whole number of at most {_DEEPEST}"
            )


DEFAULT_PAYLOAD_LIMITS = PayloadLimits()


def check_strategy_payload(
    content: bytes, *, allowed: AllowedClasses, limits: PayloadLimits = DEFAULT_PAYLOAD_LIMITS
) -> StrategyPayload:
    """Check a submitted keyed chain: JSON in UTF-8, or that as one zstd frame or one gzip member.

    Returns it as a payload of the kind ``gufe`` whose name is the qualname of the Strategy's class and whose content
    is the chain as JSON with sorted keys. Only that content was checked: store and run it, never the bytes.

    Raises:
        RejectedPayloadError: refused; ``reason`` says why.
        MissingDependencyError: it is zstd, and zstandard is not installed.

    >>> content = b'''[["Greedy-0123456789abcdef0123456789abcdef", {"settings": {"__class__": "GreedySettings",
    ... "__module__": "mypackage", ":is_custom:": true, "repeats": 3}, "__qualname__": "Greedy",
    ... "__module__": "mypackage", ":version:": 1}]]'''
    >>> mine = AllowedClasses.parse(strategies=["mypackage:Greedy"], parts=["mypackage:GreedySettings"])
    >>> check_strategy_payload(content, allowed=mine).name
    'Greedy'
    >>> check_strategy_payload(content.replace(b'"mypackage"', b'"os"'), allowed=mine)
    Traceback (most recent call last):
    ...
    alchemiscale_strategist.payloads.RejectedPayloadError: strategy, entry 1: is of the class 'os:Greedy', expected one
    that the operator allows
    """
    return _checked(_decompressed(content, limits), allowed, limits)


def check_stored_payload(
    payload: StrategyPayload, *, allowed: AllowedClasses, limits: PayloadLimits = DEFAULT_PAYLOAD_LIMITS
) -> StrategyPayload:
    """Check what a store gives back, which another program may have written, as if it were submitted anew.

    A native payload is returned as it is: its settings are checked by whoever runs it, and nothing in it is decoded.

    Raises:
        RejectedPayloadError: refused; ``reason`` says why.

    >>> forged = StrategyPayload(kind=StrategyKind.GUFE, name="system", content='[["system-0", {"__module__": "os"}]]')
    >>> check_stored_payload(forged, allowed=STRATOCASTER_CLASSES)
    Traceback (most recent call last):
    ...
    alchemiscale_strategist.payloads.RejectedPayloadError: strategy, entry 1: names no class, expected texts as
    '__module__' and '__qualname__'
    """
    match payload.kind:
        case StrategyKind.NATIVE:
            return payload
        case StrategyKind.GUFE:
            pass
        case _:
            assert_never(payload.kind)
    checked = _checked(payload.content.encode(), allowed, limits)
    if payload.name != checked.name:
        raise _refusal(
            RefusalReason.NAME_MISMATCH,
            _WHOLE,
            f"is stored as {_shown(payload.name)}",
            f"the name of its class, {_shown(checked.name)}",
            offender=payload.name,
        )
    return checked


# Bytes: one layer of compression at most

_WHOLE = "strategy"
_LONGEST_SHOWN = 80
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_MAGIC = b"\x1f\x8b"
# What RFC 8878 asks decoders to support. The window is allocated on the word of the frame's header.
_LARGEST_WINDOW = 8 * 2**20
# Every 4 bytes of zstd may give 128 KiB and its reader takes no limit on its output, so it gets little at a time.
_ZSTD_STEP = 16


def _decompressed(content: bytes, limits: PayloadLimits) -> bytes:
    if content.startswith(_ZSTD_MAGIC):
        decompress = _from_zstd
    elif content.startswith(_GZIP_MAGIC):
        decompress = _from_gzip
    else:
        return content
    if len(content) > limits.max_compressed_bytes:
        raise _too_large(limits.max_compressed_bytes, "compressed bytes")
    return decompress(content, limits.max_json_bytes)


def _from_zstd(content: bytes, most: int) -> bytes:
    try:
        import zstandard  # noqa: PLC0415 - an optional package, loaded when it is first needed
    except ImportError:
        raise MissingDependencyError(feature="Reading zstd", package="zstandard", extra="service") from None
    frame = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW).decompressobj()
    made = bytearray()
    # The size in the header is no more than a claim: what comes out is counted.
    for start in range(0, len(content), _ZSTD_STEP):
        try:
            made += frame.decompress(content[start : start + _ZSTD_STEP])
        except zstandard.ZstdError as error:
            raise _not_decompressible("zstd", f"is damaged ({error})") from None
        if len(made) > most:
            raise _too_large(most)
        if frame.eof:
            if frame.unused_data or start + _ZSTD_STEP < len(content):
                raise _not_decompressible("zstd", "goes on after its first frame")
            return bytes(made)
    raise _not_decompressible("zstd", "is cut off")


def _from_gzip(content: bytes, most: int) -> bytes:
    member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        made = member.decompress(content, most + 1)
    except zlib.error as error:
        raise _not_decompressible("gzip", f"is damaged ({error})") from None
    if len(made) > most:
        raise _too_large(most)
    if not member.eof:
        raise _not_decompressible("gzip", "is cut off")
    if member.unused_data:
        raise _not_decompressible("gzip", "goes on after its first member")
    return made


def _not_decompressible(form: str, found: str) -> RejectedPayloadError:
    return _refusal(RefusalReason.NOT_DECOMPRESSIBLE, _WHOLE, f"{form} that {found}", f"all of one {form} file")


def _too_large(most: int, unit: str = "bytes of JSON") -> RejectedPayloadError:
    return _refusal(
        RefusalReason.TOO_LARGE,
        _WHOLE,
        f"has more {unit} than are read",
        f"at most {most:,}",
        remedy="A Strategy is small; the operator may raise the limit.",
    )


# JSON: plain values. Stricter than files need, and with a reason for each refusal: so not by parse_bounded_json.

_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # an open end counts as closed: nothing is scanned twice
_BRACKET = re.compile(r"[\[\]{}]")
_MOST_DIGITS = 20  # of a 64-bit number, with its sign
_LARGEST_NUMBER = 2**63


def _parsed(content: bytes, limits: PayloadLimits) -> JsonValue:
    if len(content) > limits.max_json_bytes:
        raise _too_large(limits.max_json_bytes)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_json(f"has a byte that is not UTF-8 at {error.start}") from None
    # Before parsing, which is recursive.
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > limits.max_depth:
            raise _refusal(RefusalReason.TOO_DEEP, _WHOLE, "is nested too deeply", f"at most {limits.max_depth} levels")
    try:
        parsed: JsonValue = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_float=_finite_number,
            parse_int=_short_number,
        )
    except json.JSONDecodeError as error:
        raise _not_json(f"is none at line {error.lineno}, column {error.colno} ({error.msg})") from None
    return parsed


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            found = f"has an object with the key {_shown(key)} twice"
            raise _refusal(RefusalReason.DUPLICATE_KEY, _WHOLE, found, "every key once", offender=key)
        made[key] = value
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise _not_json(f"has {name}")


def _finite_number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _number_too_large(text)
    return number


def _short_number(text: str) -> int:
    # By its length first: converting takes time with the square of the digits, and Python raises at 4300.
    if len(text) > _MOST_DIGITS or not -_LARGEST_NUMBER <= int(text) < _LARGEST_NUMBER:
        raise _number_too_large(text)
    return int(text)


def _number_too_large(text: str) -> RejectedPayloadError:
    return _refusal(
        RefusalReason.TOO_LARGE,
        _WHOLE,
        f"has the number {_shown(text)}",
        "whole numbers of 64 bits, and others in the range of a float",
        offender=text,
    )


def _not_json(found: str) -> RejectedPayloadError:
    return _refusal(RefusalReason.NOT_JSON, _WHOLE, found, "JSON in UTF-8")


# The chain: what every object of it names

_MODULE = "__module__"
_QUALNAME = "__qualname__"
_CLASS = "__class__"
_VERSION = ":version:"
_CUSTOM = ":is_custom:"
_REFERENCE = ":gufe-key:"
_UNITS = "pint_unit_registry"
_TOKEN = re.compile(r"[0-9a-f]{32}", re.ASCII)
# A field becomes a keyword argument, and in Neo4j a property beside alchemiscale's own, all of which begin with "_".
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
# Texts of which gufe makes a number with a unit. pint evaluates the arithmetic in them, so there is little: words,
# joined by * and /, each with a short exponent. What pint itself writes has this form.
_UNIT_WORD = r"[A-Za-z][A-Za-z0-9_]{0,39}(?: \*\* -?[0-9]{1,2}(?:\.[0-9]{1,4})?)?"
_UNIT = re.compile(rf"(?:1 / )?{_UNIT_WORD}(?: [*/] {_UNIT_WORD}){{0,9}}", re.ASCII)

_Name: TypeAlias = tuple[str, str]  # module and name of a class, not yet known to be one

# Values of gufe's codecs that may pass, with the one field that each has. gufe hands a text of this form to
# datetime.fromisoformat or to uuid.UUID: no other module is loaded, and neither reads more than the text.
_PLAIN_CODECS: Mapping[_Name, tuple[str, re.Pattern[str]]] = {
    ("datetime", "datetime"): (
        "isotime",
        re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?", re.ASCII),
    ),
    ("uuid", "UUID"): ("uuid", re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)),
}
# Those that may not: a path is of another machine, bytes are compressed a second time, and arrays are as large as
# they say and of any type that numpy knows.
_REFUSED_CODECS: frozenset[_Name] = frozenset(
    {("pathlib", "PosixPath"), ("pathlib._local", "PosixPath"), ("builtins", "bytes"), ("numpy", "ndarray")}
)

_Step: TypeAlias = str | int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where in the chain; put into words only for an error."""

    entry: int
    steps: tuple[_Step, ...] = ()

    def at(self, step: _Step) -> _Place:
        return _Place(entry=self.entry, steps=(*self.steps, step))

    def __str__(self) -> str:
        text = f"{_WHOLE}, entry {self.entry + 1}"
        if not self.steps:
            return text
        words = [
            f".{step}"
            if isinstance(step, str) and len(step) <= 40 and _FIELD.fullmatch(step)
            else f"[{_shown(step, 40)}]"
            for step in self.steps
        ]
        return f"{text}, {''.join(words).lstrip('.')}"


@dataclass(kw_only=True, slots=True)
class _Walk:
    """One walk over a chain; collects which entry refers to which key, and where."""

    strategies: frozenset[_Name]
    parts: frozenset[_Name]
    most_values: int
    values: int = 0
    references: list[tuple[str, _Place]] = field(default_factory=list)

    def entry(self, fields: dict[str, JsonValue], place: _Place) -> _Name:
        """Check an entry's fields; return its class."""
        _refuse_numpy_scalar(fields, place)
        name = _named(fields, _MODULE, _QUALNAME)
        if name is None:
            raise _refusal(
                RefusalReason.CLASS_NOT_ALLOWED, place, "names no class", f"texts as '{_MODULE}' and '{_QUALNAME}'"
            )
        if name not in self.strategies | self.parts:
            raise _class_not_allowed(name, place)
        version = fields.get(_VERSION, 1)
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise _unexpected(_VERSION, place, f"has the {_VERSION} {_shown(version)}", "a whole number of at least 1")
        self.fields(fields, place, besides={_MODULE, _QUALNAME, _VERSION}, may_refer=True)
        return name

    def fields(self, fields: dict[str, JsonValue], place: _Place, *, besides: set[str], may_refer: bool) -> None:
        """Check what becomes the keyword arguments of a class."""
        self.count(len(besides), place)
        for name, value in fields.items():
            if name in besides:
                continue
            if not _FIELD.fullmatch(name) or name == _UNITS:
                raise _unexpected(name, place, f"has the field {_shown(name)}", "an ASCII identifier without '_' first")
            self.count(1, place)
            self.value(value, place.at(name), may_refer=may_refer)

    def value(self, value: JsonValue, place: _Place, *, may_refer: bool) -> None:
        """Check any value; ``may_refer`` tells whether gufe follows references here."""
        self.count(1, place)
        match value:
            case dict():
                self.object(value, place, may_refer=may_refer)
            case list():
                for position, item in enumerate(value):
                    self.value(item, place.at(position), may_refer=may_refer)
            case str():
                if not _can_be_encoded(value):
                    raise _not_json(f"has half of a surrogate pair in {place}")
            case int() | float() | None:
                pass
            case _:
                assert_never(value)

    def object(self, fields: dict[str, JsonValue], place: _Place, *, may_refer: bool) -> None:
        """Check an object by the form in which gufe would read it."""
        _refuse_numpy_scalar(fields, place)
        if _REFERENCE in fields:
            self.reference(fields, place, may_refer=may_refer)
        elif _QUALNAME in fields:
            # As gufe writes in to_dict, where it stands inside: the decoder falls back to that on some errors.
            raise _unexpected(_QUALNAME, place, "is an object of a class in full", "a reference to an entry")
        elif _CLASS in fields or _MODULE in fields:
            self.instance(fields, place)
        elif _CUSTOM in fields or _UNITS in fields:
            self.quantity(fields, place)
        else:
            for key, value in fields.items():
                _check_key(key, place)
                self.count(1, place)
                self.value(value, place.at(key), may_refer=may_refer)

    def reference(self, fields: dict[str, JsonValue], place: _Place, *, may_refer: bool) -> None:
        key = fields[_REFERENCE]
        if not isinstance(key, str) or len(fields) > 1:
            raise _unexpected(_REFERENCE, place, "is no plain reference", f'{{"{_REFERENCE}": KEY}} and no more')
        if not may_refer:
            # Settings are made before references are followed: this one would reach the class as an object.
            raise _unexpected(_REFERENCE, place, "is a reference inside of settings", "references outside of them")
        self.references.append((key, place))

    def instance(self, fields: dict[str, JsonValue], place: _Place) -> None:
        """Check an object that gufe's decoder replaces by an instance of the class that it names."""
        name = _named(fields, _MODULE, _CLASS)
        if name is None:
            raise _refusal(
                RefusalReason.CLASS_NOT_ALLOWED,
                place,
                "names no class, or half of one",
                f"texts as '{_MODULE}' and '{_CLASS}'",
            )
        allowed = name in self.parts
        if not allowed and name in _REFUSED_CODECS:
            raise _unknown_codec(place, f"is a {name[1]}", ":".join(name))
        if not allowed and name not in _PLAIN_CODECS:
            raise _class_not_allowed(name, place)
        if fields.get(_CUSTOM) is not True:
            # The decoder imports the class all the same, and then fails on it or does not, from version to version.
            raise _unknown_codec(place, f"is of a class, but without '{_CUSTOM}': true", ":".join(name))
        tags = {_CLASS, _MODULE, _CUSTOM}
        if allowed:
            self.fields(fields, place, besides=tags, may_refer=False)
            return
        only, form = _PLAIN_CODECS[name]
        value = fields.get(only)
        if fields.keys() != tags | {only} or not isinstance(value, str) or not form.fullmatch(value):
            raise _unknown_codec(place, f"is no {name[1]} as gufe writes it", ":".join(name))
        self.count(len(fields), place)

    def quantity(self, fields: dict[str, JsonValue], place: _Place) -> None:
        """Check a unit, or a number with one: multiplied by what pint makes of a text, and no more."""
        numbers = {key: value for key, value in fields.items() if key not in {_CUSTOM, _UNITS}}
        match numbers:
            case {"magnitude": int() | float() as magnitude, "unit": str(unit)} if not isinstance(magnitude, bool):
                expected = 2
            case {"unit_name": str(unit)}:
                expected = 1
            case _:
                raise _unknown_codec(place, "is no number with a unit as gufe writes it", "")
        tagged = fields.get(_CUSTOM) is True and fields.get(_UNITS) == "openff_units"
        if not tagged or len(numbers) != expected or not _UNIT.fullmatch(unit):
            raise _unknown_codec(place, "is no number with a unit as gufe writes it", unit)
        self.count(len(fields), place)

    def count(self, more: int, place: _Place) -> None:
        self.values += more
        if self.values > self.most_values:
            raise _refusal(
                RefusalReason.TOO_LARGE,
                place,
                "is one value too many",
                f"at most {self.most_values:,} in all",
                remedy="A Strategy is small; the operator may raise the limit.",
            )


def _checked(content: bytes, allowed: AllowedClasses, limits: PayloadLimits) -> StrategyPayload:
    document = _parsed(content, limits)
    keys: dict[str, int] = {}
    targets: list[list[tuple[str, _Place]]] = []
    walk = _Walk(strategies=_names(allowed.strategies), parts=_names(allowed.parts), most_values=limits.max_values)
    root: _Name | None = None
    for key, fields, place in _entries(document, limits):
        root = walk.entry(fields, place)
        qualname, _, token = key.rpartition("-")
        if qualname != root[1] or not _TOKEN.fullmatch(token):
            raise _refusal(
                RefusalReason.KEY_MISMATCH,
                place,
                f"has the key {_shown(key)}",
                f"'{root[1]}-' and 32 digits from 0 to f",
                offender=key,
            )
        if key in keys:
            raise _no_chain(f"has the key {_shown(key)} a second time", place, "every key once")
        keys[key] = place.entry
        targets.append(walk.references)
        walk.references = []
    if root is None:
        raise _no_chain("is an empty list")
    _check_references(keys, targets)
    if root not in walk.strategies:
        raise _refusal(
            RefusalReason.NOT_A_STRATEGY,
            f"{_WHOLE}, entry {len(keys)}",
            f"is of the class {_shown(':'.join(root))}, which may stand inside a Strategy only",
            "the last entry to be the Strategy",
            offender=":".join(root),
        )
    text = json.dumps(document, sort_keys=True, allow_nan=False)
    # Written anew it may be longer ("1e9", or what is not ASCII), and what is stored is checked by the same limits.
    if len(text) > limits.max_json_bytes:
        raise _too_large(limits.max_json_bytes)
    return StrategyPayload(kind=StrategyKind.GUFE, name=root[1], content=text)


def _entries(document: JsonValue, limits: PayloadLimits) -> Iterator[tuple[str, dict[str, JsonValue], _Place]]:
    if not isinstance(document, list):
        raise _no_chain(f"is {_kind(document)}")
    if len(document) > limits.max_entries:
        raise _refusal(
            RefusalReason.TOO_LARGE, _WHOLE, f"has {len(document):,} entries", f"at most {limits.max_entries:,}"
        )
    for position, item in enumerate(document):
        place = _Place(entry=position)
        match item:
            case [str(key), dict(fields)]:
                yield key, fields, place
            case _:
                raise _no_chain(f"is {_kind(item)}", place, "a pair of a key and an object")


def _check_references(keys: Mapping[str, int], targets: list[list[tuple[str, _Place]]]) -> None:
    """Check that entries refer to earlier ones only, and that every one but the last is referred to."""
    reached: set[int] = set()
    for entry, references in enumerate(targets):
        for key, place in references:
            target = keys.get(key)
            if target is None:
                raise _dangling(key, place, "to no entry")
            if target >= entry:
                if _leads_to(target, entry, keys, targets):
                    raise _refusal(
                        RefusalReason.CYCLIC,
                        place,
                        f"refers to {_shown(key)}, which refers back to this entry",
                        "references to earlier entries",
                        offender=key,
                    )
                raise _dangling(key, place, "to a later entry")
            reached.add(target)
    for key, entry in keys.items():
        # By induction from the last one: all others then are parts of it.
        if entry not in reached and entry != len(keys) - 1:
            raise _refusal(
                RefusalReason.UNREFERENCED_ENTRY,
                _Place(entry=entry),
                "is part of no later entry",
                "one Strategy, the last entry, and its parts",
                offender=key,
            )


def _leads_to(start: int, goal: int, keys: Mapping[str, int], targets: list[list[tuple[str, _Place]]]) -> bool:
    seen: set[int] = set()
    waiting = [start]
    while waiting:
        entry = waiting.pop()
        if entry == goal:
            return True
        if entry not in seen:
            seen.add(entry)
            waiting += [keys[key] for key, _ in targets[entry] if key in keys]
    return False


def _refuse_numpy_scalar(fields: Mapping[str, JsonValue], place: _Place) -> None:
    # gufe takes any object with these two for one, whatever else it says it is, an entry's fields among them.
    if "dtype" in fields and "bytes" in fields:
        raise _unknown_codec(place, "has the fields of a numpy scalar", "dtype")


def _check_key(key: str, place: _Place) -> None:
    # Names that only look like gufe's do no harm in today's gufe; nobody needs them either.
    plain = unicodedata.normalize("NFKC", key).strip()
    if not key.isprintable() or plain.startswith((":", "__")):
        raise _unexpected(
            key, place, f"has the key {_shown(key)}", "printable text that begins with neither ':' nor '__'"
        )


def _named(fields: Mapping[str, JsonValue], module: str, name: str) -> _Name | None:
    match fields.get(module), fields.get(name):
        case str(found_module), str(found_name):
            return found_module, found_name
    return None


def _names(classes: Collection[ClassName]) -> frozenset[_Name]:
    # Not the other way round: what a payload says is compared as it stands, never tidied into a ClassName.
    return frozenset((name.module, name.qualname) for name in classes)


def _class_not_allowed(name: _Name, place: _Place) -> RejectedPayloadError:
    text = ":".join(name)
    return _refusal(
        RefusalReason.CLASS_NOT_ALLOWED,
        place,
        f"is of the class {_shown(text)}",
        "one that the operator allows",
        offender=text,
        remedy="Ask the operator to allow it, if it is a class of a package that is trusted and installed there.",
    )


def _unknown_codec(place: _Place, found: str, offender: str) -> RejectedPayloadError:
    return _refusal(
        RefusalReason.UNKNOWN_CODEC,
        place,
        found,
        "plain JSON, settings of a class that is allowed, numbers with units, datetimes or UUIDs",
        offender=offender,
    )


def _unexpected(name: str, place: _Place, found: str, expected: str) -> RejectedPayloadError:
    return _refusal(RefusalReason.UNEXPECTED_FIELD, place, found, expected, offender=name)


def _dangling(key: str, place: _Place, found: str) -> RejectedPayloadError:
    return _refusal(
        RefusalReason.DANGLING_REFERENCE,
        place,
        f"refers {found}: {_shown(key)}",
        "the key of an earlier entry",
        offender=key,
    )


def _no_chain(
    found: str,
    where: object = _WHOLE,
    expected: str = "a keyed chain of gufe: a list of pairs of a key and an object, the Strategy last",
) -> RejectedPayloadError:
    return _refusal(
        RefusalReason.NOT_A_KEYED_CHAIN, where, found, expected, remedy="Write the Strategy with its to_json."
    )


def _refusal(
    reason: RefusalReason, where: object, found: str, expected: str, *, offender: str = "", remedy: str = ""
) -> RejectedPayloadError:
    return RejectedPayloadError(
        reason, where=str(where), found=found, expected=expected, offender=offender, remedy=remedy
    )


def _kind(value: JsonValue) -> str:
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case _:
            return _shown(value)


def _can_be_encoded(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object, limit: int = _LONGEST_SHOWN) -> str:
    """Anything in a message: escaped, and not endlessly."""
    if isinstance(value, str) and len(value) > limit:
        return f"{value[:limit]!a}…"
    return ascii(value)[: limit + 2]
