"""The loop: claim what is due, run passes side by side, back off when the surroundings fail, stop when told to.

The service decides nothing about a network; that is the reconciler's. It only sees to it that passes are run in time,
that their number is bounded, and that whatever goes wrong in one of them stays there.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from alchemiscale_strategist.checks import check_whole_number
from alchemiscale_strategist.errors import (
    RejectedInputError,
    StrategistError,
    SupersededError,
    TransientError,
)
from alchemiscale_strategist.planning.health import retry_delay
from alchemiscale_strategist.ports import (
    Claim,
    Postponed,
    ProposalRunner,
    ReconcileStore,
    Released,
    ResultSource,
)
from alchemiscale_strategist.reconciler import PassOutcome, PassResult, run_pass

__all__ = ["EventLog", "Service", "ServiceSettings"]


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """How a service works.

    Args:
        passes: most passes at once, ≥ 1; as many as the runner has workers keeps claims from waiting.
        lease: how long a claim holds. Longer than any pass may take: one that outlives its lease is done in vain where
            somebody else has taken over.
        minimum_interval: least time between two iterations of a network, whatever its own interval.
        poll_interval: how long to wait before looking again when nothing was due.
    """

    passes: int = 4
    lease: timedelta = timedelta(minutes=5)
    minimum_interval: timedelta = timedelta(0)
    poll_interval: timedelta = timedelta(seconds=1)

    def __post_init__(self) -> None:
        check_whole_number("passes", self.passes, least=1)
        for field, value in (("lease", self.lease), ("poll_interval", self.poll_interval)):
            if not timedelta(0) < value <= timedelta(days=1):
                raise RejectedInputError(field=field, value=value, expected="more than nothing and at most a day")
        if not timedelta(0) <= self.minimum_interval <= timedelta(days=3650):
            raise RejectedInputError(
                field="minimum_interval", value=self.minimum_interval, expected="from nothing to ten years"
            )


class EventLog(Protocol):
    """Where the service tells what happens: an event's name, and values that belong to it."""

    def info(self, event: str, **values: object) -> object:
        """Tell something ordinary."""
        ...

    def warning(self, event: str, **values: object) -> object:
        """Tell something that an operator may want to look at."""
        ...

    def exception(self, event: str, **values: object) -> object:
        """Tell an unexpected exception, with its traceback."""
        ...


