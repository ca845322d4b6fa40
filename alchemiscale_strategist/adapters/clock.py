"""Clocks: the machine's, and one that only moves when it is told to."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from alchemiscale_strategist.errors import RejectedInputError

__all__ = ["ManualClock", "SystemClock"]


class SystemClock:
    """The machine's clock, except that it stands still while the machine's is set back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        """Return the present time in UTC."""
        with self._lock:
            self._latest = max(self._latest, datetime.now(tz=UTC))
            return self._latest


class ManualClock:
    """A clock that stands still until it is moved; for tests and for simulated time.

    >>> clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    >>> clock.advance(timedelta(hours=1))
    >>> clock.now().isoformat()
    '2026-01-01T01:00:00+00:00'
    """

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """Return the time that it shows."""
        return self._now

    def advance(self, step: timedelta) -> None:
        """Move it forward."""
        self.move_to(self._now + step)

    def move_to(self, time: datetime) -> None:
        """Move it to ``time``, which must not lie in its past."""
        if time < self._now:
            raise RejectedInputError(field="time", value=time, expected=f"a time not before {self._now.isoformat()}")
        self._now = time
