"""Submitted Strategies: what is refused and why, what passes, and that nothing which they name is ever imported."""

import builtins
import copy
import gzip
import importlib
import json
import pickle
import re
import subprocess
import sys
import time
import tracemalloc
import zlib
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alchemiscale_strategist.errors import MissingDependencyError, RejectedInputError
from alchemiscale_strategist.payloads import (
    DEFAULT_PAYLOAD_LIMITS,
    STRATOCASTER_CLASSES,
    AllowedClasses,
    ClassName,
    PayloadLimits,
    RefusalReason,
    RejectedPayloadError,
    check_stored_payload,
    check_strategy_payload,
)
from alchemiscale_strategist.ports import StrategyKind, StrategyPayload

PAGE = Path(__file__).parents[2] / "docs" / "operator-guide" / "payloads.md"
CONNECTIVITY = "stratocaster.strategies.connectivity"
RADIAL = "stratocaster.strategies.radialgrowth"
DIGITS = "ec471a54bb5e2932da7c0fb13fa69699"
KEY = f"ConnectivityStrategy-{DIGITS}"
MARKER = "hostile_marker_module"
# A Strategy of a plugin that holds other objects; stratocaster's own hold none.
PLUGIN = AllowedClasses.parse(strategies=["plugin:Greedy"], parts=["plugin:GreedySettings", "plugin:Hub"])
ALLOWED = STRATOCASTER_CLASSES | PLUGIN


def instance(name, module, **settings):
    return {"__class__": name, "__module__": module, ":is_custom:": True, **settings}


def quantity(unit, magnitude=1.5):
    return {"magnitude": magnitude, "unit": unit, ":is_custom:": True, "pint_unit_registry": "openff_units"}


def reference(key):
    return {":gufe-key:": key}


def entry(name="ConnectivityStrategy", module=CONNECTIVITY, *, key=None, digits=DIGITS, **values):
    """One entry of a keyed chain."""
    return [key or f"{name}-{digits}", {**values, "__qualname__": name, "__module__": module, ":version:": 1}]


def good_settings(**more):
    return instance("ConnectivityStrategySettings", CONNECTIVITY, decay_rate=0.5, cutoff=None, max_runs=3, **more)


def chain(**values):
    """The chain of a good ConnectivityStrategy, with more or other fields."""
    return [entry(**{"settings": good_settings(), **values})]


def with_setting(value):
    return [entry(settings=good_settings(extra=value))]


def hub(number, **values):
    return entry("Hub", "plugin", digits=f"{number:032x}", **values)


def greedy(**values):
    return entry("Greedy", "plugin", **values)


def hub_key(number):
    return f"Hub-{number:032x}"


def root_fields(**values):
    """A good chain with its root's fields replaced as given; ``...`` removes one."""
    made = chain()
    for name, value in values.items():
        made[0][1].pop(name)
        if value is not ...:
            made[0][1][name] = value
    return made


def as_bytes(document):
    return document if isinstance(document, bytes) else json.dumps(document).encode()


GOOD = as_bytes(chain())
SPACE_BOMB = b" " * 2**26


def zstd_frame(*blocks, claim=None, window=0x50, last=True):
    """A frame by hand: blocks are (type, size, content); the header claims a size, or a window and no size."""
    header = b"\x00" + bytes([window]) if claim is None else b"\xa0" + claim.to_bytes(4, "little")
    made = [b"\x28\xb5\x2f\xfd", header]
    for number, (kind, size, content) in enumerate(blocks, start=1):
        final = last and number == len(blocks)
        made += [(final | kind << 1 | size << 3).to_bytes(3, "little"), content]
    return b"".join(made)


def raw(content):
    return 0, len(content), content


REPEATED = (1, 2**17, b" ")  # 4 bytes that give 128 KiB


def of_unknown_size(content):
    compressor = zstandard.ZstdCompressor().compressobj()
    return compressor.compress(content) + compressor.flush()


ZSTD = zstandard.ZstdCompressor().compress
R = RefusalReason

BOMBS = {
    "zstd: a bomb that tells its size": (ZSTD(SPACE_BOMB), R.TOO_LARGE),
    "zstd: a bomb of unknown size": (of_unknown_size(SPACE_BOMB), R.TOO_LARGE),
    "zstd: a bomb of repeated bytes": (zstd_frame(*[REPEATED] * 16_000), R.TOO_LARGE),
    "zstd: a bomb that claims to be small": (zstd_frame(*[REPEATED] * 16_000, claim=2**17), R.NOT_DECOMPRESSIBLE),
    "zstd: a bomb of many frames": (ZSTD(b" ") * 5000, R.NOT_DECOMPRESSIBLE),
    "zstd: a bomb behind a good frame": (ZSTD(GOOD) + ZSTD(SPACE_BOMB), R.NOT_DECOMPRESSIBLE),
    "zstd: a bomb that is cut off": (ZSTD(SPACE_BOMB)[:-5], R.TOO_LARGE),
    "zstd: a window of 2 GiB": (zstd_frame(raw(GOOD), window=0xA8), R.NOT_DECOMPRESSIBLE),
    "zstd: a window of 16 MiB": (zstd_frame(raw(GOOD), window=0x70), R.NOT_DECOMPRESSIBLE),
    "zstd: claims 4 GiB": (zstd_frame(raw(GOOD), claim=2**32 - 1), R.NOT_DECOMPRESSIBLE),
    "zstd: too much before decompression": (zstd_frame(*[raw(b" " * 1000)] * 66), R.TOO_LARGE),
    "gzip: a bomb": (gzip.compress(SPACE_BOMB), R.TOO_LARGE),
    "gzip: a bomb that is cut off": (gzip.compress(SPACE_BOMB)[:-9], R.TOO_LARGE),
    "gzip: a bomb of many members": (gzip.compress(b" ") * 2000, R.NOT_DECOMPRESSIBLE),
    "gzip: a name without end": (b"\x1f\x8b\x08\x08" + b"\0" * 6 + b"n" * 60_000, R.NOT_DECOMPRESSIBLE),
    "JSON: nested without end": (b"[" * 200_000, R.TOO_DEEP),
    "JSON: objects nested without end": (b'{"a":' * 40_000, R.TOO_DEEP),
    "JSON: nested in a setting": (with_setting(json.loads("[" * 20 + "]" * 20)), R.TOO_DEEP),
    "JSON: a huge array": (with_setting([0] * 20_000), R.TOO_LARGE),
    "JSON: an array beyond the bytes": (with_setting([0] * 200_000), R.TOO_LARGE),
    "JSON: an array of empty lists": (with_setting([[]] * 60_000), R.TOO_LARGE),
    "JSON: an object of many keys": (with_setting({str(n): 0 for n in range(9_000)}), R.TOO_LARGE),
    "JSON: many references": ([hub(0), greedy(a=[reference(hub_key(0))] * 4_000, b=[[]] * 6_000)], R.TOO_LARGE),
    "JSON: many quantities": (with_setting([quantity("bar")] * 2_000 + [0] * 500), R.TOO_LARGE),
    "JSON: many datetimes": (
        with_setting([instance("datetime", "datetime", isotime="2026-01-01T00:00")] * 1_700 + [0] * 1_600),
        R.TOO_LARGE,
    ),
    "JSON: many settings": (with_setting([good_settings()] * 1_050), R.TOO_LARGE),
    "JSON: a huge string": (with_setting("x" * 300_000), R.TOO_LARGE),
    "JSON: an open string of escapes": (b'[[],"' + b'\\"' * 100_000, R.NOT_JSON),
    "JSON: many entries": ([hub(n) for n in range(17)], R.TOO_LARGE),
    "JSON: many entries that are none": ([0] * 17, R.TOO_LARGE),
    "JSON: a whole number of 200,000 digits": (b"[" + b"9" * 200_000 + b"]", R.TOO_LARGE),
    "JSON: a whole number of 65 bits": (with_setting(2**63), R.TOO_LARGE),
    "JSON: a negative whole number of 65 bits": (with_setting(-(2**63) - 1), R.TOO_LARGE),
    "JSON: 1e999": (GOOD.replace(b"0.5", b"1e999"), R.TOO_LARGE),
    # In UTF-8, which json.dumps would escape.
    "JSON: longer when written anew": (GOOD.replace(b"null", f'"{"é" * 100_000}"'.encode()), R.TOO_LARGE),
}

