"""Whole seats for fractional claims: divisor methods with floors and ceilings.

A divisor method hands out seats one by one, each to the party with the largest ``weight / d(k)``, where ``k`` is how
many it holds. So it is *house-monotone*: with one seat more nobody loses one. Source: M. L. Balinski and H. P. Young,
*Fair Representation* (1982); floors and ceilings as in Balinski and Young's treatment of minimum requirements.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable, Iterator, Mapping
from enum import StrEnum
from typing import Any, TypeVar, assert_never

from alchemiscale_strategist.checks import check_number, check_whole_number, checked_choice

__all__ = ["EQUAL_WITHIN", "Apportionment", "apportion", "apportion_equalized", "equalize_weights"]

EQUAL_WITHIN = 1e-9
"""Weights that differ by less than this, relative to the larger, are equal."""

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
    check_whole_number("seats", seats, least=0)
    for key, weight in weights.items():
        check_number(f"weights[{key!r}]", weight, least=0)
    for field, bounds in (("floors", floors or {}), ("ceilings", ceilings or {})):
        for key, bound in bounds.items():
            check_whole_number(f"{field}[{key!r}]", bound, least=0)
    equalized = equalize_weights(weights)
    held = apportion_equalized(equalized, seats, method=chosen, floors=floors or {}, ceilings=ceilings or {})
    return {key: held[key] for key in weights}


def apportion_equalized(
    weights: Mapping[Key, float],
    seats: int,
    *,
    floors: Mapping[Key, int],
    ceilings: Mapping[Key, int],
    method: Apportionment = Apportionment.WEBSTER,
) -> dict[Key, int]:
    """Apportion as :func:`apportion` does, what went through :func:`equalize_weights`; nothing is checked again."""
    held = {key: floors.get(key, 0) for key in weights}
    room = {key: (ceilings.get(key, seats) - held[key]) if weight > 0 else 0 for key, weight in weights.items()}
    left = seats - sum(held.values())
    # Nobody has to be compared with anybody while there is enough for all.
    if left >= sum(more for more in room.values() if more > 0):
        return {key: count + max(room[key], 0) for key, count in held.items()}
    for key in _order_of_seats(weights, held, room, method):
        if left <= 0:
            break
        held[key] += 1
        left -= 1
    return held


def _order_of_seats(
    weights: Mapping[Key, float], held: Mapping[Key, int], room: Mapping[Key, int], method: Apportionment
) -> Iterator[Key]:
    """Who gets the next seat, and the next, until there is no room: by priority, then weight, then key."""
    parties = [(key, weights[key], held[key], held[key] + room[key]) for key in held if room[key] > 0]
    queue = [(-_priority(method, weight, count), index, count) for index, (_, weight, count, _) in enumerate(parties)]
    heapq.heapify(queue)
    while queue:
        # Priorities that are equal but for rounding are a tie: they are taken out together and ordered anew.
        head = -queue[0][0]
        tied = []
        while queue and -queue[0][0] >= head * (1 - EQUAL_WITHIN):
            _, index, count = heapq.heappop(queue)
            tied.append((-parties[index][1], _OrderedKey(parties[index][0]), index, count + 1))
        tied.sort()
        for _, ordered, index, count in tied:
            yield ordered.key
            _, weight, _, most = parties[index]
            if count < most:
                heapq.heappush(queue, (-_priority(method, weight, count), index, count))


def _priority(method: Apportionment, weight: float, held: int) -> float:
    match method:
        case Apportionment.WEBSTER:
            return weight / (2 * held + 1)
        case Apportionment.ADAMS:
            return weight / held if held else math.inf
        case _:
            assert_never(method)


def equalize_weights(weights: Mapping[Key, float | None]) -> dict[Key, float]:
    """Drop ``None`` and give weights that are equal but for rounding the same value, the largest among them.

    >>> equalize_weights({"a": 0.1 + 0.2, "b": 0.3, "c": 0.4, "d": None})
    {'c': 0.4, 'a': 0.30000000000000004, 'b': 0.30000000000000004}
    """
    equalized: dict[Key, float] = {}
    head = math.inf
    for weight, key in sorted(((w, k) for k, w in weights.items() if w is not None), key=_by_weight, reverse=True):
        # Each is compared with the largest of its group, so a long chain of small steps cannot drift.
        if weight < head * (1 - EQUAL_WITHIN) or head == math.inf:
            head = weight
        equalized[key] = head
    return equalized


def _by_weight(pair: tuple[float, Key]) -> float:
    return pair[0]


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
