"""Why a payload is refused, and how that is put into words."""

from __future__ import annotations

import functools
from enum import StrEnum

from alchemiscale_strategist.errors import RejectedInputError

__all__ = [
    "LONGEST_SHOWN",
    "WHOLE",
    "RefusalReason",
    "RejectedPayloadError",
    "not_json",
    "refusal",
    "shown",
    "too_large",
]

WHOLE = "strategy"
"""What errors call a payload as a whole."""
LONGEST_SHOWN = 80
"""Characters that an error shows of what it found."""


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

    >>> from alchemiscale_strategist.payloads import STRATOCASTER_CLASSES, check_strategy_payload
    >>> try:
    ...     check_strategy_payload(b"[]", allowed=STRATOCASTER_CLASSES)
    ... except RejectedPayloadError as error:
    ...     print(error.reason, error.where)
    not_a_keyed_chain strategy
    """

    def __init__(
        self, reason: RefusalReason, *, where: str, found: str, expected: str, offender: str = "", remedy: str = ""
    ) -> None:
        offender = offender[:LONGEST_SHOWN]
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


def refusal(
    reason: RefusalReason, where: object, found: str, expected: str, *, offender: str = "", remedy: str = ""
) -> RejectedPayloadError:
    """The error for anything that is refused."""
    return RejectedPayloadError(
        reason, where=str(where), found=found, expected=expected, offender=offender, remedy=remedy
    )


def too_large(most: int, unit: str = "bytes of JSON") -> RejectedPayloadError:
    """The error for a payload of more bytes than a limit allows."""
    return refusal(
        RefusalReason.TOO_LARGE,
        WHOLE,
        f"has more {unit} than are read",
        f"at most {most:,}",
        remedy="A Strategy is small; the operator may raise the limit.",
    )


def not_json(found: str) -> RejectedPayloadError:
    """The error for what is not JSON."""
    return refusal(RefusalReason.NOT_JSON, WHOLE, found, "JSON in UTF-8")


def shown(value: object, limit: int = LONGEST_SHOWN) -> str:
    """Anything in a message: escaped, and not endlessly."""
    if isinstance(value, str) and len(value) > limit:
        return f"{value[:limit]!a}…"
    return ascii(value)[: limit + 2]
