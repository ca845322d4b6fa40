"""What the engine needs of the world, as Protocols: stores, results, a runner of proposals, a clock.

Every promise that the reconciler and the service rely on stands in these docstrings, and the contract suites in
:mod:`alchemiscale_strategist.testing` hold every adapter to them. Values given out never alias stored ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from alchemiscale_strategist.checks import can_be_encoded, checked_choice
from alchemiscale_strategist.errors import RejectedInputError, StrategyError, TransientError
from alchemiscale_strategist.networks import NetworkGraph
from alchemiscale_strategist.planning.health import StrategyHealth
from alchemiscale_strategist.planning.models import (
    NetworkKey,
    Observation,
    ResultsSeen,
    Specification,
    StrategyStatus,
    TaskKey,
    TaskPlan,
    TransformationKey,
    TransformationPlan,
    Weights,
)
from alchemiscale_strategist.results import NetworkResults

__all__ = [
    "Applied",
    "Claim",
    "ClaimedTask",
    "Clock",
    "ComputeStore",
    "GraphInputs",
    "IterationRecord",
    "ObservationSource",
    "PassEnding",
    "Postponed",
    "ProposalInputs",
    "ProposalRequest",
    "ProposalRunner",
    "ReconcileStore",
    "Released",
    "ResultSource",
    "SpecificationStore",
    "StrategyFailed",
    "StrategyKind",
    "StrategyPayload",
    "StrategyRecord",
    "TransformationChange",
]


class StrategyKind(StrEnum):
    """Where the code of a Strategy lives, hence what its ``content`` is."""

    NATIVE = "native"
    """Registered by name with this package; the content is a JSON object of settings."""
    GUFE = "gufe"
    """A stratocaster ``Strategy``; the content is its keyed chain. Never decoded outside a proposal runner."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StrategyPayload:
    """A Strategy as it is stored: not decoded, so not trusted and not run.

    >>> StrategyPayload.native("uniform", {"repeats": 2})
    StrategyPayload(kind='native', name='uniform', content='{"repeats": 2}')
    """

    kind: StrategyKind
    name: str
    content: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", checked_choice(StrategyKind, "kind", self.kind))
        for field, value in (("name", self.name), ("content", self.content)):
            if not can_be_encoded(value):
                expected = "text without half of a surrogate pair, which no database takes"
                raise RejectedInputError(field=field, value=value, expected=expected)

    @classmethod
    def native(cls, name: str, settings: Mapping[str, object] | None = None) -> StrategyPayload:
        """Return the payload of a native strategy; the settings are checked by whoever runs it."""
        try:
            content = json.dumps(dict(settings or {}), sort_keys=True, allow_nan=False)
        except (TypeError, ValueError):
            raise RejectedInputError(
                field="settings", value=settings, expected="plain numbers, texts and None"
            ) from None
        return cls(kind=StrategyKind.NATIVE, name=name, content=content)

    def settings(self) -> dict[str, object]:
        """Return a native strategy's settings.

        Raises:
            RejectedInputError: the content is no JSON object.
        """
        try:
            settings = json.loads(self.content)
        except (ValueError, RecursionError):
            settings = None
        if not isinstance(settings, dict):
            raise RejectedInputError(field="content", value=self.content, expected="a JSON object of settings")
        return settings

    def __repr__(self) -> str:
        return f"StrategyPayload(kind='{self.kind}', name={self.name!r}, content={self.content!r})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """The right to run one pass over one network, and all that the pass needs to know of it.

    Args:
        network: the network.
        owner: who holds the claim.
        fence: grows with every claim of the network; the greatest is the valid one.
        expires: when others may claim it, by the store's clock.
        generation: which edit of the specification the claim saw.
        strategy: the Strategy, not decoded.
        specification: what the user asked for at that generation.
        health: the service's own bookkeeping so far.
    """

    network: NetworkKey
    owner: str
    fence: int
    expires: datetime
    generation: int
    strategy: StrategyPayload
    specification: Specification
    health: StrategyHealth


@dataclass(frozen=True, kw_only=True, slots=True)
class StrategyRecord:
    """A network's Strategy as users read it: what they set, and how it is doing.

    Args:
        network: the network's key.
        network_name: what people call the network.
        strategy: the Strategy, not decoded.
        specification: what the user asked for; alchemiscale's default in place of what cannot be read.
        generation: grows with every edit.
        health: how it is doing.
        problems: what in the stored row cannot be read, as another program may have written it; it is not run then.
    """

    network: NetworkKey
    network_name: str
    strategy: StrategyPayload
    specification: Specification
    generation: int
    health: StrategyHealth
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformationChange:
    """What one iteration did to one Transformation, and why."""

    transformation: TransformationKey
    weight: float | None
    have: int
    want: int
    created: int
    actioned: int
    cancelled: int
    reason: str

    @classmethod
    def of(cls, row: TransformationPlan) -> TransformationChange:
        """Return what a row of a plan changes."""
        return cls(
            transformation=row.key,
            weight=row.weight,
            have=row.have,
            want=row.want,
            created=len(row.create),
            actioned=len(row.action),
            cancelled=len(row.cancel),
            reason=row.reason.value,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class IterationRecord:
    """One iteration in a network's history.

    Args:
        iteration: its number, from 1, since the Strategy was set.
        at: when it was applied.
        fence: of the claim that applied it.
        generation: of the specification that it saw.
        status: of the Strategy after it.
        results: successful results that its proposal saw.
        in_flight: Tasks in flight after it.
        changes: the Transformations to which something happened.
        stalled: why nothing could be done, if so.
        error: message of the Strategy's failure, or empty.
    """

    iteration: int
    at: datetime
    fence: int
    generation: int
    status: StrategyStatus
    results: int
    in_flight: int
    changes: tuple[TransformationChange, ...] = ()
    stalled: tuple[str, ...] = ()
    error: str = ""

    @classmethod
    def of(cls, claim: Claim, health: StrategyHealth, *, in_flight: int, plan: TaskPlan | None) -> IterationRecord:
        """Return the entry for a pass that ended with ``health``, having applied ``plan`` if any."""
        if health.last_iteration is None or health.last_iteration_result_count is None:
            raise RejectedInputError(field="health", value=health, expected="the health after an iteration")
        return cls(
            iteration=health.iterations,
            at=health.last_iteration,
            fence=claim.fence,
            generation=claim.generation,
            status=health.status,
            results=health.last_iteration_result_count,
            in_flight=in_flight,
            changes=tuple(TransformationChange.of(row) for row in plan.changes) if plan else (),
            stalled=health.stalled,
            error=health.error.message if health.error else "",
        )

    @property
    def created(self) -> int:
        """Number of Tasks created."""
        return sum(change.created for change in self.changes)

    @property
    def actioned(self) -> int:
        """Number of existing Tasks actioned."""
        return sum(change.actioned for change in self.changes)

    @property
    def cancelled(self) -> int:
        """Number of Tasks cancelled."""
        return sum(change.cancelled for change in self.changes)


@dataclass(frozen=True, kw_only=True, slots=True)
class StrategyFailed:
    """A pass ended because the Strategy failed on the results ``seen``: its status becomes ``error``."""

    error: StrategyError
    seen: ResultsSeen


@dataclass(frozen=True, kw_only=True, slots=True)
class Postponed:
    """A pass ended for a reason that is not the Strategy's: it is due again after ``retry_after``."""

    error: TransientError
    retry_after: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Released:
    """A claim is given back without a pass: the network stays as due as it was."""


