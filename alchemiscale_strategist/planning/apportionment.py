"""Whole seats for fractional claims: divisor methods with floors and ceilings.

A divisor method hands out seats one by one, each to the party with the largest ``weight / d(k)``, where ``k`` is how
many it holds. So it is *house-monotone*: with one seat more nobody loses one. Source: M. L. Balinski and H. P. Young,
*Fair Representation* (1982); floors and ceilings as in Balinski and Young's treatment of minimum requirements.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable, Mapping
from enum import StrEnum
from typing import Any, TypeVar, assert_never

from alchemiscale_strategist.errors import RejectedInputError
from alchemiscale_strategist.planning.models import checked_choice

__all__ = ["Apportionment", "apportion"]

Key = TypeVar("Key", bound=Hashable)


class Apportionment(StrEnum):
    """Which divisors: Webster's rounds to the nearest, Adams's rounds up, so that every party gets one first."""

    WEBSTER = "webster"
    ADAMS = "adams"


def apportion(
    weights: Mapping[Key, float],
    seats: int,
    *,
    method: Apportionment | str = Apportionment.WEBSTER,
    floors: Mapping[Key, int] | None = None,
    ceilings: Mapping[Key, int] | None = None,
) -> dict[Key, int]:
    """Hand out ``seats`` in proportion to ``weights``.

    Everybody first gets its floor; each further seat goes to the largest ``weight / (2k + 1)`` (Webster) or
    ``weight / k`` (Adams), ``k`` being what it holds, among those below their ceiling. Ties, which include priorities
    that differ by a rounding error, go to the larger weight, then to the smaller key. A party of weight 0 gets just its
    floor.

    Args:
        weights: finite, ≥ 0.
        seats: how many in all, ≥ 0, floors included. Where the floors alone need more, everybody gets just its floor.
        method: ``"webster"`` or ``"adams"``.
        floors: least for a party; 0 where it is not named.
        ceilings: most for a party; without limit where it is not named. A floor above its ceiling raises it.

    Returns:
        the seats of every party, in the order of ``weights``.

    Raises:
        RejectedInputError: names the argument that is not acceptable.

    >>> apportion({"a": 53.0, "b": 24.0, "c": 23.0}, 10)
    {'a': 6, 'b': 2, 'c': 2}
    >>> apportion({"a": 97.0, "b": 2.0, "c": 1.0}, 4, method="adams")
    {'a': 2, 'b': 1, 'c': 1}
    >>> apportion({"a": 97.0, "b": 2.0, "c": 1.0}, 4, floors={"c": 2}, ceilings={"a": 1})
    {'a': 1, 'b': 1, 'c': 2}
    """
    chosen = checked_choice(Apportionment, "method", method)
    _check_whole("seats", seats)
    held = {}
    room = {}
    for key, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise RejectedInputError(field=f"weights[{key!r}]", value=weight, expected="a finite number of at least 0")
        held[key] = _bound("floors", floors, key, 0)
        room[key] = (_bound("ceilings", ceilings, key, seats) - held[key]) if weight > 0 else 0
    left = seats - sum(held.values())
    # Nobody has to be compared with anybody while there is enough for all.
    if left >= sum(more for more in room.values() if more > 0):
        return {key: count + max(room[key], 0) for key, count in held.items()}

    queue = [
        (-_priority(chosen, weights[key], count), -weights[key], _OrderedKey(key))
        for key, count in held.items()
        if room[key] > 0
    ]
    heapq.heapify(queue)
    for _ in range(left):
        key = queue[0][2].key
        held[key] += 1
        room[key] -= 1
        if room[key] > 0:
            priority = _priority(chosen, weights[key], held[key])
            heapq.heapreplace(queue, (-priority, -weights[key], queue[0][2]))
        else:
            heapq.heappop(queue)
    return held


def _priority(method: Apportionment, weight: float, held: int) -> float:
    match method:
        case Apportionment.WEBSTER:
            exact = weight / (2 * held + 1)
        case Apportionment.ADAMS:
            exact = weight / held if held else math.inf
        case _:
            assert_never(method)
    if exact == math.inf:
        return exact
    # Kept to about nine digits: 0.3 / 3 and 0.1 / 1 are a tie, whatever the last bits say. Rounding keeps the order,
    # so the method stays house-monotone.
    mantissa, exponent = math.frexp(exact)
    return math.ldexp(round(mantissa * 2**30), exponent - 30)


class _OrderedKey:
    """A key in a heap: compared as it is where it can be, otherwise by its text."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:  # noqa: ANN401 - any hashable
        self.key = key

    def __lt__(self, other: _OrderedKey) -> bool:
        try:
            return bool(self.key < other.key)
        except TypeError:
            return str(self.key) < str(other.key)


def _bound(field: str, bounds: Mapping[Key, int] | None, key: Key, default: int) -> int:
    if bounds is None or key not in bounds:
        return default
    _check_whole(f"{field}[{key!r}]", bounds[key])
    return bounds[key]


def _check_whole(field: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise RejectedInputError(field=field, value=value, expected="a whole number of at least 0")
