"""JSON from anybody, read under limits: plain values only, and nothing that the text names is imported.

The size is checked before reading and the nesting before parsing, so that neither memory nor the parser's recursion
is at the mercy of the text. Every refusal is a :class:`~alchemiscale_strategist.errors.RejectedFileError`.
"""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from alchemiscale_strategist.errors import RejectedFileError, RejectedInputError

__all__ = [
    "DEFAULT_JSON_LIMITS",
    "JsonLimits",
    "JsonValue",
    "decode_utf8",
    "load_bounded_json",
    "parse_bounded_json",
    "read_bounded_bytes",
]

JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | float | bool | None"
"""What JSON can say."""

_MEBIBYTE = 2**20
# Python's own limit, which a program may lift: beyond it the time to convert grows with the square of the digits.
_MOST_DIGITS = 4300
# A string is one token whatever stands in it; an open end counts as closed, so that no text is scanned twice.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonLimits:
    """How much JSON is read at most.

    Args:
        max_bytes: largest size in bytes, ≥ 1.
        max_depth: deepest nesting of arrays and objects, ≥ 1.
        allow_non_finite: let NaN and Infinity pass, which are no JSON but which Python's own writer writes.

    Raises:
        RejectedInputError: a limit is no whole number of at least 1.
    """

    max_bytes: int = 512 * _MEBIBYTE
    max_depth: int = 64
    allow_non_finite: bool = False

    def __post_init__(self) -> None:
        limits: dict[str, object] = {"max_bytes": self.max_bytes, "max_depth": self.max_depth}
        for field, value in limits.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise RejectedInputError(field=field, value=value, expected="a whole number of at least 1")


DEFAULT_JSON_LIMITS = JsonLimits()


class _RefusedValueError(Exception):
    """Valid JSON, or what Python takes for it, that we do not accept; the parser does not say where it stands."""


def load_bounded_json(path: str | Path, *, limits: JsonLimits = DEFAULT_JSON_LIMITS) -> JsonValue:
    """Read a JSON file as plain values.

    Raises:
        RejectedFileError: the file cannot be read, exceeds a limit or is refused by :func:`parse_bounded_json`.

    >>> load_bounded_json("nowhere.json")
    Traceback (most recent call last):
    ...
    alchemiscale_strategist.errors.RejectedFileError: nowhere.json: there is no such file
    """
    content = read_bounded_bytes(path, max_bytes=limits.max_bytes)
    return parse_bounded_json(content, source=path, limits=limits)


def parse_bounded_json(content: bytes, *, source: str | Path, limits: JsonLimits = DEFAULT_JSON_LIMITS) -> JsonValue:
    r"""Parse UTF-8 JSON into plain values; ``source`` is what errors call it.

    Raises:
        RejectedFileError: too many bytes, nested too deeply, not UTF-8, not JSON, an object with the same key twice,
            NaN or infinity (unless the limits allow them), a number beyond a float's range, or a whole number of more
            than 4300 digits. Line and column, both from 1, are told where they are known.

    >>> parse_bounded_json(b'{"a": [1, 2.5, null]}', source="example")
    {'a': [1, 2.5, None]}
    >>> parse_bounded_json(b'[1,\n 2 3]', source="example")
    Traceback (most recent call last):
    ...
    alchemiscale_strategist.errors.RejectedFileError: example, line 2, column 4: not valid JSON: Expecting ',' delimiter
    """
    if len(content) > limits.max_bytes:
        raise _too_large(source, limits.max_bytes)
    text = decode_utf8(content, source=source)
    if not text or text.isspace():
        raise RejectedFileError("is empty, expected JSON", path=source)
    _check_depth(text, source, limits.max_depth)
    try:
        parsed: JsonValue = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=float if limits.allow_non_finite else _refuse_constant,
            parse_float=_finite_float,
            parse_int=_short_integer,
        )
    except json.JSONDecodeError as error:
        problem = f"not valid JSON: {error.msg}"
        raise RejectedFileError(problem, path=source, line=error.lineno, column=error.colno) from None
    except _RefusedValueError as error:
        raise RejectedFileError(str(error), path=source) from None
    except RecursionError:
        # Only where max_depth was raised beyond what the interpreter allows.
        raise RejectedFileError("nested too deeply for the JSON parser", path=source) from None
    return parsed


