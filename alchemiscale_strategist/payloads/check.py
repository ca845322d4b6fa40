"""The check of a payload: bytes, JSON, entries, what these name, and how they refer to one another."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import assert_never

from alchemiscale_strategist.payloads.chain import check_references, entries, no_chain
from alchemiscale_strategist.payloads.classes import AllowedClasses, ClassName
from alchemiscale_strategist.payloads.codecs import Name
from alchemiscale_strategist.payloads.decompression import decompressed
from alchemiscale_strategist.payloads.errors import WHOLE, RefusalReason, refusal, shown, too_large
from alchemiscale_strategist.payloads.limits import DEFAULT_PAYLOAD_LIMITS, PayloadLimits
from alchemiscale_strategist.payloads.objects import Walk
from alchemiscale_strategist.payloads.places import Place
from alchemiscale_strategist.payloads.strict_json import parse_strict_json
from alchemiscale_strategist.ports import StrategyKind, StrategyPayload

__all__ = ["check_stored_payload", "check_strategy_payload"]

_TOKEN = re.compile(r"[0-9a-f]{32}", re.ASCII)


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
    alchemiscale_strategist.payloads.errors.RejectedPayloadError: strategy, entry 1: is of the class 'os:Greedy',
    expected one that the operator allows
    """
    return _checked(decompressed(content, limits), allowed, limits)


def check_stored_payload(
    payload: StrategyPayload, *, allowed: AllowedClasses, limits: PayloadLimits = DEFAULT_PAYLOAD_LIMITS
) -> StrategyPayload:
    """Check what a store gives back, which another program may have written, as if it were submitted anew.

    A native payload is returned as it is: its settings are checked by whoever runs it, and nothing in it is decoded.

    Raises:
        RejectedPayloadError: refused; ``reason`` says why.

    >>> forged = StrategyPayload(kind=StrategyKind.GUFE, name="system", content='[["system-0", {"__module__": "os"}]]')
    >>> from alchemiscale_strategist.payloads import STRATOCASTER_CLASSES
    >>> check_stored_payload(forged, allowed=STRATOCASTER_CLASSES)
    Traceback (most recent call last):
    ...
    alchemiscale_strategist.payloads.errors.RejectedPayloadError: strategy, entry 1: names no class, expected texts
    as '__module__' and '__qualname__'
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
        raise refusal(
            RefusalReason.NAME_MISMATCH,
            WHOLE,
            f"is stored as {shown(payload.name)}",
            f"the name of its class, {shown(checked.name)}",
            offender=payload.name,
        )
    return checked


def _checked(content: bytes, allowed: AllowedClasses, limits: PayloadLimits) -> StrategyPayload:
    document = parse_strict_json(content, limits)
    keys: dict[str, int] = {}
    targets: list[list[tuple[str, Place]]] = []
    walk = Walk(strategies=_names(allowed.strategies), parts=_names(allowed.parts), most_values=limits.max_values)
    root: Name | None = None
    for key, fields, place in entries(document, limits):
        root = walk.entry(fields, place)
        qualname, _, token = key.rpartition("-")
        if qualname != root[1] or not _TOKEN.fullmatch(token):
            raise refusal(
                RefusalReason.KEY_MISMATCH,
                place,
                f"has the key {shown(key)}",
                f"'{root[1]}-' and 32 digits from 0 to f",
                offender=key,
            )
        if key in keys:
            raise no_chain(f"has the key {shown(key)} a second time", place, "every key once")
        keys[key] = place.entry
        targets.append(walk.references)
        walk.references = []
    if root is None:
        raise no_chain("is an empty list")
    check_references(keys, targets)
    if root not in walk.strategies:
        raise refusal(
            RefusalReason.NOT_A_STRATEGY,
            f"{WHOLE}, entry {len(keys)}",
            f"is of the class {shown(':'.join(root))}, which may stand inside a Strategy only",
            "the last entry to be the Strategy",
            offender=":".join(root),
        )
    text = json.dumps(document, sort_keys=True, allow_nan=False)
    # Written anew it may be longer ("1e9", or what is not ASCII), and what is stored is checked by the same limits.
    if len(text) > limits.max_json_bytes:
        raise too_large(limits.max_json_bytes)
    return StrategyPayload(kind=StrategyKind.GUFE, name=root[1], content=text)


def _names(classes: Collection[ClassName]) -> frozenset[Name]:
    # Not the other way round: what a payload says is compared as it stands, never tidied into a ClassName.
    return frozenset((name.module, name.qualname) for name in classes)
