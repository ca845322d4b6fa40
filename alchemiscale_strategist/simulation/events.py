"""Virtual time: a heap of things that are to happen, and a clock that jumps from one to the next."""

from __future__ import annotations

import heapq
from datetime import timedelta
from typing import Generic, TypeVar

from alchemiscale_strategist.adapters.clock import ManualClock

__all__ = ["EventQueue"]

Event = TypeVar("Event")


class EventQueue(Generic[Event]):
    """Events in order of time; those of the same instant in the order in which they were scheduled.

    >>> from datetime import UTC, datetime
    >>> clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    >>> queue = EventQueue[str](clock)
    >>> queue.schedule("late", after=timedelta(hours=2))
    >>> queue.schedule("soon", after=timedelta(hours=1))
    >>> queue.next(), clock.now().hour
    ('soon', 1)
    """

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._heap: list[tuple[timedelta, int, Event]] = []
        self._scheduled = 0
        self._start = clock.now()

    def __len__(self) -> int:
        return len(self._heap)

    def schedule(self, event: Event, *, after: timedelta) -> None:
        """Let an event happen that long after now."""
        at = self._clock.now() - self._start + after
        heapq.heappush(self._heap, (at, self._scheduled, event))
        self._scheduled += 1

    def next(self) -> Event | None:
        """Move the clock to the next event and return it; ``None`` where there is none."""
        if not self._heap:
            return None
        at, _, event = heapq.heappop(self._heap)
        self._clock.move_to(self._start + at)
        return event
