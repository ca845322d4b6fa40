"""How much a payload may be."""

from __future__ import annotations

from dataclasses import dataclass

from alchemiscale_strategist.checks import check_whole_number

__all__ = ["DEFAULT_PAYLOAD_LIMITS", "PayloadLimits"]

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
        check_whole_number("max_depth", self.max_depth, least=1, most=_DEEPEST)


DEFAULT_PAYLOAD_LIMITS = PayloadLimits()