FORMS = {
    "nothing": (b"", R.NOT_JSON),
    "spaces": (b" \n", R.NOT_JSON),
    "no JSON": (b"strategy: greedy", R.NOT_JSON),
    "a pickle": (pickle.dumps([1]), R.NOT_JSON),
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD, R.NOT_JSON),
    "UTF-16": (GOOD.decode().encode("utf-16"), R.NOT_JSON),
    "UTF-16 without a mark": (GOOD.decode().encode("utf-16-le"), R.NOT_JSON),
    "UTF-32": (GOOD.decode().encode("utf-32-be"), R.NOT_JSON),
    "an overlong encoding": (GOOD.replace(b"__module__", b"\xc1\x9f_module__"), R.NOT_JSON),
    "half a surrogate pair": (GOOD.replace(b"null", rb'"\ud800"'), R.NOT_JSON),
    "trailing data": (GOOD + b"[]", R.NOT_JSON),
    "a trailing null": (GOOD + b"\0", R.NOT_JSON),
    "a comment": (GOOD + b"// good", R.NOT_JSON),
    "single quotes": (GOOD.replace(b'"', b"'"), R.NOT_JSON),
    "NaN": (GOOD.replace(b"0.5", b"NaN"), R.NOT_JSON),
    "-Infinity": (GOOD.replace(b"0.5", b"-Infinity"), R.NOT_JSON),
    "zstd: cut off": (ZSTD(GOOD)[:-1], R.NOT_DECOMPRESSIBLE),
    "zstd: the magic alone": (ZSTD(GOOD)[:4], R.NOT_DECOMPRESSIBLE),
    "zstd: damaged": (ZSTD(GOOD)[:20] + b"\xff" * 20 + ZSTD(GOOD)[40:], R.NOT_DECOMPRESSIBLE),
    "zstd: two frames": (ZSTD(GOOD) * 2, R.NOT_DECOMPRESSIBLE),
    # Frames of which one ends where a step of reading ends, and one within the step.
    "zstd: a byte after it": (zstd_frame(raw(b"[[]]   ")) + b"\0", R.NOT_DECOMPRESSIBLE),
    "zstd: a byte after it, in the same step": (zstd_frame(raw(b"[]")) + b"\0", R.NOT_DECOMPRESSIBLE),
    "zstd: a skippable frame first": (b"\x50\x2a\x4d\x18\x01\0\0\0x" + ZSTD(GOOD), R.NOT_JSON),
    "zstd in zstd": (ZSTD(ZSTD(GOOD)), R.NOT_JSON),
    "gzip in gzip": (gzip.compress(gzip.compress(GOOD)), R.NOT_JSON),
    "gzip: cut off": (gzip.compress(GOOD)[:-1], R.NOT_DECOMPRESSIBLE),
    "gzip: the magic alone": (b"\x1f\x8b", R.NOT_DECOMPRESSIBLE),
    "gzip: another check sum": (gzip.compress(GOOD)[:-8] + b"\0" * 8, R.NOT_DECOMPRESSIBLE),
    "gzip: two members": (gzip.compress(GOOD) * 2, R.NOT_DECOMPRESSIBLE),
    "zlib": (zlib.compress(GOOD), R.NOT_JSON),
    "a key twice in an entry": (
        GOOD.replace(b'"__qualname__"', f'"__module__": "{CONNECTIVITY}", "__qualname__"'.encode()),
        R.DUPLICATE_KEY,
    ),
    "a second module that differs": (GOOD[:-3] + b', "__module__": "os"}]]', R.DUPLICATE_KEY),
    "a second module, escaped": (GOOD[:-3] + rb', "\u005f_module__": "os"}]]', R.DUPLICATE_KEY),
    "a second class in the settings": (
        GOOD.replace(b'"decay_rate"', b'"__class__": "system", "decay_rate"'),
        R.DUPLICATE_KEY,
    ),
    "a setting twice": (GOOD.replace(b'"cutoff"', b'"max_runs"'), R.DUPLICATE_KEY),
    "a key twice, deep inside": (GOOD.replace(b"null", b'[{"a": {"b": 1, "b": 1}}]'), R.DUPLICATE_KEY),
    "a reference twice": (GOOD.replace(b"null", b'{":gufe-key:": "a", ":gufe-key:": "b"}'), R.DUPLICATE_KEY),
    "null": (b"null", R.NOT_A_KEYED_CHAIN),
    "a number": (b"7", R.NOT_A_KEYED_CHAIN),
    "an object": ({}, R.NOT_A_KEYED_CHAIN),
    "an object in full, as gufe's old to_json": (chain()[0][1], R.NOT_A_KEYED_CHAIN),
    "an empty chain": ([], R.NOT_A_KEYED_CHAIN),
    "an entry alone": (chain()[0], R.NOT_A_KEYED_CHAIN),
    "an empty entry": ([[]], R.NOT_A_KEYED_CHAIN),
    "an entry of three": ([[*chain()[0], {}]], R.NOT_A_KEYED_CHAIN),
    "an entry the wrong way round": ([chain()[0][::-1]], R.NOT_A_KEYED_CHAIN),
    "an entry that is an object": ([{KEY: chain()[0][1]}], R.NOT_A_KEYED_CHAIN),
    "a key that is a list": ([[[KEY], chain()[0][1]]], R.NOT_A_KEYED_CHAIN),
    "a key that is null": ([[None, chain()[0][1]]], R.NOT_A_KEYED_CHAIN),
    "an entry twice": ([hub(1), hub(1), greedy(a=reference(hub_key(1)))], R.NOT_A_KEYED_CHAIN),
    "a key of another class": ([entry(key=f"RadialGrowthStrategy-{DIGITS}")], R.KEY_MISMATCH),
    "a key without a token": ([entry(key="ConnectivityStrategy")], R.KEY_MISMATCH),
    "an empty token": ([entry(digits="")], R.KEY_MISMATCH),
    "a token in capitals": ([entry(digits=DIGITS.upper())], R.KEY_MISMATCH),
    "a token of a path": ([entry(digits="../../../../../etc/passwd-000000")], R.KEY_MISMATCH),
    "a token and a line's end": ([entry(digits=DIGITS + "\n")], R.KEY_MISMATCH),
    "a token of other digits": ([entry(digits="٣" * 32)], R.KEY_MISMATCH),
}