PassEnding = StrategyFailed | Postponed | Released


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    """What a pass came to: the plan that was applied, the health after it, and its entry in the history."""

    plan: TaskPlan
    health: StrategyHealth
    record: IterationRecord


class ObservationSource(Protocol):
    """Where a network can be looked at; all that a preview needs of a store."""

    def observe(self, network: NetworkKey) -> Observation:
        """Read the network's Transformations and Tasks at one instant, Transformations in the network's order.

        Raises:
            UnknownNetworkError: there is no such network.
            TransientError: it cannot be read right now.
        """
        ...


class ReconcileStore(ObservationSource, Protocol):
    """What one pass needs of a store.

    Every method may raise :class:`TransientError`. It has then written nothing, or, where the fate of a commit is not
    known, everything: ``finish`` after it is safe, and raises :class:`SupersededError` if all was written.
    """

    def claim_due(
        self,
        *,
        owner: str,
        limit: int,
        lease: timedelta,
        minimum_interval: timedelta = timedelta(0),
        networks: Collection[NetworkKey] | None = None,
    ) -> Sequence[Claim]:
        """Claim at most ``limit`` networks that are due, the longest overdue first.

        Atomic: of several callers at once exactly one gets a network. A network is free when nobody holds it or its
        lease has expired by the store's clock. It is due after an edit (unless disabled or in error), and otherwise as
        :meth:`StrategyHealth.is_due` says, which for a dormant one means that its successful results changed.
        ``networks`` restricts the choice; ``None`` does not. No network due gives an empty sequence. A network whose
        stored Strategy or specification cannot be read gets the status ``error`` with the reason and is not claimed; it
        keeps nobody else from being claimed.
        """
        ...

    def apply(self, claim: Claim, decide: Callable[[Observation], TaskPlan], *, seen: ResultsSeen) -> Applied:
        """Lock the network, read it afresh, let ``decide`` plan on that, and commit everything together or nothing.

        Committed are the plan's Tasks, the health after an iteration that saw ``seen``, an entry in the history, and
        the end of the claim. ``decide`` must be pure: it may be called more than once, and its last plan is the one
        that is applied and returned. What it raises goes through, with nothing written.

        Raises:
            SupersededError: the claim's fence is not the greatest any more, or the specification was edited, replaced
                or dropped since the claim: nothing is written.
        """
        ...

    def finish(self, claim: Claim, ending: PassEnding) -> None:
        """End a claim whose pass applies nothing, and record why, in one transaction.

        Raises:
            SupersededError: as in :meth:`apply`; nothing is written.
        """
        ...