class Service:
    """Runs passes over whatever is due until it is told to stop.

    Args:
        store: claims, and what passes read and write.
        results: networks and their results.
        runner: runs proposals; safe to call from several threads.
        owner: a name for this service that no other has.
        log: where events go.
        jitter: gives random numbers from 0 to 1, so that services that failed together do not come back together.
        settings: how to work.
        cancel_proposals: called when the service is told to stop; makes running proposals end at once.
    """

    def __init__(
        self,
        *,
        store: ReconcileStore,
        results: ResultSource,
        runner: ProposalRunner,
        owner: str,
        log: EventLog,
        jitter: Callable[[], float],
        settings: ServiceSettings | None = None,
        cancel_proposals: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._results = results
        self._runner = runner
        self._owner = owner
        self._log = log
        self._jitter = jitter
        self._settings = settings or ServiceSettings()
        self._cancel_proposals = cancel_proposals
        self._stopping = False
        # Notified when a pass ends and when the service is to stop: whatever may let the loop go on.
        self._changed = threading.Condition()
        self._running: set[Future[None]] = set()
        self._ended_passes = 0
        self._failures = 0

    def stop(self) -> None:
        """Claim nothing more, end proposals, finish what is applying; :meth:`run` returns then. Safe in any thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def run(self) -> None:
        """Work until :meth:`stop` is called.

        Failures of the surroundings are waited out; anything that would go wrong again and again is raised.
        """
        self._log.info("service_started", owner=self._owner, **_plain(self._settings))
        with ThreadPoolExecutor(self._settings.passes, thread_name_prefix="pass") as pool:
            try:
                while not self._stopping:
                    # Counted before claiming: a pass that ends meanwhile must not be waited for.
                    ended = self._ended_passes
                    self._wait(self._claim(pool), ended)
            finally:
                self._stopping = True
                self._cancel_proposals()
        self._log.info("service_stopped", owner=self._owner)

    def _claim(self, pool: ThreadPoolExecutor) -> timedelta:
        """Start a pass for every network that is due and has a free place; return how long to wait after that."""
        free = self._settings.passes - len(self._running)
        if not free:
            # Woken by the first pass that ends.
            return self._settings.lease
        try:
            claims = self._store.claim_due(
                owner=self._owner,
                limit=free,
                lease=self._settings.lease,
                minimum_interval=self._settings.minimum_interval,
            )
        except TransientError as error:
            delay = retry_delay(self._failures, jitter=self._jitter())
            self._failures += 1
            self._log.warning("claim_failed", error=str(error), retry_after=delay.total_seconds())
            return delay
        self._failures = 0
        for claim in claims:
            future = pool.submit(self._pass, claim)
            with self._changed:
                self._running.add(future)
            future.add_done_callback(self._ended)
        return self._settings.poll_interval if len(claims) < free else self._settings.lease

    def _wait(self, longest: timedelta, ended: int) -> None:
        """Wait until a place is free, the service is to stop, or the time is over."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopping or self._ended_passes != ended, timeout=longest.total_seconds()
            )

    def _ended(self, future: Future[None]) -> None:
        with self._changed:
            self._running.discard(future)
            self._ended_passes += 1
            self._changed.notify_all()

    def _pass(self, claim: Claim) -> None:
        facts = {"pass_id": uuid.uuid4().hex[:12], "network": claim.network, "fence": claim.fence}
        if self._stopping:
            self._give_back(claim, Released(), facts)
            return
        self._log.info("pass_started", **facts, generation=claim.generation)
        try:
            outcome = run_pass(
                claim, store=self._store, results=self._results, runner=self._runner, jitter=self._jitter()
            )
        except Exception as error:  # noqa: BLE001 - the boundary of a pass: nothing in it may end the service
            self._log.exception("pass_broke", **facts)
            delay = retry_delay(claim.health.retries, jitter=self._jitter())
            broken = TransientError(f"unexpected {type(error).__name__}: {error}")
            self._give_back(claim, Postponed(error=broken, retry_after=delay), facts)
            return
        self._tell(outcome, facts)

    def _give_back(self, claim: Claim, ending: Released | Postponed, facts: Mapping[str, object]) -> None:
        try:
            self._store.finish(claim, ending)
        except (SupersededError, StrategistError) as error:
            # The lease runs out by itself.
            self._log.warning("claim_not_given_back", **facts, error=str(error))

    def _tell(self, outcome: PassOutcome, facts: Mapping[str, object]) -> None:
        values: dict[str, object] = {**facts, "result": outcome.result.value}
        if outcome.applied is not None:
            plan, health = outcome.applied.plan, outcome.applied.health
            values |= {
                "iteration": health.iterations,
                "status": health.status.value,
                "created": plan.created,
                "actioned": plan.actioned,
                "cancelled": plan.cancelled,
                "in_flight": plan.want,
            }
            if plan.stalled:
                values["stalled"] = list(plan.stalled)
        if outcome.error is not None:
            values["error"] = str(outcome.error)
        quiet = outcome.result in {PassResult.APPLIED, PassResult.SUPERSEDED, PassResult.RELEASED}
        (self._log.info if quiet else self._log.warning)("pass_ended", **values)


def _plain(settings: ServiceSettings) -> dict[str, Any]:
    return {
        "passes": settings.passes,
        "lease": settings.lease.total_seconds(),
        "minimum_interval": settings.minimum_interval.total_seconds(),
        "poll_interval": settings.poll_interval.total_seconds(),
    }
