"""The health of a network's Strategy, and what passes and users make of it.

Every transition returns a new value; the time arrives as an argument. The mode and the sleep interval are the user's:
they are shown here, and no transition of the service changes them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from alchemiscale_strategist.errors import StrategyError, TransientError
from alchemiscale_strategist.planning.models import (
    ResultsSeen,
    Specification,
    StrategyMode,
    StrategyStatus,
    TaskKey,
    TaskPlan,
)

__all__ = ["Failure", "StrategyHealth", "retry_delay"]

_FIRST_RETRY = timedelta(seconds=5)
_LONGEST_RETRY = timedelta(minutes=10)
_LONGEST_MESSAGE = 2_000
_LONGEST_TRACEBACK = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """What went wrong: class and message of the exception, its traceback where there is one, and what to do."""

    type: str
    message: str
    traceback: str = ""
    remedy: str = ""

    @classmethod
    def from_error(cls, error: StrategyError | TransientError) -> Failure:
        """Describe an error."""
        # A Strategy may say megabytes; the head of a message and the tail of a traceback tell the most.
        message = _shortened(str(error), _LONGEST_MESSAGE)
        if not isinstance(error, StrategyError):
            return cls(type=type(error).__name__, message=message, remedy=error.remedy)
        details = error.details
        if len(details) > _LONGEST_TRACEBACK:
            details = f"…{details[-_LONGEST_TRACEBACK:]}"
        return cls(type=_shortened(error.error_type, 200), message=message, traceback=details, remedy=error.remedy)


@dataclass(frozen=True, kw_only=True)
class StrategyHealth:
    """How the Strategy of a network is doing; the first six fields are those of the design document.

    Args:
        mode: what the user allows.
        status: ``awake``, ``dormant`` (satisfied until results change) or ``error`` (its own failure; a user must act).
        iterations: passes that came to a proposal since the Strategy was set.
        sleep_interval: least time between two of them.
        last_iteration: when the last one ended, with time zone.
        last_iteration_result_count: successful results that its proposal saw.
        newest_result_seen: the newest of them; with their number it tells whether results have changed.
        error: the Strategy's failure, where the status is ``error``.
        retries: passes in a row that failed for reasons that are not the Strategy's.
        retry_at: when the next try is due, with time zone; ``None`` when nothing failed.
        last_failure: the last of those failures.
        stalled: why nothing can be done although the Strategy still asks; empty when all is well.
        unclaimable: waiting Tasks that hold a place though no compute service can claim them.

    >>> StrategyHealth()
    StrategyHealth(mode: 'partial', status: 'awake', iterations: 0, sleep_interval: 3600,
                   last_iteration: None, last_iteration_result_count: None)
    """

    mode: StrategyMode = StrategyMode.PARTIAL
    status: StrategyStatus = StrategyStatus.AWAKE
    iterations: int = 0
    sleep_interval: timedelta = timedelta(hours=1)
    last_iteration: datetime | None = None
    last_iteration_result_count: int | None = None
    newest_result_seen: datetime | None = None
    error: Failure | None = None
    retries: int = 0
    retry_at: datetime | None = None
    last_failure: Failure | None = None
    stalled: tuple[str, ...] = ()
    unclaimable: tuple[TaskKey, ...] = ()

    @property
    def results_seen(self) -> ResultsSeen | None:
        """The successful results that the last proposal saw; ``None`` before the first."""
        if self.last_iteration_result_count is None:
            return None
        return ResultsSeen(count=self.last_iteration_result_count, newest=self.newest_result_seen)

    def after_iteration(self, plan: TaskPlan, *, seen: ResultsSeen, now: datetime) -> StrategyHealth:
        """Return the health after a pass whose proposal saw ``seen`` and whose ``plan`` is applied."""
        return replace(
            self,
            **_iterated(self.iterations, seen, now),
            status=StrategyStatus.DORMANT if plan.finished else StrategyStatus.AWAKE,
            error=None,
            stalled=plan.stalled,
            unclaimable=plan.unclaimable,
        )

    def after_strategy_error(self, error: StrategyError, *, seen: ResultsSeen, now: datetime) -> StrategyHealth:
        """Return the health after the Strategy failed on the results ``seen``: ``error``, until a user acts."""
        return replace(
            self,
            **_iterated(self.iterations, seen, now),
            status=StrategyStatus.ERROR,
            error=Failure.from_error(error),
            stalled=(),
            unclaimable=(),
        )

    def after_transient_failure(self, error: TransientError, *, retry_at: datetime) -> StrategyHealth:
        """Return the health after a failure that is not the Strategy's; the status stays as it is."""
        return replace(self, retries=self.retries + 1, retry_at=retry_at, last_failure=Failure.from_error(error))

    def after_wake(self) -> StrategyHealth:
        """Return the health after a user woke it: awake, its error cleared."""
        return replace(
            self,
            status=StrategyStatus.AWAKE,
            error=None,
            retries=0,
            retry_at=None,
            last_failure=None,
            stalled=(),
            unclaimable=(),
        )

    def under(self, specification: Specification) -> StrategyHealth:
        """Return the same health, showing the mode and interval that the user asks for."""
        return replace(self, mode=specification.mode, sleep_interval=specification.sleep_interval)

    def is_due(self, results: ResultsSeen, *, now: datetime, minimum_interval: timedelta = timedelta(0)) -> bool:
        """Whether a pass is to run, given the network's successful ``results`` and the service's minimum interval.

        Stores decide this in their own language, and are held to what this says.
        A pass that failed is tried again at ``retry_at``, whatever the interval; a dormant one runs when its results
        have changed. An edit of the specification makes a network due at once, unless it is disabled or in error.
        """
        if self.mode is StrategyMode.DISABLED or self.status is StrategyStatus.ERROR:
            return False
        if self.retry_at is not None:
            return now >= self.retry_at
        interval = max(self.sleep_interval, minimum_interval)
        rested = self.last_iteration is None or now >= self.last_iteration + interval
        return rested and (self.status is StrategyStatus.AWAKE or results != self.results_seen)

    def __repr__(self) -> str:
        indent = ",\n" + " " * len("StrategyHealth(")
        fields = list(self.to_dict().items())
        first = ", ".join(f"{name}: {value!r}" for name, value in fields[:4])
        second = ", ".join(f"{name}: {value!r}" for name, value in fields[4:6])
        rest = [f"{name}: {value!r}" for name, value in fields[6:] if value]
        return f"StrategyHealth({indent.join([first, second, *rest])})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON: times as ISO 8601, the interval in seconds."""
        seconds = self.sleep_interval.total_seconds()
        return {
            "mode": self.mode.value,
            "status": self.status.value,
            "iterations": self.iterations,
            "sleep_interval": int(seconds) if seconds.is_integer() else seconds,
            "last_iteration": _iso(self.last_iteration),
            "last_iteration_result_count": self.last_iteration_result_count,
            "newest_result_seen": _iso(self.newest_result_seen),
            "error": _failure(self.error),
            "retries": self.retries,
            "retry_at": _iso(self.retry_at),
            "last_failure": _failure(self.last_failure),
            "stalled": list(self.stalled),
            "unclaimable": list(self.unclaimable),
        }