# What an entry, and what a part of one, may be made to name.
CLASSES = {
    "a module that leaves a marker": (MARKER, "Strategy"),
    "importlib.import_module": ("importlib", "import_module"),
    "os.system": ("os", "system"),
    "builtins.eval": ("builtins", "eval"),
    "subprocess.Popen": ("subprocess", "Popen"),
    "antigravity": ("antigravity", "fly"),
    "a walk over attributes": (CONNECTIVITY, "ConnectivityStrategy.__init__.__globals__"),
    "a walk to what it imports": (CONNECTIVITY, "pydantic.v1.errors"),
    "a module in the qualname": ("stratocaster", "strategies.connectivity.ConnectivityStrategy"),
    "a submodule of an allowed one": (f"{CONNECTIVITY}.evil", "ConnectivityStrategy"),
    "a sibling": ("stratocaster.strategies.connectivity2", "ConnectivityStrategy"),
    "a prefix": ("stratocaster.strategies", "ConnectivityStrategy"),
    "a package before": (f"evil.{CONNECTIVITY}", "ConnectivityStrategy"),
    "another module's class": (RADIAL, "ConnectivityStrategy"),
    "a class name with more": (CONNECTIVITY, "ConnectivityStrategyEvil"),
    "a class name with less": (CONNECTIVITY, "Connectivity"),
    "another case": (CONNECTIVITY.upper(), "ConnectivityStrategy"),
    "another case of the class": (CONNECTIVITY, "connectivitystrategy"),
    "a space before": (f" {CONNECTIVITY}", "ConnectivityStrategy"),
    "a space behind": (CONNECTIVITY, "ConnectivityStrategy "),
    "a line's end": (f"{CONNECTIVITY}\n", "ConnectivityStrategy"),
    "a null character": (f"{CONNECTIVITY}\0", "ConnectivityStrategy"),
    "a null character and more": (CONNECTIVITY, "ConnectivityStrategy\0.evil"),
    "a Cyrillic o": (CONNECTIVITY.replace("o", "\N{CYRILLIC SMALL LETTER O}"), "ConnectivityStrategy"),
    "a wide letter": (CONNECTIVITY, "\N{FULLWIDTH LATIN CAPITAL LETTER C}onnectivityStrategy"),
    "a joiner of no width": (CONNECTIVITY, "Connectivity\N{ZERO WIDTH JOINER}Strategy"),
    "a relative module": (f".{CONNECTIVITY}", "ConnectivityStrategy"),
    "a long name in Cyrillic": ("\N{CYRILLIC SMALL LETTER O}" * 1000, "ConnectivityStrategy"),
    "a path": ("evil/evil.py", "ConnectivityStrategy"),
    "two dots": (CONNECTIVITY.replace(".", "..", 1), "ConnectivityStrategy"),
    "the operator's own form": (f"{CONNECTIVITY}:ConnectivityStrategy", "ConnectivityStrategy"),
    "the main module": ("__main__", "ConnectivityStrategy"),
    "nothing": ("", ""),
    "gufe's base class": ("gufe.tokenization", "GufeTokenizable"),
    "an abstract Strategy": ("stratocaster.base.strategy", "Strategy"),
    "a network": ("gufe.network", "AlchemicalNetwork"),
    "a Transformation": ("gufe.transformations.transformation", "Transformation"),
    "another's settings": ("gufe.settings.models", "Settings"),
    "a module that is no text": (7, "ConnectivityStrategy"),
    "a module that is a list": ([CONNECTIVITY], "ConnectivityStrategy"),
    "a module that is an object": ({"a": CONNECTIVITY}, "ConnectivityStrategy"),
    "a module that is null": (None, "ConnectivityStrategy"),
    "a class that is no text": (CONNECTIVITY, True),
    "a class that is a list": (CONNECTIVITY, ["ConnectivityStrategy"]),
}
NAMED = {
    "a root that is settings": ([entry("ConnectivityStrategySettings", max_runs=3)], R.NOT_A_STRATEGY),
    "a root that is a part": ([hub(1)], R.NOT_A_STRATEGY),
    "a Strategy inside a part": ([greedy(), hub(1, a=reference(f"Greedy-{DIGITS}"))], R.NOT_A_STRATEGY),
    "no module": (root_fields(__module__=...), R.CLASS_NOT_ALLOWED),
    "no class": (root_fields(__qualname__=...), R.CLASS_NOT_ALLOWED),
    "settings without a module": (with_setting({"__class__": "A", ":is_custom:": True}), R.CLASS_NOT_ALLOWED),
    "settings without a class": (with_setting({"__module__": MARKER, ":is_custom:": True}), R.CLASS_NOT_ALLOWED),
    "a Strategy as settings": (with_setting(instance("ConnectivityStrategy", CONNECTIVITY)), R.CLASS_NOT_ALLOWED),
    "hostile settings in a list in an object": (
        with_setting({"a": [{"b": [instance("A", MARKER)]}]}),
        R.CLASS_NOT_ALLOWED,
    ),
    "hostile settings in settings in settings": (
        with_setting(good_settings(inner=[good_settings(inner=instance("A", MARKER))])),
        R.CLASS_NOT_ALLOWED,
    ),
    "hostile settings beside good ones": (chain(other=[0, instance("A", MARKER)]), R.CLASS_NOT_ALLOWED),
    "hostile settings in an earlier entry": (
        [hub(1, a={"b": instance("A", MARKER)}), greedy(a=reference(hub_key(1)))],
        R.CLASS_NOT_ALLOWED,
    ),
    "a hostile earlier entry": (
        [entry("A", MARKER), greedy(a=reference(f"A-{DIGITS}"))],
        R.CLASS_NOT_ALLOWED,
    ),
    "a hostile entry that nothing refers to": ([entry("A", MARKER), *chain()], R.CLASS_NOT_ALLOWED),
    "a hostile class without the codecs' mark": (
        with_setting({"__class__": "A", "__module__": MARKER}),
        R.CLASS_NOT_ALLOWED,
    ),
    "good settings without the codecs' mark": (
        chain(settings={"__class__": "ConnectivityStrategySettings", "__module__": CONNECTIVITY}),
        R.UNKNOWN_CODEC,
    ),
    "good settings with another mark": (
        chain(settings={**good_settings(), ":is_custom:": 1}),
        R.UNKNOWN_CODEC,
    ),
    "an object in full": (
        with_setting({"__qualname__": "A", "__module__": MARKER, ":version:": 1}),
        R.UNEXPECTED_FIELD,
    ),
    "an object in full outside of settings": (
        chain(other=[{"__qualname__": "A", "__module__": MARKER, ":version:": 1}]),
        R.UNEXPECTED_FIELD,
    ),
    "a good object in full": (chain(other=chain()[0][1]), R.UNEXPECTED_FIELD),
    "an object in full that is settings, too": (
        with_setting({**good_settings(), "__qualname__": "A"}),
        R.UNEXPECTED_FIELD,
    ),
    "an entry that is settings, too": (chain(__class__="ConnectivityStrategySettings"), R.UNEXPECTED_FIELD),
    "an entry that is a codec's, too": (chain(**{":is_custom:": True}), R.UNEXPECTED_FIELD),
    "an entry that is a reference, too": (chain(**reference(KEY)), R.UNEXPECTED_FIELD),
    "an entry that is a numpy scalar, too": (chain(dtype="O", bytes="a"), R.UNKNOWN_CODEC),
    "settings that are a numpy scalar, too": (with_setting(good_settings(dtype="O", bytes="a")), R.UNKNOWN_CODEC),
    "settings that are a unit, too": (
        with_setting(good_settings(pint_unit_registry="openff_units", unit_name="bar")),
        R.UNEXPECTED_FIELD,
    ),
    "a property of alchemiscale's": (chain(_scoped_key="ConnectivityStrategy-1-a-b-c"), R.UNEXPECTED_FIELD),
    "alchemiscale's list of encoded properties": (chain(_json_props=["evil"], evil="{}"), R.UNEXPECTED_FIELD),
    "a private attribute of settings": (chain(settings=good_settings(_is_frozen=True)), R.UNEXPECTED_FIELD),
    "a field that is no identifier": (chain(**{"n) DETACH DELETE (m": 1}), R.UNEXPECTED_FIELD),
    "a field of wide letters": (
        chain(**dict.fromkeys(["\N{FULLWIDTH LATIN SMALL LETTER S}ettings"])),
        R.UNEXPECTED_FIELD,
    ),
    "a version that is text": (root_fields(**{":version:": "1"}), R.UNEXPECTED_FIELD),
    "a version that is true": (root_fields(**{":version:": True}), R.UNEXPECTED_FIELD),
    "a version of 0": (root_fields(**{":version:": 0}), R.UNEXPECTED_FIELD),
    "a version that is settings": (root_fields(**{":version:": instance("A", MARKER)}), R.UNEXPECTED_FIELD),
}
for _label, (_module, _name) in CLASSES.items():
    NAMED[f"an entry of {_label}"] = ([[KEY, {"__module__": _module, "__qualname__": _name}]], R.CLASS_NOT_ALLOWED)
    NAMED[f"settings of {_label}"] = (chain(settings=instance(_name, _module)), R.CLASS_NOT_ALLOWED)

