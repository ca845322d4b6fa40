"""The chain: its entries, and which of them refers to which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from alchemiscale_strategist.bounded_json import JsonValue
from alchemiscale_strategist.payloads.errors import WHOLE, RefusalReason, RejectedPayloadError, refusal, shown
from alchemiscale_strategist.payloads.limits import PayloadLimits
from alchemiscale_strategist.payloads.places import Place

__all__ = ["check_references", "entries", "no_chain"]


def entries(document: JsonValue, limits: PayloadLimits) -> Iterator[tuple[str, dict[str, JsonValue], Place]]:
    """The chain's entries in order: key, fields and place."""
    if not isinstance(document, list):
        raise no_chain(f"is {_kind(document)}")
    if len(document) > limits.max_entries:
        raise refusal(
            RefusalReason.TOO_LARGE, WHOLE, f"has {len(document):,} entries", f"at most {limits.max_entries:,}"
        )
    for position, item in enumerate(document):
        place = Place(entry=position)
        match item:
            case [str(key), dict(fields)]:
                yield key, fields, place
            case _:
                raise no_chain(f"is {_kind(item)}", place, "a pair of a key and an object")


def check_references(keys: Mapping[str, int], targets: list[list[tuple[str, Place]]]) -> None:
    """Check that entries refer to earlier ones only, and that every one but the last is referred to."""
    reached: set[int] = set()
    for entry, references in enumerate(targets):
        for key, place in references:
            target = keys.get(key)
            if target is None:
                raise _dangling(key, place, "to no entry")
            if target >= entry:
                if _leads_to(target, entry, keys, targets):
                    raise refusal(
                        RefusalReason.CYCLIC,
                        place,
                        f"refers to {shown(key)}, which refers back to this entry",
                        "references to earlier entries",
                        offender=key,
                    )
                raise _dangling(key, place, "to a later entry")
            reached.add(target)
    for key, entry in keys.items():
        # By induction from the last one: all others then are parts of it.
        if entry not in reached and entry != len(keys) - 1:
            raise refusal(
                RefusalReason.UNREFERENCED_ENTRY,
                Place(entry=entry),
                "is part of no later entry",
                "one Strategy, the last entry, and its parts",
                offender=key,
            )


def _leads_to(start: int, goal: int, keys: Mapping[str, int], targets: list[list[tuple[str, Place]]]) -> bool:
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


def _dangling(key: str, place: Place, found: str) -> RejectedPayloadError:
    return refusal(
        RefusalReason.DANGLING_REFERENCE,
        place,
        f"refers {found}: {shown(key)}",
        "the key of an earlier entry",
        offender=key,
    )


def no_chain(
    found: str,
    where: object = WHOLE,
    expected: str = "a keyed chain of gufe: a list of pairs of a key and an object, the Strategy last",
) -> RejectedPayloadError:
    """The error for what has not the form of a keyed chain."""
    return refusal(
        RefusalReason.NOT_A_KEYED_CHAIN, where, found, expected, remedy="Write the Strategy with its to_json."
    )


def _kind(value: JsonValue) -> str:
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case _:
            return shown(value)