def retry_delay(retries: int, *, jitter: float) -> timedelta:
    """How long to wait after the failure that follows ``retries`` others: doubling, capped, between half and all of it.

    Args:
        retries: failures in a row before this one, ≥ 0.
        jitter: a random number from 0 to 1, so that services that failed together do not come back together.

    >>> [retry_delay(n, jitter=1.0).total_seconds() for n in (0, 1, 2, 50)]
    [5.0, 10.0, 20.0, 600.0]
    """
    # 2**7 · 5 s is past the cap already; a larger exponent could overflow.
    full = min(_FIRST_RETRY * (1 << min(retries, 7)), _LONGEST_RETRY)
    return full * (0.5 + jitter / 2)


def _iterated(iterations: int, seen: ResultsSeen, now: datetime) -> dict[str, Any]:
    return {
        "iterations": iterations + 1,
        "last_iteration": now,
        "last_iteration_result_count": seen.count,
        "newest_result_seen": seen.newest,
        "retries": 0,
        "retry_at": None,
        "last_failure": None,
    }


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _failure(failure: Failure | None) -> dict[str, str] | None:
    if failure is None:
        return None
    return {
        "type": failure.type,
        "message": failure.message,
        "traceback": failure.traceback,
        "remedy": failure.remedy,
    }
