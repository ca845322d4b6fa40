"""The values that planning takes and gives: frozen, keyword-only, checked when they are made.

``Specification`` is what a user asks for, ``Observation`` what the store sees, ``TaskPlan`` what is to be done.
Terms are alchemiscale's: a *Task* is one repeat of a *Transformation*; it is *actioned* when it is on the network's
TaskHub, where compute services claim it; *cancelling* takes it off the TaskHub and leaves its status as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar, NewType

from alchemiscale_strategist.checks import check_whole_number, checked_choice, is_finite_number
from alchemiscale_strategist.errors import RejectedInputError
from alchemiscale_strategist.planning.tables import Tabular

__all__ = [
    "NetworkKey",
    "Observation",
    "Reason",
    "ResultsSeen",
    "Specification",
    "StrategyMode",
    "StrategyStatus",
    "TaskCreation",
    "TaskKey",
    "TaskPlan",
    "TaskRecord",
    "TaskScaling",
    "TaskStatus",
    "TransformationKey",
    "TransformationPlan",
    "TransformationState",
    "Weights",
]

NetworkKey = NewType("NetworkKey", str)
"""The key of a network, as the store has it."""

TransformationKey = NewType("TransformationKey", str)
"""The key of a Transformation, as the store has it."""

TaskKey = NewType("TaskKey", str)
"""The key of a Task."""

Weights = Mapping[TransformationKey, float | None]
"""What a Strategy proposes: ``None`` where its stop condition is met, otherwise a number of at least 0."""


class TaskStatus(StrEnum):
    """alchemiscale's Task statuses."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    ERROR = "error"
    INVALID = "invalid"
    DELETED = "deleted"

    @property
    def in_flight(self) -> bool:
        """Whether such a Task, if actioned, fills a target and a limit: it is waiting or running."""
        return self in _IN_FLIGHT


_IN_FLIGHT = frozenset({TaskStatus.WAITING, TaskStatus.RUNNING})


class StrategyMode(StrEnum):
    """What the service may do with a network; the user sets it."""

    FULL = "full"
    """Create, action and cancel Tasks."""
    PARTIAL = "partial"
    """Create and action Tasks, never cancel one."""
    DISABLED = "disabled"
    """Nothing at all; Tasks stay as they are."""


class StrategyStatus(StrEnum):
    """How the Strategy of a network is doing; the service sets it."""

    AWAKE = "awake"
    DORMANT = "dormant"
    ERROR = "error"


class TaskScaling(StrEnum):
    """How a weight becomes a count of Tasks: see :func:`~alchemiscale_strategist.weights_to_counts`."""

    LINEAR = "linear"
    EXPONENTIAL = "exponential"
    PROPORTIONAL = "proportional"


_MOST_TASKS = 10_000
_LONGEST_INTERVAL = timedelta(days=3650)  # so that no sum with a date can overflow


