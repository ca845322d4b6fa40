"""What a suite needs to know of the store under test: the world around it, and networks and plans to try it with."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NewType, Protocol

import pytest

from alchemiscale_strategist.networks import NetworkGraph, NetworkTransformation
from alchemiscale_strategist.planning.models import (
    NetworkKey,
    Observation,
    Reason,
    TaskCreation,
    TaskKey,
    TaskPlan,
    TaskStatus,
    TransformationKey,
    TransformationPlan,
)
from alchemiscale_strategist.ports import ComputeStore, ReconcileStore, ResultSource, SpecificationStore

__all__ = [
    "ComputeWorld",
    "MovableClock",
    "ResultKey",
    "StoreContract",
    "StoreWorld",
    "StoredTask",
    "StrategyStore",
    "edge_between",
    "plan_of",
    "sharing_networks",
    "star_network",
]

ResultKey = NewType("ResultKey", str)
"""Names a stored result to the world that stored it."""


class MovableClock(Protocol):
    """A clock that stands still until a test moves it."""

    def now(self) -> datetime:
        """Return the time that it shows, with time zone."""
        ...

    def advance(self, step: timedelta) -> None:
        """Move it forward."""
        ...


class StrategyStore(ReconcileStore, SpecificationStore, Protocol):
    """A store that passes and users work on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredTask:
    """A Task as it is kept; ``actioned_on`` has the weight for every network on whose TaskHub it is."""

    transformation: TransformationKey
    status: TaskStatus
    priority: int
    extends: TaskKey | None
    actioned_on: Mapping[NetworkKey, float]


class StoreWorld(Protocol):
    """A store under test, and ways past it, straight to what it keeps.

    Nothing here but ``store``, ``source`` and what ``another_store`` returns may go through the adapter. Keys are those
    of the graphs that were added. Where a test gives no ``created``, it is the clock's time. Results may be added from
    another thread.
    """

    @property
    def store(self) -> StrategyStore:
        """The store."""
        ...

    @property
    def source(self) -> ResultSource:
        """Where its networks and results are read; the store itself, if it fulfils that port, too."""
        ...

    @property
    def clock(self) -> MovableClock:
        """The store's clock, and that of every other one on the same data."""
        ...

    @property
    def history_limit(self) -> int:
        """How many iterations of a network the store keeps; about ten do."""
        ...

    def another_store(self) -> StrategyStore:
        """Return a second store on the same data, as a second service would have; the world closes it."""
        ...

    def add_network(self, graph: NetworkGraph) -> NetworkKey:
        """Store a network without a Strategy."""
        ...

    def add_task(
        self,
        transformation: TransformationKey,
        *,
        status: TaskStatus = TaskStatus.WAITING,
        actioned_on: Collection[NetworkKey] = (),
        extends: TaskKey | None = None,
        created: datetime | None = None,
        claim_weight: float = 0.5,
        priority: int = 10,
    ) -> TaskKey:
        """Store a Task, as a user does."""
        ...

    def set_status(self, task: TaskKey, status: TaskStatus) -> None:
        """Change a Task's status and nothing else."""
        ...

    def add_result(
        self,
        transformation: TransformationKey,
        *,
        task: TaskKey | None = None,
        ok: bool = True,
        created: datetime | None = None,
        estimate: float = 0.0,
        uncertainty: float | None = None,
    ) -> ResultKey:
        """Store a result, or with ``ok=False`` a failure; energies in kcal/mol, which a failure may have, too."""
        ...

    def remove_result(self, result: ResultKey) -> None:
        """Take a result away again."""
        ...

    def tasks(self, network: NetworkKey) -> Mapping[TaskKey, StoredTask]:
        """Return the Tasks of all the network's Transformations."""
        ...

    def everything(self) -> object:
        """Return a value that equals an earlier one exactly if nothing at all was written in between."""
        ...