def read_bounded_bytes(path: str | Path, *, max_bytes: int) -> bytes:
    """All bytes of a file, unless they are more than ``max_bytes``.

    Raises:
        RejectedFileError: missing, a directory, not readable, or too large.

    >>> read_bounded_bytes(".", max_bytes=10)
    Traceback (most recent call last):
    ...
    alchemiscale_strategist.errors.RejectedFileError: .: is a directory, expected a file
    """
    try:
        return _read(Path(path), max_bytes)
    except RejectedFileError:
        raise
    except FileNotFoundError:
        problem = "there is no such file"
    except IsADirectoryError:
        problem = "is a directory, expected a file"
    except PermissionError:
        problem = "may not be read: permission denied"
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
    except ValueError as error:
        # A path with a null character.
        problem = f"is no file's path: {error}"
    raise RejectedFileError(problem, path=path)


def decode_utf8(content: bytes, *, source: str | Path) -> str:
    r"""UTF-8 as text, without the byte order mark that some programs put first.

    Raises:
        RejectedFileError: not UTF-8; tells the line and column of the first byte that is not.

    >>> decode_utf8(b"\xef\xbb\xbfname", source="table.csv")
    'name'
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Where a mark stands first, the codec counts from behind it.
        before = error.object[: error.start]
        line_start = before.rfind(b"\n") + 1
        raise RejectedFileError(
            f"not UTF-8 text (byte 0x{error.object[error.start]:02x})",
            path=source,
            line=before.count(b"\n") + 1,
            column=len(before[line_start:].decode("utf-8")) + 1,
            remedy="Save the file with the encoding UTF-8.",
        ) from None


def _read(path: Path, max_bytes: int) -> bytes:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > max_bytes:
            raise _too_large(path, max_bytes)
        # A pipe tells no size and a file may grow meanwhile, so what arrives is counted, too.
        chunks: list[bytes] = []
        left = max_bytes
        while chunk := file.read(_MEBIBYTE):
            left -= len(chunk)
            if left < 0:
                raise _too_large(path, max_bytes)
            chunks.append(chunk)
    return b"".join(chunks)


def _too_large(source: str | Path, max_bytes: int) -> RejectedFileError:
    return RejectedFileError(f"is larger than the limit of {max_bytes:,} bytes", path=source)


def _check_depth(text: str, source: str | Path, max_depth: int) -> None:
    if text.count("[") + text.count("{") <= max_depth:
        return
    depth = 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        if first in "[{":
            depth += 1
            if depth > max_depth:
                raise RejectedFileError(
                    f"nested more than {max_depth} levels deep",
                    path=source,
                    line=text.count("\n", 0, token.start()) + 1,
                    column=token.start() - text.rfind("\n", 0, token.start()),
                )
        elif first != '"':
            depth -= 1


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RefusedValueError(f"an object has the key {_shown(key)} twice")
            seen.add(key)
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise _RefusedValueError(f"{name} is no JSON number")


def _finite_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _RefusedValueError(f"the number {_shown(text)} is beyond the range of a float")
    return number


def _short_integer(text: str) -> int:
    problem = f"a whole number has {len(text)} digits, more than can be read"
    if len(text) > _MOST_DIGITS:
        raise _RefusedValueError(problem)
    try:
        return int(text)
    except ValueError:
        # The program lowered Python's limit.
        raise _RefusedValueError(problem) from None


def _shown(text: str, limit: int = 80) -> str:
    return repr(text) if len(text) <= limit else f"{text[:limit]!r}…"