@dataclass(frozen=True, kw_only=True, slots=True)
class Specification:
    """What the user asks for, apart from the Strategy itself; alchemiscale's defaults.

    Args:
        mode: what the service may do.
        max_tasks_per_transformation: most Tasks of one Transformation actioned at once, 1 to 10,000.
        max_tasks_per_network: most Tasks of the network actioned at once, ≥ 1; ``None`` for no such limit.
        task_scaling: how weights become counts.
        extends_preference: fraction, 0 to 1, of the created Tasks that extend a completed one.
        sleep_interval: least time between two iterations, up to ten years; a number is taken as seconds.
        mode_before_pause: while it is paused, the mode to resume; ``None`` otherwise. See :meth:`paused`.

    Raises:
        RejectedInputError: names the field, its value and what would be right.

    Modes and scalings may be given as text:

    >>> Specification(mode="full", max_tasks_per_network=12)
    Specification(mode='full', max_tasks_per_transformation=3, max_tasks_per_network=12, task_scaling='exponential',
    extends_preference=0.0, sleep_interval=3600 s)
    >>> Specification(max_tasks_per_network=0)
    Traceback (most recent call last):
    ...
    alchemiscale_strategist.errors.RejectedInputError: max_tasks_per_network: got 0, expected a whole number of at
    least 1, or None for no limit
    """

    mode: StrategyMode = StrategyMode.PARTIAL
    max_tasks_per_transformation: int = 3
    max_tasks_per_network: int | None = None
    task_scaling: TaskScaling = TaskScaling.EXPONENTIAL
    extends_preference: float = 0.0
    sleep_interval: timedelta = timedelta(hours=1)
    mode_before_pause: StrategyMode | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "mode", checked_choice(StrategyMode, "mode", self.mode))
        put(self, "task_scaling", checked_choice(TaskScaling, "task_scaling", self.task_scaling))
        check_limits(self.max_tasks_per_transformation, self.max_tasks_per_network)
        # numpy's whole numbers are welcome, and become Python's.
        put(self, "max_tasks_per_transformation", int(self.max_tasks_per_transformation))
        if self.max_tasks_per_network is not None:
            put(self, "max_tasks_per_network", int(self.max_tasks_per_network))
        put(self, "extends_preference", _checked_fraction("extends_preference", self.extends_preference))
        put(self, "sleep_interval", _checked_interval("sleep_interval", self.sleep_interval))
        if self.mode is not StrategyMode.DISABLED:
            # Whoever sets a mode has resumed it.
            put(self, "mode_before_pause", None)
        elif self.mode_before_pause is not None:
            put(self, "mode_before_pause", checked_choice(StrategyMode, "mode_before_pause", self.mode_before_pause))

    def paused(self) -> Specification:
        """Return it disabled, remembering its mode; paused again, or disabled before, it stays as it is.

        >>> Specification(mode="full").paused().resumed().mode
        <StrategyMode.FULL: 'full'>
        """
        if self.mode is StrategyMode.DISABLED:
            return self
        return replace(self, mode=StrategyMode.DISABLED, mode_before_pause=self.mode)

    def resumed(self) -> Specification:
        """Return it in the mode that it had before the pause; not paused it stays as it is."""
        if self.mode_before_pause is None:
            return self
        return replace(self, mode=self.mode_before_pause, mode_before_pause=None)

    def __repr__(self) -> str:
        return (
            f"Specification(mode='{self.mode}', max_tasks_per_transformation={self.max_tasks_per_transformation}, "
            f"max_tasks_per_network={self.max_tasks_per_network}, task_scaling='{self.task_scaling}', "
            f"extends_preference={self.extends_preference}, "
            f"sleep_interval={self.sleep_interval.total_seconds():g} s)"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRecord:
    """One Task as the store sees it from one network.

    Args:
        key: the Task's key.
        status: alchemiscale's status.
        actioned: whether it is on *this* network's TaskHub (once or, as a race can leave it, several times).
        created: when it was made, with time zone.
        extends: the Task that it continues, if any.
        results: number of results stored for it, failures included.
        successful_results: how many of them are successful.
        claim_weight: the weight of its ACTIONS; compute services never claim a Task of weight 0.
    """

    key: TaskKey
    status: TaskStatus
    actioned: bool
    created: datetime
    extends: TaskKey | None = None
    results: int = 0
    successful_results: int = 0
    claim_weight: float = 0.5

    def __post_init__(self) -> None:
        if type(self.status) is not TaskStatus:
            object.__setattr__(self, "status", checked_choice(TaskStatus, "status", self.status))
        if self.created.tzinfo is None:
            raise RejectedInputError(field="created", value=self.created, expected="a time with its time zone")

    @property
    def in_flight(self) -> bool:
        """Whether it fills a place: actioned, and waiting or running."""
        return self.actioned and self.status.in_flight

    @property
    def can_be_extended(self) -> bool:
        """Whether alchemiscale can prepare an extension of it: complete, with exactly one result, a successful one."""
        return self.status is TaskStatus.COMPLETE and self.results == 1 and self.successful_results == 1


@dataclass(frozen=True, kw_only=True)
class TransformationState:
    """One Transformation with all its Tasks, whichever network made them.

    Args:
        key: the Transformation's key, as the store has it.
        name: what people call it; the key where there is none.
        tasks: its Tasks, each once, in any order.
        successful_results: number of its successful results.
        first_success: when the first of them came, with time zone; ``None`` while there is none.
    """

    key: TransformationKey
    name: str = ""
    tasks: tuple[TaskRecord, ...] = ()
    successful_results: int = 0
    first_success: datetime | None = None

    @cached_property
    def in_flight(self) -> tuple[TaskRecord, ...]:
        """Its Tasks that are actioned, and waiting or running: the ones that count."""
        return tuple(task for task in self.tasks if task.in_flight)

    @cached_property
    def blocked(self) -> bool:
        """Whether a Task is in error: nothing is created or actioned until a user or a restart policy clears it."""
        return any(task.status is TaskStatus.ERROR for task in self.tasks)


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultsSeen:
    """The successful results of a network, as far as noticing a change needs: their number and the newest time.

    The number alone would overlook one result that went while another came.
    """

    count: int = 0
    newest: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Observation(Tabular):
    """A network as the store sees it at one instant.

    Args:
        network: its key.
        transformations: every Transformation of the network, each once.
        results_seen: the number and newest time of its successful results.
    """

    table_columns: ClassVar = (
        "transformation",
        *(status.value for status in TaskStatus),
        "in_flight",
        "results",
        "blocked",
    )

    network: NetworkKey
    transformations: tuple[TransformationState, ...]
    results_seen: ResultsSeen = ResultsSeen()

    def __post_init__(self) -> None:
        if len(self.keys) != len(self.transformations):
            repeated = [key for key, count in Counter(state.key for state in self.transformations).items() if count > 1]
            raise RejectedInputError(field="transformations", value=repeated, expected="each Transformation only once")

    @cached_property
    def keys(self) -> frozenset[TransformationKey]:
        """The keys of its Transformations."""
        return frozenset(state.key for state in self.transformations)

    @property
    def in_flight(self) -> int:
        """How many of its Tasks are actioned, and waiting or running."""
        return sum(len(state.in_flight) for state in self.transformations)

    def __repr__(self) -> str:
        blocked = sum(state.blocked for state in self.transformations)
        return (
            f"<Observation of {self.network}: {len(self.transformations)} Transformations ({blocked} blocked), "
            f"{self.in_flight} Tasks in flight, {self.results_seen.count} successful results>"
        )

    def to_rows(self) -> list[dict[str, Any]]:
        """The observation as plain rows, one a Transformation: Tasks by status, those in flight, and results."""
        return [
            {
                "transformation": state.name or state.key,
                "key": state.key,
                **{status.value: sum(task.status is status for task in state.tasks) for status in TaskStatus},
                "in_flight": len(state.in_flight),
                "results": state.successful_results,
                "blocked": state.blocked,
            }
            for state in self.transformations
        ]


class Reason(StrEnum):
    """Why a Transformation is to have as many Tasks as its plan says: a closed set."""

    WEIGHT = "weight"
    NETWORK_LIMIT = "network_limit"
    KEPT = "kept"
    SATISFIED = "satisfied"
    ZERO_WEIGHT = "zero_weight"
    SMALL_WEIGHT = "small_weight"
    NO_WEIGHT = "no_weight"
    BLOCKED = "blocked"
    FINISHED = "finished"
    DISABLED = "disabled"

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return _SENTENCES[self]


_SENTENCES: Mapping[Reason, str] = {
    Reason.WEIGHT: "its weight asks for this many",
    Reason.NETWORK_LIMIT: "its weight asks for more than max_tasks_per_network leaves it",
    Reason.KEPT: "more are actioned than asked for, and partial mode cancels none",
    Reason.SATISFIED: "the Strategy has what it wants of it",
    Reason.ZERO_WEIGHT: "its weight is 0",
    Reason.SMALL_WEIGHT: "its weight rounds to no Task",
    Reason.NO_WEIGHT: "the Strategy gave it no weight, so it is left alone",
    Reason.BLOCKED: "a Task is in error: set it to waiting, invalid or deleted to go on",
    Reason.FINISHED: "the Strategy is satisfied with the whole network",
    Reason.DISABLED: "the mode is disabled",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskCreation:
    """A Task to be made and actioned; it continues ``extends`` where that is given."""

    extends: TaskKey | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformationPlan:
    """What is to happen to one Transformation, and why.

    Args:
        key: the Transformation's key.
        name: what people call it, or the key.
        weight: its normalized weight; ``None`` where the Strategy is satisfied or (reason ``no_weight``) gave none.
        have: Tasks in flight now.
        asks: Tasks that its weight asks for, before ``max_tasks_per_network`` and what may not be cancelled.
        want: Tasks in flight once the plan is applied.
        create: Tasks to make and action.
        action: existing Tasks to put on the TaskHub.
        cancel: Tasks to take off the TaskHub.
        reason: why ``want`` is what it is.
        unclaimable: waiting Tasks that will be in flight though no compute service can claim them.
    """

    key: TransformationKey
    name: str
    weight: float | None
    have: int
    asks: int = 0
    want: int
    create: tuple[TaskCreation, ...] = ()
    action: tuple[TaskKey, ...] = ()
    cancel: tuple[TaskKey, ...] = ()
    reason: Reason
    unclaimable: tuple[TaskKey, ...] = ()

    @property
    def why(self) -> str:
        """The reason in words, with its numbers."""
        match self.reason:
            case Reason.WEIGHT:
                return f"its weight asks for {self.asks}"
            case Reason.NETWORK_LIMIT:
                return f"its weight asks for {self.asks}, max_tasks_per_network leaves it {self.want}"
            case Reason.KEPT:
                return f"its weight asks for {self.asks}, {self.have} are actioned, and partial mode cancels none"
            case _:
                return self.reason.sentence

    @property
    def changes(self) -> bool:
        """Whether anything is created, actioned or cancelled."""
        return bool(self.create or self.action or self.cancel)


@dataclass(frozen=True, kw_only=True)
class TaskPlan(Tabular):
    """Everything that one pass is to do to a network; nothing in it is done yet.

    ``finished`` is true when every weight is ``None``: the Strategy has no more to ask. ``stalled`` tells why nothing
    can be done although the Strategy still asks (most frequent reason first), and is empty otherwise.

    It prints as a table, shows as one in a notebook, and ``to_dataframe()`` makes it a pandas DataFrame.
    """

    table_columns: ClassVar = ("transformation", "weight", "have", "want", "create", "action", "cancel", "reason")

    network: NetworkKey
    transformations: tuple[TransformationPlan, ...]
    finished: bool = False
    stalled: tuple[str, ...] = ()

    @property
    def created(self) -> int:
        """Number of Tasks to make and action."""
        return sum(len(row.create) for row in self.transformations)

    @property
    def actioned(self) -> int:
        """Number of existing Tasks to action."""
        return sum(len(row.action) for row in self.transformations)

    @property
    def cancelled(self) -> int:
        """Number of Tasks to cancel."""
        return sum(len(row.cancel) for row in self.transformations)

    @property
    def have(self) -> int:
        """Tasks in flight now."""
        return sum(row.have for row in self.transformations)

    @property
    def want(self) -> int:
        """Tasks in flight once the plan is applied."""
        return sum(row.want for row in self.transformations)

    @property
    def changes(self) -> tuple[TransformationPlan, ...]:
        """The Transformations to which something happens."""
        return tuple(row for row in self.transformations if row.changes)

    @property
    def unclaimable(self) -> tuple[TaskKey, ...]:
        """Waiting Tasks that hold a place though no compute service can claim them."""
        return tuple(task for row in self.transformations for task in row.unclaimable)

    def __iter__(self) -> Iterator[TransformationPlan]:
        return iter(self.transformations)

    def __len__(self) -> int:
        return len(self.transformations)

    def __getitem__(self, key: str) -> TransformationPlan:
        """The plan of one Transformation, by key or, where it is unique, by name."""
        if (row := self._by_key.get(key)) is not None:
            return row
        named = [row for row in self.transformations if row.name == key]
        if len(named) == 1:
            return named[0]
        problem = "several Transformations have that name: use a key" if named else "no such Transformation"
        raise KeyError(f"{key!r}: {problem}")

    @cached_property
    def _by_key(self) -> Mapping[str, TransformationPlan]:
        return {row.key: row for row in self.transformations}

    def __repr__(self) -> str:
        state = ", finished" if self.finished else ", stalled" if self.stalled else ""
        return (
            f"<TaskPlan for {self.network}: {len(self)} Transformations, {self.have} → {self.want} Tasks in flight "
            f"(create {self.created}, action {self.actioned}, cancel {self.cancelled}){state}>"
        )

    def to_rows(self) -> list[dict[str, Any]]:
        """The plan as plain rows, one a Transformation, ready for JSON."""
        return [
            {
                "transformation": row.name,
                "key": row.key,
                "weight": row.weight,
                "have": row.have,
                "asks": row.asks,
                "want": row.want,
                "create": len(row.create),
                "extend": sum(1 for creation in row.create if creation.extends is not None),
                "action": len(row.action),
                "cancel": len(row.cancel),
                "reason": row.reason.value,
                "why": row.why,
            }
            for row in self.transformations
        ]


def check_limits(max_tasks_per_transformation: object, max_tasks_per_network: object) -> None:
    """Raise :class:`RejectedInputError` unless both are limits: whole numbers ≥ 1, the second perhaps ``None``."""
    # A slip of the keyboard must not create a million Tasks.
    check_whole_number("max_tasks_per_transformation", max_tasks_per_transformation, least=1, most=_MOST_TASKS)
    check_whole_number("max_tasks_per_network", max_tasks_per_network, least=1, or_none="no limit")


def _checked_fraction(field: str, value: object) -> float:
    if is_finite_number(value) and 0 <= value <= 1:
        return float(value)
    raise RejectedInputError(field=field, value=value, expected="a number from 0 to 1")


def _checked_interval(field: str, value: object) -> timedelta:
    if is_finite_number(value) and 0 <= value <= _LONGEST_INTERVAL.total_seconds():
        return timedelta(seconds=float(value))
    if isinstance(value, timedelta) and timedelta(0) <= value <= _LONGEST_INTERVAL:
        return value
    most = int(_LONGEST_INTERVAL.total_seconds())
    raise RejectedInputError(field=field, value=value, expected=f"a number of seconds from 0 to {most} (ten years)")