class ComputeWorld(StoreWorld, Protocol):
    """A world whose store has compute services of its own kind, as the embedded store has."""

    @property
    def compute(self) -> ComputeStore:
        """The store, as compute services see it."""
        ...

    def another_compute(self) -> ComputeStore:
        """Return a second store on the same data, as a second compute service would have; the world closes it."""
        ...


class StoreContract:
    """What all suites have in common: a subclass gives the world around its store."""

    @pytest.fixture
    def world(self) -> StoreWorld:
        """The world around the store under test."""
        raise NotImplementedError("a subclass of the contract gives a fixture `world`")


def star_network(spokes: int, *, name: str = "star") -> NetworkGraph:
    """Make a network of ``spokes`` Transformations, each from the centre to a state of its own.

    >>> star_network(3)
    <NetworkGraph star: 3 Transformations between 4 nodes, leg solvent>
    """
    edges = tuple(edge_between(f"{name}_{spokes}_{n}", "centre", f"state_{n}") for n in range(spokes))
    return NetworkGraph(
        name=name, key=NetworkKey(_scoped_key("AlchemicalNetwork", name, str(spokes))), transformations=edges
    )


def sharing_networks() -> tuple[NetworkGraph, NetworkGraph]:
    """Make two networks of two Transformations that have the first one in common.

    >>> left, right = sharing_networks()
    >>> [edge.name for edge in left if edge in right.transformations]
    ['shared']
    """
    shared = edge_between("shared", "a", "b")
    left, right = (
        NetworkGraph(
            name=name,
            key=NetworkKey(_scoped_key("AlchemicalNetwork", name)),
            transformations=(shared, edge_between(f"only_{name}", "a", name)),
        )
        for name in ("left", "right")
    )
    return left, right


def plan_of(
    observation: Observation,
    *,
    create: Mapping[TransformationKey, Sequence[TaskKey | None]] | None = None,
    action: Collection[TaskKey] = (),
    cancel: Collection[TaskKey] = (),
    finished: bool = False,
    stalled: tuple[str, ...] = (),
    unclaimable: tuple[TaskKey, ...] = (),
) -> TaskPlan:
    """Make the plan that does just this, and is consistent with the observation.

    Args:
        observation: what there is.
        create: for every Transformation that gets Tasks, what each of them extends.
        action: existing Tasks to action.
        cancel: actioned Tasks to cancel.
        finished: whether the Strategy has no more to ask.
        stalled: why nothing can be done.
        unclaimable: Tasks that hold a place and cannot be claimed.
    """
    rows = []
    for state in observation.transformations:
        made = tuple(TaskCreation(extends=parent) for parent in (create or {}).get(state.key, ()))
        on = tuple(task.key for task in state.tasks if task.key in action)
        off = tuple(task.key for task in state.tasks if task.key in cancel)
        have = len(state.in_flight)
        rows.append(
            TransformationPlan(
                key=state.key,
                name=state.name or state.key,
                weight=None if finished else 1.0,
                have=have,
                want=have + len(made) + len(on) - sum(task.key in off for task in state.in_flight),
                create=made,
                action=on,
                cancel=off,
                reason=Reason.FINISHED if finished else Reason.WEIGHT,
                unclaimable=tuple(task for task in unclaimable if task in {known.key for known in state.tasks}),
            )
        )
    return TaskPlan(network=observation.network, transformations=tuple(rows), finished=finished, stalled=stalled)


def _scoped_key(kind: str, *parts: str) -> str:
    """Return what looks like one of alchemiscale's scoped keys, so that stores which take them apart can."""
    return f"{kind}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}-contract-suite-store"


def edge_between(name: str, state_a: str, state_b: str) -> NetworkTransformation:
    """Make a Transformation whose key follows from its name."""
    key = TransformationKey(_scoped_key("Transformation", name))
    return NetworkTransformation(key=key, name=name, state_a=state_a, state_b=state_b, leg="solvent")