class SpecificationStore(Protocol):
    """What users set and read. Every edit bumps the generation, makes the network due, and is never lost or undone."""

    def set_strategy(self, network: NetworkKey, strategy: StrategyPayload, specification: Specification) -> None:
        """Attach a Strategy, in place of any other; health and history begin anew.

        Raises:
            UnknownNetworkError: there is no such network.
        """
        ...

    def edit_specification(self, network: NetworkKey, edit: Callable[[Specification], Specification]) -> Specification:
        """Replace the specification by what the pure function ``edit`` makes of it, atomically; return the new one.

        Strategy, iterations, history and error stay.

        Raises:
            UnknownNetworkError: there is no such network, or it has no Strategy.
        """
        ...

    def wake(self, network: NetworkKey) -> None:
        """Make the Strategy awake and due at once; clears its error.

        Raises:
            UnknownNetworkError: there is no such network, or it has no Strategy.
        """
        ...

    def drop_strategy(self, network: NetworkKey) -> None:
        """Detach the Strategy, with its history; Tasks stay as they are. Without a Strategy nothing happens.

        Raises:
            UnknownNetworkError: there is no such network.
        """
        ...

    def get_strategy(self, network: NetworkKey) -> StrategyRecord | None:
        """Return the network's Strategy with its health, or ``None`` where it has none.

        Raises:
            UnknownNetworkError: there is no such network.
        """
        ...

    def list_strategies(self) -> Sequence[StrategyRecord]:
        """Return all Strategies, by the network's name, then its key."""
        ...

    def iterations(
        self, network: NetworkKey, *, limit: int = 100, before: int | None = None
    ) -> Sequence[IterationRecord]:
        """Return the history, the newest first: at most ``limit``, of iterations with a number below ``before``.

        The history is bounded: very old iterations are gone.

        Raises:
            UnknownNetworkError: there is no such network.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphInputs:
    """A network and its successful results as values of ours, which is what native Strategies judge by."""

    network: NetworkGraph
    results: NetworkResults


ProposalInputs = GraphInputs
"""What a Strategy judges by: made by a :class:`ResultSource`, read by a :class:`ProposalRunner`, opaque in between."""


class ResultSource(Protocol):
    """Where the network itself and its successful results come from."""

    def inputs(self, network: NetworkKey, kind: StrategyKind) -> ProposalInputs:
        """Return what a Strategy of that kind judges by.

        The results include at least those that an earlier ``observe`` counted, in the order in which they came.

        Raises:
            UnknownNetworkError: there is no such network.
            TransientError: it cannot be read right now.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ProposalRequest:
    """A Strategy, and what it is to judge by."""

    strategy: StrategyPayload
    inputs: ProposalInputs


class ProposalRunner(Protocol):
    """Runs Strategies."""

    def propose(self, request: ProposalRequest) -> Weights:
        """Return the Strategy's weights as it gave them, not checked.

        Raises:
            StrategyError: the Strategy is unknown, its settings are wrong, or it failed; with its traceback.
            TransientError: the runner itself failed.
        """
        ...


class Clock(Protocol):
    """A source of the present time."""

    def now(self) -> datetime:
        """Return the present time, with time zone; it never goes backwards within a process."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimedTask:
    """A Task that a compute service has taken on.

    ``repeat`` counts the Tasks of its Transformation by age, from 0; ``extends`` is the Task that it continues.
    """

    task: TaskKey
    transformation: TransformationKey
    repeat: int
    extends: TaskKey | None = None


class ComputeStore(Protocol):
    """What compute services do on the embedded store, where there is no alchemiscale to do it."""

    def claim_task(self) -> ClaimedTask | None:
        """Set one claimable Task running and return it; ``None`` where there is none.

        Claimable is an actioned waiting Task of positive weight whose parent, if it extends one, is complete; the
        lowest priority number first, then the oldest, then by key.
        """
        ...

    def complete_task(self, task: TaskKey, *, estimate: float, uncertainty: float | None) -> None:
        """Store a successful result (kcal/mol); the running Task becomes complete and leaves every TaskHub.

        Raises:
            RejectedInputError: the Task is not running or unknown, a number is not finite, or the uncertainty negative.
        """
        ...

    def fail_task(self, task: TaskKey, *, restart: bool) -> None:
        """Store a failure; the running Task waits again, still actioned, or else is in error and leaves every TaskHub.

        That is what alchemiscale's restart patterns do while retries are left, and when they are not.

        Raises:
            RejectedInputError: the Task is not running or unknown.
        """
        ...
