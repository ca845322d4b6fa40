"""From JSON to plain values. Stricter than files need, with a reason for each refusal: so not by parse_bounded_json."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from alchemiscale_strategist.bounded_json import JsonValue
from alchemiscale_strategist.payloads.errors import (
    WHOLE,
    RefusalReason,
    RejectedPayloadError,
    not_json,
    refusal,
    shown,
    too_large,
)
from alchemiscale_strategist.payloads.limits import PayloadLimits

__all__ = ["parse_strict_json"]

_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # an open end counts as closed: nothing is scanned twice
_BRACKET = re.compile(r"[\[\]{}]")
_MOST_DIGITS = 20  # of a 64-bit number, with its sign
_LARGEST_NUMBER = 2**63


def parse_strict_json(content: bytes, limits: PayloadLimits) -> JsonValue:
    """Parse UTF-8 JSON within the limits, each object's keys once, into plain values."""
    if len(content) > limits.max_json_bytes:
        raise too_large(limits.max_json_bytes)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_json(f"has a byte that is not UTF-8 at {error.start}") from None
    # Before parsing, which is recursive.
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > limits.max_depth:
            raise refusal(RefusalReason.TOO_DEEP, WHOLE, "is nested too deeply", f"at most {limits.max_depth} levels")
    try:
        parsed: JsonValue = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_float=_finite_number,
            parse_int=_short_number,
        )
    except json.JSONDecodeError as error:
        raise not_json(f"is none at line {error.lineno}, column {error.colno} ({error.msg})") from None
    return parsed


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            found = f"has an object with the key {shown(key)} twice"
            raise refusal(RefusalReason.DUPLICATE_KEY, WHOLE, found, "every key once", offender=key)
        made[key] = value
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise not_json(f"has {name}")


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
    return refusal(
        RefusalReason.TOO_LARGE,
        WHOLE,
        f"has the number {shown(text)}",
        "whole numbers of 64 bits, and others in the range of a float",
        offender=text,
    )