KEYS = {
    key: (with_setting({"a": [{key: MARKER}]}), R.UNEXPECTED_FIELD)
    for key in [
        "__qualname__",
        "__init__",
        "__class__ ",
        " __class__",
        "\t__module__",
        "__module__\0",
        "\0__module__",
        "\N{FULLWIDTH LOW LINE}\N{FULLWIDTH LOW LINE}module__",
        "\N{ZERO WIDTH SPACE}__module__",
        "\N{NO-BREAK SPACE}__module__",
        ":version:",
        ":is_custom",
        ":gufe-key",
        "\N{FULLWIDTH COLON}gufe-key:",
        " :gufe-key:",
        ":",
        "__",
        "\ud800",
    ]
}
CODECS = {
    "a path": instance("PosixPath", "pathlib", path="/etc/passwd"),
    "a path of Python 3.13": instance("PosixPath", "pathlib._local", path="/etc/passwd"),
    "bytes": instance("bytes", "builtins", **{"latin-1": "(µ/ý"}),
    "an array": instance("ndarray", "numpy", dtype="float64", shape=[2**40], bytes="a"),
    "a numpy scalar": {"dtype": "O", "bytes": "abcdefgh"},
    "a numpy scalar that says so": {**instance("float32", "numpy"), "dtype": "O", "bytes": "a"},
    "a numpy scalar with a shape": {"dtype": "O", "bytes": "a", "shape": []},
    "a mark alone": {":is_custom:": True},
    "a mark and something": {":is_custom:": True, "evil": 1},
    "a registry alone": {"pint_unit_registry": "openff_units"},
    "a quantity without the mark": {"magnitude": 1, "unit": "bar", "pint_unit_registry": "openff_units"},
    "a quantity of another registry": {**quantity("bar"), "pint_unit_registry": "mine"},
    "a quantity with more": {**quantity("bar"), "evil": 1},
    "a quantity that is a unit, too": {**quantity("bar"), "unit_name": "bar"},
    "a quantity whose mark is 1": {**quantity("bar"), ":is_custom:": 1},
    "a quantity of text": quantity("bar", "9" * 9),
    "a quantity of true": quantity("bar", magnitude=True),
    "a quantity of a list": quantity("bar", [1, 2]),
    "a quantity of settings": quantity("bar", instance("A", "os")),
    "a quantity without a unit": quantity(None),
    "a quantity that computes": quantity("10**10**10"),
    "a quantity that computes long": quantity(" * ".join(["bar"] * 11)),
    "a quantity that calls": quantity("__import__('os')"),
    "a quantity that walks": quantity("bar.__class__"),
    "a quantity of a private name": quantity("__class__"),
    "a quantity of a large power": quantity("bar ** 999"),
    "a quantity of nothing": quantity(""),
    "a quantity and a line's end": quantity("bar\n"),
    "a unit that computes": {":is_custom:": True, "pint_unit_registry": "openff_units", "unit_name": "2 ** 99"},
    "a unit with more": {":is_custom:": True, "pint_unit_registry": "openff_units", "unit_name": "bar", "a": 1},
    "a datetime with more": instance("datetime", "datetime", isotime="2026-01-01T00:00:00", evil=1),
    "a datetime of none": instance("datetime", "datetime", isotime="tomorrow"),
    "a datetime of a number": instance("datetime", "datetime", isotime=1),
    "a datetime of other digits": instance("datetime", "datetime", isotime="٣" * 4 + "-01-01T00:00:00"),
    "a datetime without": instance("datetime", "datetime"),
    "a datetime that is not marked": {"__class__": "datetime", "__module__": "datetime", "isotime": "2026-01-01T00:00"},
    "a UUID of none": instance("UUID", "uuid", uuid="{urn:uuid:}"),
    "a UUID of other digits": instance("UUID", "uuid", uuid="٣" * 8 + "-0000-0000-0000-000000000000"),
}
CODEC_CASES = {label: (with_setting(value), R.UNKNOWN_CODEC) for label, value in CODECS.items()}
REFERENCES = {
    "a reference to nothing": (chain(a=reference(hub_key(1))), R.DANGLING_REFERENCE),
    "a reference that is empty": (chain(a=reference("")), R.DANGLING_REFERENCE),
    "a reference to a later entry": (
        [hub(1, a=[reference(hub_key(2))]), hub(2), greedy(a=reference(hub_key(1)), b=reference(hub_key(2)))],
        R.DANGLING_REFERENCE,
    ),
    "a reference to itself": (chain(a=reference(KEY)), R.CYCLIC),
    "two entries that refer to each other": (
        [hub(1, a=reference(hub_key(2))), hub(2, a=reference(hub_key(1))), greedy(a=reference(hub_key(2)))],
        R.CYCLIC,
    ),
    "a cycle of three": (
        [
            hub(1, a={"b": [reference(hub_key(3))]}),
            hub(2, a=reference(hub_key(1))),
            hub(3, a=reference(hub_key(2))),
            greedy(a=reference(hub_key(3))),
        ],
        R.CYCLIC,
    ),
    "a part that refers to the root": (
        [hub(1, a=reference(f"Greedy-{DIGITS}")), greedy(a=reference(hub_key(1)))],
        R.CYCLIC,
    ),
    "two roots": ([*chain(), greedy()], R.UNREFERENCED_ENTRY),
    "a part of nothing": ([hub(1), greedy()], R.UNREFERENCED_ENTRY),
    "a reference that is a number": (chain(a=reference(7)), R.UNEXPECTED_FIELD),
    "a reference that is a list": (chain(a=reference([KEY])), R.UNEXPECTED_FIELD),
    "a reference with more": (chain(a={**reference(KEY), "__module__": MARKER}), R.UNEXPECTED_FIELD),
    "a reference that is settings, too": (chain(a={**reference(KEY), **good_settings()}), R.UNEXPECTED_FIELD),
    "a reference inside of settings": (
        [hub(1), greedy(s=good_settings(a=[reference(hub_key(1))]))],
        R.UNEXPECTED_FIELD,
    ),
}
HOSTILE = {
    **BOMBS,
    **FORMS,
    **NAMED,
    **{f"a key {key!a}": case for key, case in KEYS.items()},
    **CODEC_CASES,
    **REFERENCES,
}


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """A module that leaves this file behind lies ready to be imported."""
    marker = tmp_path / "marker"
    tmp_path.joinpath(f"{MARKER}.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass A: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    return marker


@contextmanager
def nothing_imported():
    """Nothing is loaded meanwhile, nor is anything looked up among what is loaded, but what the check itself needs."""
    wanted = []
    originals = builtins.__import__, importlib.import_module

    def noted(name, *rest, **options):
        wanted.append(name)
        return originals[0](name, *rest, **options)

    before = set(sys.modules)
    builtins.__import__, importlib.import_module = noted, noted
    try:
        yield
    finally:
        builtins.__import__, importlib.import_module = originals
    assert set(sys.modules) == before
    assert set(wanted) <= {"zstandard"}


def refusal(content, *, allowed=ALLOWED, **limits):
    with pytest.raises(RejectedPayloadError) as caught:
        check_strategy_payload(as_bytes(content), allowed=allowed, limits=PayloadLimits(**limits))
    return caught.value


def check(content, *, allowed=ALLOWED):
    return check_strategy_payload(as_bytes(content), allowed=allowed)


# What is refused


@pytest.mark.parametrize(("content", "reason"), HOSTILE.values(), ids=[ascii(name) for name in HOSTILE])
def test_hostile_payloads_are_refused_with_the_reason(content, reason, marker):
    content = as_bytes(content)
    tracemalloc.start()
    started = time.process_time()
    try:
        with nothing_imported():
            error = refusal(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error.reason is reason, str(error)
    assert time.process_time() - started < 10
    assert peak < 16 * 2**20
    assert not marker.exists()
    # What it says is short, in one line, and safe to print and to log.
    assert len(str(error)) < 600
    assert str(error).isprintable()
    assert str(error).replace("…", "").isascii()
    assert error.where.startswith("strategy")
    assert len(error.offender) <= 80


def test_there_are_many_hostile_payloads_and_every_reason_has_one():
    assert len(HOSTILE) >= 40
    assert {reason for _, reason in HOSTILE.values()} == set(RefusalReason) - {RefusalReason.NAME_MISMATCH}


def test_what_is_imported_would_be_noticed(marker):
    # Were it not, the tests above would show nothing.
    program = f"import sys; sys.path.insert(0, {str(marker.parent)!r}); import {MARKER}"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert marker.exists()
    for module in (MARKER, "os"):
        with pytest.raises(AssertionError), nothing_imported():
            importlib.import_module(module)
    del sys.modules[MARKER]


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited as Linux does it")
def test_bombs_are_refused_in_little_memory(tmp_path):
    # Also what C allocates, which tracemalloc does not see: the process may grow by 48 MiB. A bomb holds 64.
    cases = []
    for number, (content, reason) in enumerate(BOMBS.values()):
        path = tmp_path / str(number)
        path.write_bytes(as_bytes(content))
        cases.append((str(path), reason.value))
    program = (
        "import json, pathlib, resource, sys\n"
        "import zstandard\n"  # which the limit would keep from being loaded
        "from alchemiscale_strategist.payloads import *\n"
        "size = int(pathlib.Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + 48 * 2**20,) * 2)\n"
        "try:\n"
        "    bytes(2**26)\n"
        "except MemoryError:\n"
        "    print('limited')\n"
        "for path, reason in json.loads(sys.argv[1]):\n"
        "    try:\n"
        "        check_strategy_payload(pathlib.Path(path).read_bytes(), allowed=STRATOCASTER_CLASSES)\n"
        "    except RejectedPayloadError as error:\n"
        "        print(path)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, json.dumps(cases)], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout.split() == ["limited", *(path for path, _ in cases)]


# What an error says


def test_an_error_says_where_and_what():
    error = refusal(with_setting({"a": [0, instance("system", "os")]}))
    assert str(error) == (
        "strategy, entry 1, settings.extra.a[1]: is of the class 'os:system', expected one that the operator allows"
    )
    assert error.offender == error.value == "os:system"
    assert error.where == error.field == "strategy, entry 1, settings.extra.a[1]"
    assert "Ask the operator" in error.remedy
    assert isinstance(error, RejectedInputError)


def test_odd_keys_are_shown_short_and_escaped():
    error = refusal(with_setting({"a b": {"x" * 100: {"é": [quantity("")]}}}))
    assert error.where == f"strategy, entry 1, settings.extra['a b']['{'x' * 40}'…]['\\xe9'][0]"
    error = refusal(with_setting({"\u202e": 1}))
    assert "has the key '\\u202e'" in str(error)


def test_an_error_crosses_to_another_process():
    error = refusal(with_setting(instance("system", "os")))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(again) is RejectedPayloadError
    assert str(again) == str(error)
    for name in ("reason", "where", "found", "expected", "offender", "field", "value", "remedy"):
        assert getattr(again, name) == getattr(error, name)


# What passes

HARMLESS = {
    "a number with a unit": quantity("kilocalorie / mole"),
    "a whole number with a unit": quantity("kelvin", 298),
    "a unit": {":is_custom:": True, "pint_unit_registry": "openff_units", "unit_name": "kilocalorie_per_mole"},
    "powers": quantity("kilojoule ** 2 / mole ** 2 / nanometer ** 0.5"),
    "one over": quantity("1 / picosecond"),
    "no dimension": quantity("dimensionless"),
    "a datetime": instance("datetime", "datetime", isotime="2026-01-31T23:59:59.123456+00:00"),
    "a datetime without a zone": instance("datetime", "datetime", isotime="2026-01-31T23:59:59"),
    "a UUID": instance("UUID", "uuid", uuid="12345678-1234-5678-1234-567812345678"),
    "settings in settings": good_settings(inner={"list": [good_settings(), None]}),
    "weights by Transformation": {f"Transformation-{DIGITS}": 0.5, "lig_1 → lig_2": None, "": 0, "a:b__c": 1},
    "text that looks like a class": ["os:system", '{"__module__": "os"}', "__import__('os')", "é\N{GRINNING FACE}\0"],
    "numbers": [0, -0.0, 1e308, 2**63 - 1, -(2**63), True, False, None],
    "a dtype without bytes": {"dtype": "float64", "shape": [1]},
    "the same object many times": [{}] * 10,
}


@pytest.mark.parametrize("label", HARMLESS)
def test_harmless_values_pass_unchanged(label):
    document = with_setting(HARMLESS[label])
    with nothing_imported():
        payload = check(document)
    assert json.loads(payload.content) == document
    assert imported_by_gufe(payload.content) <= {*NAMES, *PLAIN}


def test_recorded_strategies_pass_unchanged(shared_data):
    recorded = {path.stem: path.read_bytes() for path in shared_data.glob("strategies/*Strategy.json")}
    assert recorded.keys() == {"ConnectivityStrategy", "RadialGrowthStrategy"}
    body = json.loads((shared_data / "gufe" / "post_strategy_body.json").read_text())
    cases = [*recorded.items(), ("ConnectivityStrategy", json.dumps(body["strategy"]).encode())]
    for name, content in cases:
        for form in (content, ZSTD(content), of_unknown_size(content), gzip.compress(content)):
            payload = check(form, allowed=STRATOCASTER_CLASSES)
            assert (payload.kind, payload.name) == (StrategyKind.GUFE, name)
            assert json.loads(payload.content) == json.loads(content)
            assert check_stored_payload(payload, allowed=STRATOCASTER_CLASSES) == payload
    assert json.loads(recorded["ConnectivityStrategy"]) == chain()


def test_the_content_is_the_same_however_it_was_written():
    shuffled = [[KEY, dict(reversed(chain()[0][1].items()))]]
    for content in (GOOD, json.dumps(chain(), indent=2).encode(), as_bytes(shuffled), ZSTD(GOOD)):
        assert check(content) == check(GOOD)
    assert check(GOOD).content.isascii()


def test_compressed_payloads_may_have_their_largest_size():
    padded = GOOD + b" " * (DEFAULT_PAYLOAD_LIMITS.max_json_bytes - len(GOOD))
    for form in (padded, ZSTD(padded), of_unknown_size(padded), gzip.compress(padded)):
        assert check(form) == check(GOOD)
        assert refusal(form, max_json_bytes=len(padded) - 1).reason is R.TOO_LARGE
    frame = zstd_frame(raw(GOOD), window=0x68)  # the largest, 8 MiB
    assert check_strategy_payload(frame, allowed=ALLOWED, limits=PayloadLimits(max_compressed_bytes=len(frame)))
    assert refusal(frame, max_compressed_bytes=len(frame) - 1).reason is R.TOO_LARGE
    # What is not compressed is not bounded by that.
    assert check_strategy_payload(GOOD, allowed=ALLOWED, limits=PayloadLimits(max_compressed_bytes=1))


def test_limits_are_exact():
    document = [hub(1), greedy(a=reference(hub_key(1)), b=[[1]])]
    checked = check(document)
    exact = {"max_depth": 5, "max_entries": 2, "max_values": 3 + 3 + 2 + 2 + 2}
    assert check_strategy_payload(as_bytes(document), allowed=ALLOWED, limits=PayloadLimits(**exact)) == checked
    for name, value in exact.items():
        error = refusal(document, **{**exact, name: value - 1})
        assert error.reason is (R.TOO_DEEP if name == "max_depth" else R.TOO_LARGE)


def test_brackets_in_texts_are_no_nesting():
    assert check(with_setting(['[[[[[[[[[[[[[[[[[[[[{{{{"\\', "\\", "]" * 30]))


def test_an_entry_may_refer_to_earlier_ones_many_times():
    document = [
        hub(1),
        hub(2, a=reference(hub_key(1))),
        greedy(a={"b": [reference(hub_key(1)), [reference(hub_key(2))]]}, c=reference(hub_key(1))),
    ]
    assert check(document).name == "Greedy"


def test_the_version_may_be_missing_or_later():
    for version in (..., 1, 2):
        assert check(root_fields(**{":version:": version})).name == "ConnectivityStrategy"


def test_a_class_is_allowed_by_name_alone():
    allowed = AllowedClasses.parse(strategies=["never.installed:Outer.Inner"])
    document = [entry("Outer.Inner", "never.installed")]
    assert check(document, allowed=allowed).name == "Outer.Inner"
    assert refusal(document).reason is R.CLASS_NOT_ALLOWED
    assert refusal(GOOD, allowed=allowed).reason is R.CLASS_NOT_ALLOWED
    assert refusal(GOOD, allowed=AllowedClasses()).reason is R.CLASS_NOT_ALLOWED


def test_a_strategy_needs_its_settings_allowed():
    allowed = replace(STRATOCASTER_CLASSES, parts=frozenset())
    error = refusal(GOOD, allowed=allowed)
    assert error.reason is R.CLASS_NOT_ALLOWED
    assert error.offender == f"{CONNECTIVITY}:ConnectivityStrategySettings"


# What a store gives back


def test_a_stored_payload_is_checked_as_if_it_were_new():
    for content, reason in HOSTILE.values():
        try:
            text = as_bytes(content).decode()
        except UnicodeDecodeError:
            continue
        stored = StrategyPayload(kind=StrategyKind.GUFE, name="ConnectivityStrategy", content=text)
        with pytest.raises(RejectedPayloadError) as caught:
            check_stored_payload(stored, allowed=ALLOWED)
        assert caught.value.reason is reason


def test_a_stored_payload_goes_by_its_own_name():
    stored = replace(check(GOOD), name="RadialGrowthStrategy")
    with pytest.raises(RejectedPayloadError) as caught:
        check_stored_payload(stored, allowed=ALLOWED)
    assert caught.value.reason is R.NAME_MISMATCH


def test_a_stored_payload_is_never_taken_for_compressed():
    stored = StrategyPayload(kind=StrategyKind.GUFE, name="x", content="\x1f\x8b")
    with pytest.raises(RejectedPayloadError) as caught:
        check_stored_payload(stored, allowed=ALLOWED)
    assert caught.value.reason is R.NOT_JSON


def test_a_native_payload_is_left_to_those_who_run_it():
    native = StrategyPayload.native("uniform", {"repeats": 2})
    assert check_stored_payload(native, allowed=AllowedClasses()) is native


def test_classes_can_be_disallowed_after_a_payload_was_stored():
    with pytest.raises(RejectedPayloadError):
        check_stored_payload(check(GOOD), allowed=PLUGIN)


# Settings of the check itself


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "a",
        "a:",
        ":b",
        "a.b",
        "a:b:c",
        "a: b",
        " a:b",
        "a:b\n",
        "a..b:c",
        "a.:b",
        "1a:b",
        "a:b-c",
        "é:b",
        "a:<locals>",
        "a/b:c",
    ],
)
def test_a_class_has_one_form(text):
    with pytest.raises(RejectedInputError, match=r"expected the form 'package.module:QualName'"):
        ClassName.parse(text)


@pytest.mark.parametrize(
    ("module", "qualname"), [("a b", "C"), ("a", "C\n"), ("", "C"), ("a", ""), (None, "C"), ("a", 1)]
)
def test_a_class_name_is_made_of_identifiers(module, qualname):
    with pytest.raises(RejectedInputError, match="expected ASCII identifiers joined by dots"):
        ClassName(module=module, qualname=qualname)


def test_allowed_classes_are_joined_and_stay_what_they_were():
    before = copy.deepcopy(STRATOCASTER_CLASSES)
    joined = STRATOCASTER_CLASSES | PLUGIN
    assert joined.strategies == STRATOCASTER_CLASSES.strategies | PLUGIN.strategies
    assert joined.parts == STRATOCASTER_CLASSES.parts | PLUGIN.parts
    assert before == STRATOCASTER_CLASSES
    assert hash(joined) == hash(PLUGIN | STRATOCASTER_CLASSES)
    with pytest.raises(TypeError):
        STRATOCASTER_CLASSES | {"os:system"}


@pytest.mark.parametrize("members", [{"os:system"}, frozenset({"os:system"}), "os:system", None, []])
@pytest.mark.parametrize("name", ["strategies", "parts"])
def test_allowed_classes_are_class_names(name, members):
    with pytest.raises(RejectedInputError, match=f"{name}: .* a frozenset of ClassName"):
        AllowedClasses(**{name: members})


def test_one_text_is_no_list_of_classes():
    with pytest.raises(RejectedInputError, match="expected a list of texts"):
        AllowedClasses.parse(strategies="a:B")


@pytest.mark.parametrize("name", [field.name for field in fields(PayloadLimits)])
@pytest.mark.parametrize("value", [0, -1, True, 1.5, None])
def test_limits_are_positive_whole_numbers(name, value):
    with pytest.raises(RejectedInputError, match=name):
        PayloadLimits(**{name: value})


def test_the_depth_stays_below_pythons_own_limit():
    with pytest.raises(RejectedInputError, match="at most 100"):
        PayloadLimits(max_depth=101)
    deepest = with_setting(json.loads("[" * 96 + "]" * 96))
    assert check_strategy_payload(as_bytes(deepest), allowed=ALLOWED, limits=PayloadLimits(max_depth=100))


def test_zstd_without_the_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingDependencyError, match="needs zstandard") as caught:
        check(ZSTD(GOOD))
    assert "[service]" in caught.value.remedy
    assert check(GOOD) == check(gzip.compress(GOOD))


