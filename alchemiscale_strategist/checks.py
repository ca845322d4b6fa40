"""Checks of arguments, each ending in a :class:`RejectedInputError` that names the field and what would be right."""

from __future__ import annotations

import math
import numbers
from enum import StrEnum
from typing import TypeGuard, TypeVar

from alchemiscale_strategist.errors import RejectedInputError

__all__ = ["can_be_encoded", "check_number", "check_whole_number", "checked_choice", "is_finite_number"]

_MOST = 2**53  # exact in every arithmetic, JSON and database

_Choice = TypeVar("_Choice", bound=StrEnum)


def checked_choice(choices: type[_Choice], field: str, value: object) -> _Choice:
    """Return the member of ``choices`` that ``value`` is or names."""
    try:
        return choices(str(value))
    except ValueError:
        expected = "one of " + ", ".join(repr(str(choice)) for choice in choices)
        raise RejectedInputError(field=field, value=value, expected=expected) from None


def check_whole_number(field: str, value: object, *, least: int, most: int = _MOST, or_none: str = "") -> None:
    """Check for a whole number from ``least`` to ``most``; ``or_none`` says what ``None`` means where it is welcome.

    >>> check_whole_number("workers", 0, least=1)
    Traceback (most recent call last):
    ...
    alchemiscale_strategist.errors.RejectedInputError: workers: got 0, expected a whole number of at least 1
    """
    if value is None and or_none:
        return
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    number = int(value) if whole else 0  # type: ignore[call-overload] # an integral number it is
    if whole and least <= number <= most:
        return
    limit = f"at most {most}" if number > most else f"at least {least}"
    none = f", or None for {or_none}" if or_none else ""
    raise RejectedInputError(field=field, value=value, expected=f"a whole number of {limit}{none}")


def check_number(
    field: str, value: object, *, above: float | None = None, below: float | None = None, least: float | None = None
) -> None:
    """Check for a finite number above ``above`` (or from ``least``) and below ``below``, as far as they are given.

    >>> check_number("decay_rate", 1.5, above=0, below=1)
    Traceback (most recent call last):
    ...
    alchemiscale_strategist.errors.RejectedInputError: decay_rate: got 1.5, expected a number above 0 and below 1
    """
    if (
        is_finite_number(value)
        and (above is None or value > above)
        and (least is None or value >= least)
        and (below is None or value < below)
    ):
        return
    bounds = (("above", above), ("of at least", least), ("below", below))
    limits = " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
    raise RejectedInputError(field=field, value=value, expected=f"a number {limits}".rstrip())


def is_finite_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite real number; numpy's are, truth values and texts are not."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the range of a float
        return False


def can_be_encoded(text: str) -> bool:
    """Whether a text can be written as UTF-8: JSON can spell half a surrogate pair, which no file or database takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