def test_zstandard_is_loaded_only_when_it_is_needed():
    program = (
        "import sys\n"
        "from alchemiscale_strategist.payloads import *\n"
        "check_strategy_payload(sys.argv[1].encode(), allowed=STRATOCASTER_CLASSES)\n"
        "print(*sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, GOOD.decode()], capture_output=True, text=True, check=True, timeout=60
    )
    assert not {"zstandard", "gufe", "stratocaster", "pydantic", "openff"} & set(run.stdout.split())


def test_every_reason_and_limit_is_explained():
    page = PAGE.read_text(encoding="utf-8")
    for reason in RefusalReason:
        assert f"| `{reason.value}` |" in page
    for field in fields(PayloadLimits):
        assert re.search(rf"\| `{field.name}` \| {field.default:,} \|", page)
    for name in STRATOCASTER_CLASSES.strategies | STRATOCASTER_CLASSES.parts:
        assert f"`{name}`" in page


# gufe's own decoding, acted out: what it would import, or hand to something that does more than hold a value

NAMES = {(name.module, name.qualname) for name in ALLOWED.strategies | ALLOWED.parts}
PLAIN = {("datetime", "datetime"), ("uuid", "UUID"), ("openff", "Quantity"), ("openff", "Unit")}


BY_NAME = {
    ("pathlib", "PosixPath"),
    ("pathlib._local", "PosixPath"),
    ("numpy", "ndarray"),
    ("builtins", "bytes"),
    ("datetime", "datetime"),
}


def codec_of(dct):
    """What gufe's decoder would make of an object, by name; nothing where it stays an object."""
    custom, units = ":is_custom:" in dct, dct.get("pint_unit_registry") == "openff_units"
    named = (dct["__module__"], dct["__class__"]) if {"__module__", "__class__"} <= dct.keys() else None
    if custom and named in BY_NAME:
        return named
    if {"dtype", "bytes"} <= dct.keys() and "shape" not in dct:
        return "numpy", "generic"
    if named is not None:
        return named
    if custom and units and "unit_name" in dct:
        return "openff", "Unit"
    if custom and units and {"magnitude", "unit"} <= dct.keys():
        return "openff", "Quantity"
    return None


def rewritten(value, change, *, top=True):
    """Every object inside, the innermost first, but not the whole itself, replaced by what ``change`` gives."""
    if isinstance(value, dict):
        value = {key: rewritten(item, change, top=False) for key, item in value.items()}
        return value if top else change(value)
    if isinstance(value, list):
        return [rewritten(item, change, top=False) for item in value]
    return value


def imported_by_gufe(text):
    """Classes that gufe 1.10 would get by name from a keyed chain, and codecs that it would run.

    Follows gufe.serialization.json (codecs in their order, innermost objects first), KeyedChain.to_gufe and, as on an
    error, from_dict; but where gufe gets a class, its name is noted. Knows nothing of the check.
    """
    got = set()
    made = {}

    def get_class(*name):
        got.add(name)
        return name

    def hook(dct):
        name = codec_of(dct)
        return dct if name is None else get_class(*name)

    def from_dict(dct):
        return get_class(dct["__module__"], dct["__qualname__"])

    chain = json.loads(text, object_hook=hook)
    for key, keyed in chain:
        # A reference to no earlier entry raises here, as it does there.
        resolved = rewritten(keyed, lambda dct: made[dct[":gufe-key:"]] if ":gufe-key:" in dct else dct)
        made.setdefault(key, from_dict(resolved))
    rewritten(chain, lambda dct: from_dict(dct) if {"__qualname__", "__module__"} <= dct.keys() else dct)
    return got


def test_gufe_acted_out_imports_what_is_named():
    # Were it blind, the tests below would show nothing.
    assert imported_by_gufe(GOOD) == {
        (CONNECTIVITY, "ConnectivityStrategy"),
        (CONNECTIVITY, "ConnectivityStrategySettings"),
    }
    for label in (
        "hostile settings in a list in an object",
        "a hostile entry that nothing refers to",
        "an object in full outside of settings",
    ):
        assert (MARKER, "A") in imported_by_gufe(as_bytes(NAMED[label][0]))
    for label in ("a path", "bytes", "an array", "a numpy scalar", "a numpy scalar that says so"):
        assert not imported_by_gufe(as_bytes(CODEC_CASES[label][0])) <= {*NAMES, *PLAIN}


# Random payloads

WORDS = st.sampled_from(
    [
        *("__module__", "__qualname__", "__class__", ":is_custom:", ":gufe-key:", ":version:", "pint_unit_registry"),
        *("dtype", "bytes", "shape", "magnitude", "unit", "unit_name", "openff_units", "settings", "isotime", "uuid"),
        *("os", "system", "builtins", "eval", "pathlib", "PosixPath", "path", "numpy", "ndarray", "datetime", "UUID"),
        *(CONNECTIVITY, RADIAL, "ConnectivityStrategy", "ConnectivityStrategySettings", "RadialGrowthStrategy"),
        *("RadialGrowthStrategySettings", "plugin", "Greedy", "GreedySettings", "Hub", KEY, hub_key(1), "bar", ""),
    ]
)
SCALARS = WORDS | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
OBJECTS = st.sampled_from([instance("system", "os"), good_settings(), reference(hub_key(1)), *CODECS.values()]).map(
    copy.deepcopy
)
VALUES = st.recursive(
    SCALARS | OBJECTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
GOOD_DOCUMENTS = [
    chain(),
    [
        hub(1, a=[0, quantity("bar")]),
        greedy(settings=instance("GreedySettings", "plugin", a=1), b=reference(hub_key(1))),
    ],
    *(with_setting(value) for value in HARMLESS.values()),
]


def containers(value):
    """Every list and object inside, itself among them."""
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from containers(item)


@st.composite
def mutated(draw):
    """A good document with a few changes."""
    document = copy.deepcopy(draw(st.sampled_from(GOOD_DOCUMENTS)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(list(containers(document))))
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        change = draw(st.sampled_from(["insert", "replace", "rename", "swap", "remove"] if keys else ["insert"]))
        if change == "insert":
            value = draw(VALUES)
            if isinstance(place, dict):
                place[draw(WORDS | st.text(max_size=4))] = value
            else:
                place.insert(draw(st.integers(0, len(place))), value)
            continue
        key = draw(st.sampled_from(keys))
        if change == "replace":
            place[key] = draw(VALUES)
        elif change == "swap":
            other = draw(st.sampled_from(keys))
            place[key], place[other] = place[other], place[key]
        elif change == "rename" and isinstance(place, dict):
            place[draw(WORDS)] = place.pop(key)
        else:
            place.pop(key)
    return document


def verdict(content):
    """The checked payload, or None where it is refused; any other error goes through."""
    try:
        return check(content)
    except RejectedPayloadError as refused:
        error = refused
    assert isinstance(error.reason, RefusalReason)
    assert str(error).isprintable()
    return None


@settings(max_examples=1500)
@given(mutated())
def test_whatever_is_accepted_names_allowed_classes_only(document):
    payload = verdict(document)
    if payload is not None:
        assert imported_by_gufe(payload.content) <= {*NAMES, *PLAIN}
        assert json.loads(payload.content) == document
        assert check_stored_payload(payload, allowed=ALLOWED) == payload


def test_the_mutations_reach_both_verdicts():
    found = set()

    @settings(max_examples=300, derandomize=True, database=None)
    @given(mutated())
    def collect(document):
        found.add(verdict(document) is None)

    collect()
    assert found == {True, False}


@settings(max_examples=500)
@given(VALUES)
@example([[KEY, {}]])
def test_any_json_gets_a_verdict(document):
    verdict(document)
    verdict([[KEY, document]])


@settings(max_examples=500)
@given(st.sampled_from([b"", b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08", b"[", b'[["']), st.binary(max_size=200))
def test_any_bytes_get_a_verdict(start, rest):
    assert verdict(start + rest) is None


@settings(max_examples=500)
@given(st.sampled_from([GOOD, ZSTD(GOOD), gzip.compress(GOOD), of_unknown_size(GOOD)]), st.data())
def test_damaged_payloads_get_a_verdict(content, data):
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 8)))
    payload = verdict(content[:start] + data.draw(st.binary(max_size=8)) + content[end:])
    if payload is not None:
        assert imported_by_gufe(payload.content) <= NAMES
