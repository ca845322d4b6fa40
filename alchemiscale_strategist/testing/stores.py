"""What every store promises, as tests: claims, passes, what users set, and results.

The suites know no technology. They act through the ports, and see through a :class:`StoreWorld` what is really kept: a
store that tells of itself only what it should would pass any test that asks nobody else.
"""
# ruff: noqa: S101 - these are tests, though they ship

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NewType, NoReturn, Protocol

import pytest

from alchemiscale_strategist.errors import StrategyError, SupersededError, TransientError, UnknownNetworkError
from alchemiscale_strategist.networks import NetworkGraph, NetworkTransformation
from alchemiscale_strategist.planning.health import Failure, StrategyHealth
from alchemiscale_strategist.planning.models import (
    NetworkKey,
    Observation,
    Reason,
    ResultsSeen,
    Specification,
    StrategyMode,
    StrategyStatus,
    TaskCreation,
    TaskKey,
    TaskPlan,
    TaskRecord,
    TaskScaling,
    TaskStatus,
    TransformationKey,
    TransformationPlan,
    TransformationState,
)
from alchemiscale_strategist.planning.tasks import plan_task_changes
from alchemiscale_strategist.ports import (
    Claim,
    PassEnding,
    Postponed,
    ReconcileStore,
    Released,
    ResultSource,
    SpecificationStore,
    StrategyFailed,
    StrategyPayload,
    StrategyRecord,
)
from alchemiscale_strategist.results import Repeat

__all__ = [
    "MovableClock",
    "ReconcileStoreContract",
    "ResultKey",
    "ResultSourceContract",
    "SpecificationStoreContract",
    "StoreWorld",
    "StoredTask",
    "StrategyStore",
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


def star_network(spokes: int, *, name: str = "star") -> NetworkGraph:
    """Make a network of ``spokes`` Transformations, each from the centre to a state of its own.

    >>> star_network(3)
    <NetworkGraph star: 3 Transformations between 4 nodes, leg solvent>
    """
    edges = tuple(_edge(f"{name}_{spokes}_{n}", "centre", f"state_{n}") for n in range(spokes))
    return NetworkGraph(name=name, key=NetworkKey(_key("AlchemicalNetwork", name, str(spokes))), transformations=edges)


def sharing_networks() -> tuple[NetworkGraph, NetworkGraph]:
    """Make two networks of two Transformations that have the first one in common.

    >>> left, right = sharing_networks()
    >>> [edge.name for edge in left if edge in right.transformations]
    ['shared']
    """
    shared = _edge("shared", "a", "b")
    left, right = (
        NetworkGraph(
            name=name,
            key=NetworkKey(_key("AlchemicalNetwork", name)),
            transformations=(shared, _edge(f"only_{name}", "a", name)),
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


# Shorthands

_INSTANT = timedelta(microseconds=1)
_HOUR = timedelta(hours=1)
_LEASE = timedelta(minutes=7)
_INTERVAL = timedelta(hours=3)
_FULL = Specification(mode=StrategyMode.FULL, sleep_interval=_INTERVAL)
_STRATEGY = StrategyPayload.native("uniform", {"repeats": 2})
_OTHER_STRATEGY = StrategyPayload.native("connectivity", {"max_runs": 5})
_BROKEN = StrategyError("it raised", error_type="ZeroDivisionError", details="Traceback: line 1", remedy="mend it")
_AWAY = TransientError("the object store is away", remedy="wait")
_UNKNOWN = NetworkKey("AlchemicalNetwork-0123456789abcdef0123456789abcdef-no-such-network")
_SEEN_NOTHING = ResultsSeen()

_Edit = Callable[[StrategyStore, NetworkKey], object]


def _key(kind: str, *parts: str) -> str:
    """Looks like one of alchemiscale's scoped keys, so that stores which take them apart can."""
    return f"{kind}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}-contract-suite-store"


def _edge(name: str, state_a: str, state_b: str) -> NetworkTransformation:
    key = TransformationKey(_key("Transformation", name))
    return NetworkTransformation(key=key, name=name, state_a=state_a, state_b=state_b, leg="solvent")


def _managed(
    world: StoreWorld, graph: NetworkGraph | None = None, specification: Specification = _FULL
) -> tuple[NetworkKey, tuple[TransformationKey, ...]]:
    """A network with a Strategy, and the keys of its Transformations."""
    graph = graph or star_network(2)
    network = world.add_network(graph)
    world.store.set_strategy(network, _STRATEGY, specification)
    return network, tuple(edge.key for edge in graph)


def _due(world: StoreWorld, *, minimum_interval: timedelta = timedelta(0)) -> set[NetworkKey]:
    """What is due now; claimed to find out, and given back."""
    claims = world.store.claim_due(owner="asking", limit=10_000, lease=_LEASE, minimum_interval=minimum_interval)
    for claim in claims:
        world.store.finish(claim, Released())
    return {claim.network for claim in claims}


def _claim(world: StoreWorld, network: NetworkKey, *, owner: str = "first", lease: timedelta = _LEASE) -> Claim:
    (claim,) = world.store.claim_due(owner=owner, limit=10, lease=lease, networks=[network])
    return claim


def _record(world: StoreWorld, network: NetworkKey) -> StrategyRecord:
    record = world.store.get_strategy(network)
    assert record is not None
    return record


def _health(world: StoreWorld, network: NetworkKey) -> StrategyHealth:
    return _record(world, network).health


def _apply(world: StoreWorld, claim: Claim, decide: Callable[[Observation], TaskPlan] = plan_of) -> TaskPlan:
    """Apply on what a proposal made now would have seen."""
    return world.store.apply(claim, decide, seen=world.store.observe(claim.network).results_seen)


def _idle_pass(world: StoreWorld, network: NetworkKey) -> None:
    _apply(world, _claim(world, network))


def _finished(observation: Observation) -> TaskPlan:
    return plan_of(observation, finished=True)


def _made_dormant(world: StoreWorld, network: NetworkKey) -> None:
    _apply(world, _claim(world, network), _finished)


def _made_retrying(world: StoreWorld, network: NetworkKey) -> None:
    world.store.finish(_claim(world, network), Postponed(error=_AWAY, retry_after=timedelta(days=1)))


def _made_erroneous(world: StoreWorld, network: NetworkKey) -> None:
    world.store.finish(_claim(world, network), StrategyFailed(error=_BROKEN, seen=_SEEN_NOTHING))


def _edited(**changes: object) -> _Edit:
    def change(specification: Specification) -> Specification:
        return replace(specification, **changes)  # type: ignore[arg-type] # the callers name fields of it

    return lambda store, network: store.edit_specification(network, change)


def _unchanged(store: StrategyStore, network: NetworkKey) -> None:
    store.edit_specification(network, lambda specification: specification)


def _replaced(store: StrategyStore, network: NetworkKey) -> None:
    store.set_strategy(network, _OTHER_STRATEGY, Specification())


def _set_again(store: StrategyStore, network: NetworkKey) -> None:
    """The very same Strategy and specification: whoever compares values only overlooks it."""
    store.set_strategy(network, _STRATEGY, _FULL)


def _dropped_and_set_again(store: StrategyStore, network: NetworkKey) -> None:
    store.drop_strategy(network)
    store.set_strategy(network, _STRATEGY, _FULL)


def _paused_and_resumed(store: StrategyStore, network: NetworkKey) -> None:
    _edited(mode=StrategyMode.DISABLED)(store, network)
    _edited(mode=StrategyMode.FULL)(store, network)


_EDITS: Mapping[str, _Edit] = {
    "mode": _edited(mode=StrategyMode.PARTIAL),
    "limit of a Transformation": _edited(max_tasks_per_transformation=7),
    "limit of the network": _edited(max_tasks_per_network=9),
    "scaling": _edited(task_scaling=TaskScaling.PROPORTIONAL),
    "extends_preference": _edited(extends_preference=0.5),
    "interval": _edited(sleep_interval=timedelta(days=9)),
    "nothing": _unchanged,
    "wake": lambda store, network: store.wake(network),
    "replace": _replaced,
    "set again": _set_again,
    "drop and set again": _dropped_and_set_again,
    "pause and resume": _paused_and_resumed,
}
_ENDED_PASSES: Mapping[str, Callable[[StoreWorld, NetworkKey], None]] = {
    "awake": _idle_pass,
    "dormant": _made_dormant,
    "retrying": _made_retrying,
}


def _claimed_by_another(world: StoreWorld, claim: Claim) -> None:
    world.clock.advance(_LEASE)
    assert world.another_store().claim_due(owner="second", limit=10, lease=_LEASE, networks=[claim.network])


def _claimed_again_by_the_same(world: StoreWorld, claim: Claim) -> None:
    world.clock.advance(_LEASE)
    assert world.another_store().claim_due(owner=claim.owner, limit=10, lease=_LEASE)


def _taken_over_and_finished(world: StoreWorld, claim: Claim) -> None:
    _claimed_by_another(world, claim)
    world.clock.advance(_LEASE)
    (newer,) = world.store.claim_due(owner="third", limit=10, lease=_LEASE)
    world.store.finish(newer, Released())


def _superseding(edit: _Edit) -> Callable[[StoreWorld, Claim], object]:
    return lambda world, claim: edit(world.another_store(), claim.network)


_SUPERSEDED_BY: Mapping[str, Callable[[StoreWorld, Claim], object]] = {
    "claimed by another": _claimed_by_another,
    "claimed again under the same name": _claimed_again_by_the_same,
    "claimed by another, who has finished": _taken_over_and_finished,
    "applied": _apply,
    "released": lambda world, claim: world.store.finish(claim, Released()),
    "failed": lambda world, claim: world.store.finish(claim, StrategyFailed(error=_BROKEN, seen=_SEEN_NOTHING)),
    "postponed": lambda world, claim: world.store.finish(claim, Postponed(error=_AWAY, retry_after=_HOUR)),
    "dropped": lambda world, claim: world.another_store().drop_strategy(claim.network),
    **{f"edited: {name}": _superseding(edit) for name, edit in _EDITS.items()},
}
_ENDINGS: Mapping[str, PassEnding] = {
    "failed": StrategyFailed(error=_BROKEN, seen=_SEEN_NOTHING),
    "postponed": Postponed(error=_AWAY, retry_after=_HOUR),
    "released": Released(),
}


class ReconcileStoreContract:
    """What :class:`ReconcileStore` promises."""

    @pytest.fixture
    def world(self) -> StoreWorld:
        """The world around the store under test."""
        raise NotImplementedError("a subclass of the contract gives a fixture `world`")

    # What is due

    def test_a_network_without_a_strategy_is_never_due(self, world: StoreWorld) -> None:
        """Nobody asked for it."""
        world.add_network(star_network(2))
        assert _due(world) == set()
        world.clock.advance(timedelta(days=1000))
        assert _due(world) == set()

    def test_a_strategy_that_was_just_set_is_due(self, world: StoreWorld) -> None:
        """Whatever its interval and the service's."""
        network, _ = _managed(world)
        assert _due(world, minimum_interval=timedelta(days=1000)) == {network}

    def test_a_dropped_strategy_is_not_due(self, world: StoreWorld) -> None:
        """Nobody asks any more."""
        network, _ = _managed(world)
        world.store.drop_strategy(network)
        assert _due(world) == set()

    def test_a_claim_tells_all_that_the_pass_needs(self, world: StoreWorld) -> None:
        """What the user set, how it is doing, and until when the claim holds."""
        network, _ = _managed(world)
        _made_retrying(world, network)
        world.clock.advance(timedelta(days=1))
        record = _record(world, network)
        claim = _claim(world, network, owner="service 1 on host α")
        assert claim == Claim(
            network=network,
            owner="service 1 on host α",
            fence=claim.fence,
            expires=world.clock.now() + _LEASE,
            generation=record.generation,
            strategy=_STRATEGY,
            specification=_FULL,
            health=record.health,
        )
        assert claim.health.retries == 1

    def test_a_pass_that_applied_is_due_again_exactly_after_its_interval(self, world: StoreWorld) -> None:
        """And not an instant earlier."""
        network, _ = _managed(world)
        _idle_pass(world, network)
        assert _due(world) == set()
        world.clock.advance(_INTERVAL - _INSTANT)
        assert _due(world) == set()
        world.clock.advance(_INSTANT)
        assert _due(world) == {network}

    def test_the_longer_of_the_two_intervals_counts(self, world: StoreWorld) -> None:
        """The strategy's, and the service's minimum."""
        network, _ = _managed(world)
        _idle_pass(world, network)
        world.clock.advance(_INTERVAL)
        assert _due(world, minimum_interval=_INTERVAL + _INSTANT) == set()
        assert _due(world, minimum_interval=_INTERVAL) == {network}
        assert _due(world, minimum_interval=_INSTANT) == {network}
        world.clock.advance(_INSTANT)
        assert _due(world, minimum_interval=_INTERVAL + _INSTANT) == {network}

    @pytest.mark.parametrize("edit", _EDITS.values(), ids=_EDITS)
    @pytest.mark.parametrize("ended", _ENDED_PASSES.values(), ids=_ENDED_PASSES)
    def test_every_edit_makes_a_network_due_at_once(
        self, world: StoreWorld, ended: Callable[[StoreWorld, NetworkKey], None], edit: _Edit
    ) -> None:
        """Also where it is dormant, or waits for a retry; and only once."""
        network, _ = _managed(world)
        ended(world, network)
        assert _due(world) == set()
        edit(world.store, network)
        assert _due(world, minimum_interval=timedelta(days=30)) == {network}
        _idle_pass(world, network)
        assert _due(world) == set()

    @pytest.mark.parametrize("ending", ["failed", "postponed"])
    def test_a_pass_that_failed_takes_the_edit_as_seen(self, world: StoreWorld, ending: str) -> None:
        """Otherwise it would be due again and again without a rest."""
        network, _ = _managed(world)
        world.store.finish(_claim(world, network), _ENDINGS[ending])
        assert _due(world) == set()

    def test_a_disabled_network_is_never_due(self, world: StoreWorld) -> None:
        """Not after an edit, nor awakened, nor with new results; until a user enables it."""
        network, (first, *_) = _managed(world)
        _edited(mode=StrategyMode.DISABLED)(world.store, network)
        assert _due(world) == set()
        _edited(max_tasks_per_network=5)(world.store, network)
        world.store.wake(network)
        world.add_result(first)
        world.clock.advance(timedelta(days=1000))
        assert _due(world) == set()
        _edited(mode=StrategyMode.PARTIAL)(world.store, network)
        assert _due(world) == {network}

    def test_a_strategy_set_as_disabled_is_not_due(self, world: StoreWorld) -> None:
        """The first specification counts as any other."""
        _managed(world, specification=Specification(mode=StrategyMode.DISABLED))
        assert _due(world) == set()

    @pytest.mark.parametrize("edit", [_edited(max_tasks_per_network=3), _paused_and_resumed], ids=["edit", "pause"])
    def test_an_erroneous_network_is_not_due(self, world: StoreWorld, edit: _Edit) -> None:
        """Not after an edit, nor with new results, nor after any time."""
        network, (first, *_) = _managed(world)
        _made_erroneous(world, network)
        edit(world.store, network)
        world.add_result(first)
        world.clock.advance(timedelta(days=1000))
        assert _due(world) == set()
        assert _health(world, network).status is StrategyStatus.ERROR

    @pytest.mark.parametrize("edit", ["wake", "replace", "set again", "drop and set again"])
    def test_waking_or_replacing_ends_an_error(self, world: StoreWorld, edit: str) -> None:
        """These two, and nothing else."""
        network, _ = _managed(world)
        _made_erroneous(world, network)
        _EDITS[edit](world.store, network)
        assert _due(world) == {network}
        assert _health(world, network).status is StrategyStatus.AWAKE

    # Dormant networks

    def test_a_dormant_network_does_not_come_back_while_its_results_are_the_same(self, world: StoreWorld) -> None:
        """Whatever the time, the failures, the Tasks and what other networks have."""
        network, (first, *_) = _managed(world)
        _, (elsewhere, *_) = _managed(world, star_network(2, name="other"), Specification(mode=StrategyMode.DISABLED))
        world.add_result(first)
        _made_dormant(world, network)
        world.clock.advance(timedelta(days=1000))
        assert _due(world) == set()
        world.add_result(first, ok=False)
        world.add_result(elsewhere)
        world.add_task(first, status=TaskStatus.COMPLETE)
        assert _due(world) == set()

    @pytest.mark.parametrize("before", [0, 1, 2])
    def test_one_more_result_wakes_a_dormant_network(self, world: StoreWorld, before: int) -> None:
        """Even in the same instant as the newest."""
        network, (first, second) = _managed(world)
        for _ in range(before):
            world.add_result(first)
        _made_dormant(world, network)
        world.add_result(second)
        world.clock.advance(_INTERVAL)
        assert _due(world) == {network}

    @pytest.mark.parametrize("before", [1, 2, 3])
    def test_one_result_less_wakes_a_dormant_network(self, world: StoreWorld, before: int) -> None:
        """Even where the newest is still as old, or none is left."""
        network, (first, *_) = _managed(world)
        results = [world.add_result(first) for _ in range(before)]
        _made_dormant(world, network)
        world.remove_result(results[0])
        world.clock.advance(_INTERVAL)
        assert _due(world) == {network}

    def test_one_result_gone_and_one_come_wake_a_dormant_network(self, world: StoreWorld) -> None:
        """The number alone would overlook it."""
        network, (first, second) = _managed(world)
        result = world.add_result(first)
        _made_dormant(world, network)
        world.clock.advance(_INTERVAL)
        world.remove_result(result)
        world.add_result(second)
        assert _due(world) == {network}

    def test_results_that_changed_and_changed_back_wake_nobody(self, world: StoreWorld) -> None:
        """Levels count, not events."""
        network, (first, *_) = _managed(world)
        _made_dormant(world, network)
        world.remove_result(world.add_result(first))
        world.clock.advance(_INTERVAL)
        assert _due(world) == set()

    def test_a_dormant_network_rests_before_it_is_looked_at(self, world: StoreWorld) -> None:
        """Its own interval, or the service's where that is longer."""
        network, (first, *_) = _managed(world)
        _made_dormant(world, network)
        world.add_result(first)
        world.clock.advance(_INTERVAL - _INSTANT)
        assert _due(world) == set()
        world.clock.advance(_INSTANT)
        assert _due(world, minimum_interval=_INTERVAL + _INSTANT) == set()
        assert _due(world) == {network}

    def test_a_result_that_came_after_the_proposal_wakes_a_dormant_network(self, world: StoreWorld) -> None:
        """What the proposal saw counts, not what was there when its plan was applied."""
        network, (first, *_) = _managed(world)
        claim = _claim(world, network)
        seen = world.store.observe(network).results_seen
        world.add_result(first)
        world.store.apply(claim, _finished, seen=seen)
        world.clock.advance(_INTERVAL)
        assert _due(world) == {network}

    # Retries

    @pytest.mark.parametrize("before", [_idle_pass, _made_dormant], ids=["awake", "dormant"])
    def test_a_postponed_pass_is_due_exactly_at_its_retry(
        self, world: StoreWorld, before: Callable[[StoreWorld, NetworkKey], None]
    ) -> None:
        """Whatever the intervals, and for a dormant network whatever its results are by then."""
        network, (first, *_) = _managed(world)
        before(world, network)
        result = world.add_result(first)
        world.clock.advance(_INTERVAL)
        world.store.finish(_claim(world, network), Postponed(error=_AWAY, retry_after=_HOUR))
        world.remove_result(result)
        world.clock.advance(_HOUR - _INSTANT)
        assert _due(world) == set()
        world.clock.advance(_INSTANT)
        assert _due(world, minimum_interval=timedelta(days=1000)) == {network}

    def test_a_retry_may_be_later_than_the_interval(self, world: StoreWorld) -> None:
        """The back-off is not cut short."""
        network, _ = _managed(world)
        _idle_pass(world, network)
        world.clock.advance(_INTERVAL)
        world.store.finish(_claim(world, network), Postponed(error=_AWAY, retry_after=timedelta(days=9)))
        world.clock.advance(timedelta(days=9) - _INSTANT)
        assert _due(world) == set()

    def test_due_is_what_the_health_says(self, world: StoreWorld) -> None:
        """For every way in which a pass can end, every change of the results, every mode and many times."""
        ends: list[Callable[[StoreWorld, NetworkKey], None]] = [*_ENDED_PASSES.values(), _made_erroneous]
        networks: list[NetworkKey] = []
        for end in ends:
            for change in ("none", "more", "other"):
                for mode in (StrategyMode.FULL, StrategyMode.DISABLED):
                    graph = star_network(2, name=f"{end.__name__} {change} {mode}")
                    network, (first, second) = _managed(world, graph, replace(_FULL, mode=StrategyMode.PARTIAL))
                    result = world.add_result(first)
                    end(world, network)
                    if mode is StrategyMode.DISABLED:
                        _edited(mode=mode)(world.store, network)
                    world.clock.advance(_INSTANT)
                    if change == "other":
                        world.remove_result(result)
                    if change != "none":
                        world.add_result(second)
                    networks.append(network)
        seen_due = set()
        for step in (timedelta(0), _INTERVAL - _HOUR, _HOUR, _HOUR, timedelta(days=2)):
            world.clock.advance(step)
            for minimum in (timedelta(0), _INTERVAL + _HOUR):
                now = world.clock.now()
                expected = {
                    network
                    for network in networks
                    if _health(world, network).is_due(
                        world.store.observe(network).results_seen, now=now, minimum_interval=minimum
                    )
                }
                assert _due(world, minimum_interval=minimum) == expected
                seen_due.add(len(expected))
        assert len(seen_due) >= 3  # or the cases would tell little

    # Who gets what

    def test_only_one_of_two_owners_gets_a_network(self, world: StoreWorld) -> None:
        """The other one gets nothing, and no error."""
        network, _ = _managed(world)
        claim = _claim(world, network, owner="first")
        assert list(world.another_store().claim_due(owner="second", limit=10, lease=_LEASE)) == []
        # Nor does the first get it twice.
        assert list(world.store.claim_due(owner="first", limit=10, lease=_LEASE)) == []
        _apply(world, claim)

    def test_a_lease_holds_until_the_instant_at_which_it_expires(self, world: StoreWorld) -> None:
        """From then on others may claim the network."""
        network, _ = _managed(world)
        claim = _claim(world, network)
        world.clock.advance(_LEASE - _INSTANT)
        assert list(world.another_store().claim_due(owner="second", limit=10, lease=_LEASE)) == []
        world.clock.advance(_INSTANT)
        (newer,) = world.another_store().claim_due(owner="second", limit=10, lease=_HOUR)
        assert (newer.owner, newer.expires) == ("second", world.clock.now() + _HOUR)
        assert newer.fence > claim.fence

    @pytest.mark.parametrize("edit", _EDITS.values(), ids=_EDITS)
    def test_an_edit_does_not_wait_for_the_lease(self, world: StoreWorld, edit: _Edit) -> None:
        """The pass that runs is superseded anyway."""
        network, _ = _managed(world)
        claim = _claim(world, network)
        edit(world.store, network)
        assert _claim(world, network, owner="second").fence > claim.fence

    def test_the_fence_grows_with_every_claim(self, world: StoreWorld) -> None:
        """However the last one ended; it survives the Strategy, too."""
        network, _ = _managed(world)
        fences = [_claim(world, network).fence]
        world.clock.advance(_LEASE)
        claim = _claim(world, network)
        fences.append(claim.fence)
        world.store.finish(claim, Released())
        claim = _claim(world, network)
        fences.append(claim.fence)
        _apply(world, claim)
        _replaced(world.store, network)
        fences.append(_claim(world, network).fence)
        _dropped_and_set_again(world.store, network)
        fences.append(_claim(world, network).fence)
        assert fences == sorted(set(fences))

    def test_no_more_than_the_limit_are_claimed(self, world: StoreWorld) -> None:
        """And none twice."""
        networks = {_managed(world, star_network(1, name=f"n{n}"))[0] for n in range(5)}
        batches = [world.store.claim_due(owner="first", limit=2, lease=_LEASE) for _ in range(4)]
        assert [len(batch) for batch in batches] == [2, 2, 1, 0]
        assert {claim.network for batch in batches for claim in batch} == networks
        assert list(world.store.claim_due(owner="first", limit=0, lease=_LEASE)) == []

    def test_a_claim_writes_nothing_where_nothing_is_due(self, world: StoreWorld) -> None:
        """Services ask every second."""
        network, _ = _managed(world)
        _made_dormant(world, network)
        world.clock.advance(_HOUR)
        before = world.everything()
        assert _due(world) == set()
        assert world.everything() == before

    def test_only_the_networks_named_are_claimed(self, world: StoreWorld) -> None:
        """``None`` names all, an empty collection none, and unknown keys do no harm."""
        a, b, c = (_managed(world, star_network(1, name=name))[0] for name in "abc")

        def claimed(networks: Collection[NetworkKey] | None) -> set[NetworkKey]:
            claims = world.store.claim_due(owner="first", limit=10, lease=_LEASE, networks=networks)
            return {claim.network for claim in claims}

        assert claimed([]) == set()
        assert claimed([_UNKNOWN]) == set()
        assert claimed((b, _UNKNOWN)) == {b}
        assert claimed(frozenset({a, b})) == {a}
        assert claimed(None) == {c}

    @pytest.mark.parametrize("limit", [1, 10])
    def test_the_longest_overdue_comes_first(self, world: StoreWorld, limit: int) -> None:
        """Among the claims of one call, and from call to call."""
        order = "dbeca"
        networks = {name: _managed(world, star_network(1, name=name))[0] for name in sorted(order)}
        for name in order:
            _idle_pass(world, networks[name])
            world.clock.advance(_HOUR)
        world.clock.advance(timedelta(days=1))
        assert _claimed_in_order(world, limit=limit) == [networks[name] for name in order]

    @pytest.mark.parametrize("limit", [1, 10])
    @pytest.mark.parametrize("names", ["abc", "cba", "bca"])
    def test_a_retry_takes_its_place_by_when_it_was_due(self, world: StoreWorld, names: str, limit: int) -> None:
        """Not in front of all others, nor behind them."""
        late, retry, early = (_managed(world, star_network(1, name=name))[0] for name in names)
        _idle_pass(world, early)
        world.clock.advance(timedelta(hours=2))
        _idle_pass(world, late)
        # early is due at 3 h, the retry at 4 h, late at 5 h.
        world.store.finish(_claim(world, retry), Postponed(error=_AWAY, retry_after=timedelta(hours=2)))
        world.clock.advance(timedelta(days=1))
        assert _claimed_in_order(world, limit=limit) == [early, retry, late]

    def test_own_intervals_count_for_who_is_longest_overdue(self, world: StoreWorld) -> None:
        """A short interval makes due earlier."""
        patient, _ = _managed(world, star_network(1, name="a"), replace(_FULL, sleep_interval=timedelta(hours=9)))
        eager, _ = _managed(world, star_network(1, name="b"), replace(_FULL, sleep_interval=timedelta(hours=1)))
        _idle_pass(world, patient)
        world.clock.advance(_HOUR)
        _idle_pass(world, eager)
        world.clock.advance(timedelta(days=1))
        assert _claimed_in_order(world, limit=1) == [eager, patient]

    def test_the_minimum_interval_counts_for_who_is_longest_overdue(self, world: StoreWorld) -> None:
        """Where it is the longer one, the network whose last iteration is older has waited longer."""
        older, _ = _managed(world, star_network(1, name="b"), replace(_FULL, sleep_interval=timedelta(hours=9)))
        newer, _ = _managed(world, star_network(1, name="a"), replace(_FULL, sleep_interval=timedelta(hours=1)))
        _idle_pass(world, older)
        world.clock.advance(_HOUR)
        _idle_pass(world, newer)
        world.clock.advance(timedelta(days=2))
        assert _claimed_in_order(world, limit=1, minimum_interval=timedelta(days=1)) == [older, newer]

    def test_several_services_claim_every_network_exactly_once(self, world: StoreWorld) -> None:
        """However they run into each other."""
        networks = {_managed(world, star_network(1, name=f"n{n}"))[0] for n in range(50)}
        stores = [world.another_store() for _ in range(4)]

        def claim_all(number: int) -> list[Claim]:
            claims: list[Claim] = []
            while batch := stores[number].claim_due(owner=f"service {number}", limit=3, lease=_LEASE):
                claims += batch
            return claims

        with ThreadPoolExecutor(len(stores)) as pool:
            claims = [claim for batch in pool.map(claim_all, range(len(stores))) for claim in batch]
        assert Counter(claim.network for claim in claims) == Counter(networks)
        for claim in claims:
            _apply(world, claim)

    # Observing

    def test_an_observation_is_what_is_kept(self, world: StoreWorld) -> None:
        """Every Transformation in the network's order, with every Task whoever made it, as seen from this network."""
        left, right = sharing_networks()
        here, there = world.add_network(left), world.add_network(right)
        shared, own = (edge.key for edge in left)
        start = world.clock.now()
        world.clock.advance(_HOUR)
        parent = world.add_task(shared, status=TaskStatus.COMPLETE, created=start)
        child = world.add_task(shared, extends=parent, actioned_on=[here, there], claim_weight=0.25)
        foreign = world.add_task(shared, status=TaskStatus.RUNNING, actioned_on=[there])
        failed = world.add_task(own, status=TaskStatus.ERROR, actioned_on=[here], claim_weight=0.0)
        world.add_result(shared, task=parent, created=start)
        world.add_result(shared, created=start + _INSTANT)
        world.add_result(own, task=failed, ok=False)
        world.add_result(own, task=failed, ok=False)
        now = world.clock.now()

        seen = world.store.observe(here)
        assert seen.network == here
        assert seen.results_seen == ResultsSeen(count=2, newest=start + _INSTANT)
        first, second = seen.transformations
        assert (first.key, first.name, second.key, second.name) == (shared, "shared", own, "only_left")
        assert (first.successful_results, first.first_success) == (2, start)
        assert (second.successful_results, second.first_success) == (0, None)
        assert {task.key: task for task in first.tasks} == {
            parent: TaskRecord(
                key=parent,
                status=TaskStatus.COMPLETE,
                actioned=False,
                created=start,
                results=1,
                successful_results=1,
            ),
            child: TaskRecord(
                key=child, status=TaskStatus.WAITING, actioned=True, created=now, extends=parent, claim_weight=0.25
            ),
            foreign: TaskRecord(key=foreign, status=TaskStatus.RUNNING, actioned=False, created=now),
        }
        assert second.tasks == (
            TaskRecord(key=failed, status=TaskStatus.ERROR, actioned=True, created=now, results=2, claim_weight=0.0),
        )

    @pytest.mark.parametrize("status", list(TaskStatus))
    def test_every_status_is_seen(self, world: StoreWorld, status: TaskStatus) -> None:
        """As it is kept now."""
        network, (first, *_) = _managed(world)
        task = world.add_task(first)
        world.set_status(task, status)
        assert _task_seen(world, network, task).status is status

    def test_transformations_come_in_the_order_of_the_network(self, world: StoreWorld) -> None:
        """Not in that of their keys or names."""
        edges = tuple(reversed(star_network(30).transformations))
        network = world.add_network(NetworkGraph(name="n", key=star_network(30).key, transformations=edges))
        observed = world.store.observe(network)
        assert [state.key for state in observed.transformations] == [edge.key for edge in edges]

    def test_observing_writes_nothing(self, world: StoreWorld) -> None:
        """Previews do it as they like."""
        network, _ = _managed(world)
        before = world.everything()
        world.store.observe(network)
        assert world.everything() == before

    def test_an_observation_never_shows_half_of_a_pass(self, world: StoreWorld) -> None:
        """Another service applies plans meanwhile, each with one Task for every Transformation."""
        network, keys = _managed(world, star_network(20))
        writer = world.another_store()
        passes = 15

        def keep_adding() -> None:
            for _ in range(passes):
                writer.wake(network)
                (claim,) = writer.claim_due(owner="writer", limit=1, lease=_LEASE)
                writer.apply(
                    claim, lambda fresh: plan_of(fresh, create={key: [None] for key in keys}), seen=_SEEN_NOTHING
                )

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(keep_adding)
            while not writing.done():
                observed = world.store.observe(network)
                assert len({len(state.in_flight) for state in observed.transformations}) == 1
            writing.result()
        assert world.store.observe(network).in_flight == passes * len(keys)

    def test_an_observation_is_of_one_instant(self, world: StoreWorld) -> None:
        """Results come in meanwhile: those of the Tasks, of the Transformations and of the network stay in step."""
        network, keys = _managed(world, star_network(50))
        tasks = {key: world.add_task(key, status=TaskStatus.COMPLETE) for key in keys}
        each = 6

        def keep_computing() -> None:
            for _ in range(each):
                for key, task in tasks.items():
                    world.add_result(key, task=task)

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(keep_computing)
            while not writing.done():
                observed = world.store.observe(network)
                for state in observed.transformations:
                    assert state.successful_results == sum(task.successful_results for task in state.tasks)
                total = sum(state.successful_results for state in observed.transformations)
                assert observed.results_seen.count == total
            writing.result()
        assert world.store.observe(network).results_seen.count == each * len(keys)

    def test_an_unknown_network_cannot_be_observed(self, world: StoreWorld) -> None:
        """It is named."""
        with pytest.raises(UnknownNetworkError, match="no-such-network"):
            world.store.observe(_UNKNOWN)

    # Applying

    def test_tasks_health_and_history_are_committed_together(self, world: StoreWorld) -> None:
        """With the plan that was applied as the answer, and the claim at its end."""
        network, (first, second) = _managed(world)
        old = world.add_task(first, actioned_on=[network])
        idle = world.add_task(second)
        world.add_result(first)
        claim = _claim(world, network)
        observed = world.store.observe(network)
        world.clock.advance(timedelta(minutes=1))

        def decide(fresh: Observation) -> TaskPlan:
            return plan_of(
                fresh,
                create={second: [None, None]},
                action=[idle],
                cancel=[old],
                stalled=("1 × why",),
                unclaimable=(idle,),
            )

        plan = world.store.apply(claim, decide, seen=observed.results_seen)

        assert plan == decide(observed)
        tasks = world.tasks(network)
        assert {key for key, task in tasks.items() if network in task.actioned_on} == set(tasks) - {old}
        assert len(tasks) == 4
        health = _health(world, network)
        assert health == replace(
            claim.health,
            iterations=1,
            last_iteration=world.clock.now(),
            last_iteration_result_count=1,
            newest_result_seen=observed.results_seen.newest,
            stalled=("1 × why",),
            unclaimable=(idle,),
        )
        (entry,) = world.store.iterations(network)
        assert (entry.iteration, entry.at, entry.fence) == (1, world.clock.now(), claim.fence)
        assert (entry.generation, entry.status, entry.results) == (claim.generation, StrategyStatus.AWAKE, 1)
        assert (entry.in_flight, entry.stalled, entry.error) == (3, ("1 × why",), "")
        assert (entry.created, entry.actioned, entry.cancelled) == (2, 1, 1)
        one, two = entry.changes
        assert (one.transformation, one.have, one.want, one.cancelled) == (first, 1, 0, 1)
        assert (two.transformation, two.have, two.want, two.created, two.actioned) == (second, 0, 3, 2, 1)
        assert (two.weight, two.reason) == (1.0, "weight")
        # The claim is at its end: the network can be claimed as soon as it is due.
        world.clock.advance(_INTERVAL)
        assert _due(world) == {network}

    def test_created_tasks_are_as_a_user_would_have_made_them(self, world: StoreWorld) -> None:
        """Waiting, of priority 10, actioned on this network with weight 0.5, extending what the plan says."""
        left, right = sharing_networks()
        network, (shared, own) = _managed(world, left)
        other = world.add_network(right)
        parent = world.add_task(shared, status=TaskStatus.COMPLETE)
        world.clock.advance(_HOUR)
        _apply(
            world, _claim(world, network), lambda fresh: plan_of(fresh, create={shared: [None, parent], own: [None]})
        )

        new = {key: task for key, task in world.tasks(network).items() if key != parent}
        assert len(new) == 3
        for task in new.values():
            assert (task.status, task.priority) == (TaskStatus.WAITING, 10)
            assert dict(task.actioned_on) == {network: 0.5}
        assert Counter((task.transformation, task.extends) for task in new.values()) == Counter(
            [(shared, None), (shared, parent), (own, None)]
        )
        seen = [task for state in world.store.observe(network).transformations for task in state.tasks]
        assert {task.created for task in seen if task.key != parent} == {world.clock.now()}
        assert other not in {on for task in world.tasks(other).values() for on in task.actioned_on}

    @pytest.mark.parametrize("status", list(TaskStatus))
    def test_actioning_and_cancelling_leave_a_task_as_it_is(self, world: StoreWorld, status: TaskStatus) -> None:
        """Status, priority and all; only ACTIONS come and go."""
        network, (first, *_) = _managed(world)
        on = world.add_task(first, status=status, actioned_on=[network], claim_weight=0.75)
        off = world.add_task(first, status=status, extends=on)
        before = world.tasks(network)
        _apply(world, _claim(world, network), lambda fresh: plan_of(fresh, action=[off], cancel=[on]))
        assert world.tasks(network) == {
            on: replace(before[on], actioned_on={}),
            off: replace(before[off], actioned_on={network: 0.5}),
        }

    def test_a_task_that_is_neither_actioned_nor_cancelled_keeps_its_weight(self, world: StoreWorld) -> None:
        """A user may have set it."""
        network, (first, second) = _managed(world)
        kept = world.add_task(first, actioned_on=[network], claim_weight=0.875)
        _apply(world, _claim(world, network), lambda fresh: plan_of(fresh, create={first: [None], second: [None]}))
        assert world.tasks(network)[kept].actioned_on == {network: 0.875}

    def test_tasks_are_read_afresh(self, world: StoreWorld) -> None:
        """What changed between the observation and the transaction is what the plan is made from."""
        network, (first, second) = _managed(world)
        gone = world.add_task(first, actioned_on=[network])
        claim = _claim(world, network)
        stale = world.store.observe(network)
        world.set_status(gone, TaskStatus.COMPLETE)
        come = world.add_task(second, status=TaskStatus.RUNNING, actioned_on=[network])
        fresh: list[Observation] = []

        def decide(observation: Observation) -> TaskPlan:
            fresh.append(observation)
            return plan_task_changes(observation, {first: 0.5, second: 0.5}, Specification(mode=StrategyMode.FULL))

        world.store.apply(claim, decide, seen=stale.results_seen)
        assert fresh[-1] != stale
        # Half of the weight asks for two each: both of the first are new, the second has one.
        assert len(world.tasks(network)) == 2 + 2 + 1
        assert fresh[-1].in_flight == 1
        assert world.tasks(network)[come].actioned_on == {network: 0.5}

    def test_a_result_that_came_meanwhile_is_seen_by_the_plan_and_not_counted_as_seen(self, world: StoreWorld) -> None:
        """The health tells what the proposal saw."""
        network, (first, *_) = _managed(world)
        claim = _claim(world, network)
        stale = world.store.observe(network)
        world.add_result(first)
        counts: list[int] = []

        def decide(observation: Observation) -> TaskPlan:
            counts.append(observation.results_seen.count)
            return plan_of(observation)

        world.store.apply(claim, decide, seen=stale.results_seen)
        assert counts[-1] == 1
        assert _health(world, network).results_seen == ResultsSeen(count=0)
        assert world.store.iterations(network)[0].results == 0

    @pytest.mark.parametrize("meanwhile", _SUPERSEDED_BY.values(), ids=_SUPERSEDED_BY)
    def test_a_superseded_pass_applies_nothing(
        self, world: StoreWorld, meanwhile: Callable[[StoreWorld, Claim], object]
    ) -> None:
        """Its claim was lost or has ended, or the specification is not the one that it saw."""
        network, (first, *_) = _managed(world)
        old = world.add_task(first, actioned_on=[network])
        claim = _claim(world, network)
        meanwhile(world, claim)
        before = world.everything()
        with pytest.raises(SupersededError):
            _apply(world, claim, lambda fresh: plan_of(fresh, create={first: [None]}, cancel=[old]))
        assert world.everything() == before

    def test_a_superseded_pass_does_not_end_the_newer_claim(self, world: StoreWorld) -> None:
        """Whose pass then goes through."""
        network, (first, *_) = _managed(world)
        stale = _claim(world, network, owner="first")
        world.clock.advance(_LEASE)
        newer = _claim(world, network, owner="second")
        for _ in range(2):
            with pytest.raises(SupersededError):
                _apply(world, stale)
            with pytest.raises(SupersededError):
                world.store.finish(stale, Released())
        _apply(world, newer, lambda fresh: plan_of(fresh, create={first: [None]}))
        assert len(world.tasks(network)) == 1
        assert _health(world, network).iterations == 1

    @pytest.mark.parametrize("difference", [-1, 1, 1000])
    @pytest.mark.parametrize("number", ["fence", "generation"])
    def test_any_other_fence_or_generation_is_refused(self, world: StoreWorld, number: str, difference: int) -> None:
        """A greater one, too: no claim has it."""
        network, _ = _managed(world)
        claim = _claim(world, network)
        fence, generation = claim.fence, claim.generation
        if number == "fence":
            fence += difference
        else:
            generation += difference
        before = world.everything()
        with pytest.raises(SupersededError):
            _apply(world, replace(claim, fence=fence, generation=generation))
        with pytest.raises(SupersededError):
            world.store.finish(replace(claim, fence=fence, generation=generation), Released())
        assert world.everything() == before
        _apply(world, claim)

    def test_an_expired_lease_that_nobody_took_over_still_applies(self, world: StoreWorld) -> None:
        """The fence decides: a pass that was merely slow has not worked for nothing."""
        network, (first, *_) = _managed(world)
        claim = _claim(world, network)
        world.clock.advance(timedelta(days=1))
        _apply(world, claim, lambda fresh: plan_of(fresh, create={first: [None]}))
        assert len(world.tasks(network)) == 1

    def test_a_plan_that_cannot_be_made_changes_nothing(self, world: StoreWorld) -> None:
        """What ``decide`` raises goes through, and the claim is as good as before."""
        network, (first, *_) = _managed(world)
        claim = _claim(world, network)
        before = world.everything()

        def decide(_observation: Observation) -> NoReturn:
            raise ArithmeticError("weights that do not add up")

        with pytest.raises(ArithmeticError, match="do not add up"):
            _apply(world, claim, decide)
        assert world.everything() == before
        _apply(world, claim, lambda fresh: plan_of(fresh, create={first: [None]}))
        assert len(world.tasks(network)) == 1

    def test_a_claim_on_a_network_that_is_gone_is_superseded(self, world: StoreWorld) -> None:
        """For both ways to end it."""
        network, _ = _managed(world)
        claim = replace(_claim(world, network), network=_UNKNOWN)
        before = world.everything()
        with pytest.raises(SupersededError):
            world.store.apply(claim, plan_of, seen=_SEEN_NOTHING)
        with pytest.raises(SupersededError):
            world.store.finish(claim, Released())
        assert world.everything() == before

    def test_a_plan_touches_no_other_network(self, world: StoreWorld) -> None:
        """Not even where both have a Transformation, a Task, and that Task on their TaskHubs."""
        left, right = sharing_networks()
        network, (shared, own) = _managed(world, left)
        other, _ = _managed(world, right)
        both = world.add_task(shared, actioned_on=[network, other], claim_weight=0.25)
        theirs = world.add_task(shared, actioned_on=[other], claim_weight=0.75)
        bystander = _record(world, other)
        _apply(
            world,
            _claim(world, network),
            lambda fresh: plan_of(fresh, create={shared: [None], own: [None]}, action=[theirs], cancel=[both]),
        )
        tasks = world.tasks(network)
        assert tasks[both].actioned_on == {other: 0.25}
        assert tasks[theirs].actioned_on == {other: 0.75, network: 0.5}
        (new,) = (task for key, task in world.tasks(other).items() if key not in {both, theirs})
        assert new.actioned_on == {network: 0.5}
        assert _record(world, other) == bystander
        assert list(world.store.iterations(other)) == []
        assert other in _due(world)

    def test_actions_left_on_tasks_that_ended_fill_no_place(self, world: StoreWorld) -> None:
        """They stay until the Strategy is satisfied, and are then taken off with the others, statuses unchanged."""
        network, (first, second) = _managed(world)
        ended = [status for status in TaskStatus if not status.in_flight and status is not TaskStatus.ERROR]
        left_over = {world.add_task(first, status=status, actioned_on=[network]): status for status in ended}
        failed = world.add_task(second, status=TaskStatus.ERROR, actioned_on=[network])
        specification = Specification(mode=StrategyMode.FULL)
        plan = _apply(
            world,
            _claim(world, network),
            lambda fresh: plan_task_changes(fresh, {first: 1.0, second: 0.0}, specification),
        )
        assert plan.created == 3
        assert all(world.tasks(network)[task].actioned_on == {network: 0.5} for task in [*left_over, failed])

        world.store.wake(network)
        _apply(
            world,
            _claim(world, network),
            lambda fresh: plan_task_changes(fresh, {first: None, second: None}, specification),
        )
        tasks = world.tasks(network)
        assert not any(task.actioned_on for task in tasks.values())
        assert {task: tasks[task].status for task in left_over} == left_over
        assert tasks[failed].status is TaskStatus.ERROR
        assert _health(world, network).status is StrategyStatus.DORMANT

    def test_a_large_network_is_applied_in_one_go(self, world: StoreWorld) -> None:
        """1000 Transformations: two Tasks each are made, then half of them cancelled."""
        network, keys = _managed(world, star_network(1000))
        _apply(world, _claim(world, network), lambda fresh: plan_of(fresh, create={key: [None, None] for key in keys}))
        assert Counter(task.transformation for task in world.tasks(network).values()) == dict.fromkeys(keys, 2)
        world.store.wake(network)
        _apply(
            world,
            _claim(world, network),
            lambda fresh: plan_of(fresh, cancel={state.tasks[0].key for state in fresh.transformations}),
        )
        on = Counter(task.transformation for task in world.tasks(network).values() if task.actioned_on)
        assert on == dict.fromkeys(keys, 1)
        latest, _ = world.store.iterations(network)
        assert (len(latest.changes), latest.cancelled, latest.in_flight) == (1000, 1000, 1000)

    def test_a_pass_changes_nothing_that_the_user_owns(self, world: StoreWorld) -> None:
        """Strategy, specification and generation are as before, however it ended."""
        network, _ = _managed(world)
        before = _record(world, network)
        _idle_pass(world, network)
        for ending in (*_ENDED_PASSES.values(), _made_erroneous):
            world.clock.advance(timedelta(days=2))
            world.add_result(star_network(2).transformations[0].key)
            ending(world, network)
            record = _record(world, network)
            assert record.health != before.health
            assert replace(record, health=before.health) == before

    # Finishing

    def test_a_failed_strategy_is_in_error(self, world: StoreWorld) -> None:
        """With what it takes to mend it, in health and history; its Tasks stay."""
        network, (first, *_) = _managed(world)
        world.add_task(first, actioned_on=[network])
        world.add_result(first)
        tasks = world.tasks(network)
        claim = _claim(world, network)
        seen = world.store.observe(network).results_seen
        world.clock.advance(timedelta(minutes=1))
        world.store.finish(claim, StrategyFailed(error=_BROKEN, seen=seen))

        assert _health(world, network) == replace(
            claim.health,
            status=StrategyStatus.ERROR,
            iterations=1,
            last_iteration=world.clock.now(),
            last_iteration_result_count=1,
            newest_result_seen=seen.newest,
            error=Failure(
                type="ZeroDivisionError", message="it raised", traceback="Traceback: line 1", remedy="mend it"
            ),
        )
        (entry,) = world.store.iterations(network)
        assert (entry.iteration, entry.at, entry.fence) == (1, world.clock.now(), claim.fence)
        assert (entry.generation, entry.status, entry.results) == (claim.generation, StrategyStatus.ERROR, 1)
        assert (entry.in_flight, entry.changes, entry.error) == (1, (), "it raised")
        assert world.tasks(network) == tasks

    def test_a_postponed_pass_is_no_iteration(self, world: StoreWorld) -> None:
        """It counts the retries and tells what failed; status and history stay."""
        network, (first, *_) = _managed(world)
        _made_dormant(world, network)
        world.add_result(first)
        world.clock.advance(_INTERVAL)
        before = _health(world, network)
        for retries in (1, 2):
            world.store.finish(_claim(world, network), Postponed(error=_AWAY, retry_after=_HOUR))
            assert _health(world, network) == replace(
                before,
                retries=retries,
                retry_at=world.clock.now() + _HOUR,
                last_failure=Failure(type="TransientError", message="the object store is away", remedy="wait"),
            )
            world.clock.advance(_HOUR)
        assert len(world.store.iterations(network)) == 1
        _idle_pass(world, network)
        after = _health(world, network)
        assert (after.retries, after.retry_at, after.last_failure) == (0, None, None)

    @pytest.mark.parametrize("why", ["set", "edited", "rested", "results changed", "retry"])
    def test_a_released_network_stays_as_due_as_it_was(self, world: StoreWorld, why: str) -> None:
        """Health and history know nothing of it."""
        network, (first, *_) = _managed(world)
        if why == "edited":
            _made_dormant(world, network)
            _unchanged(world.store, network)
        elif why == "rested":
            _idle_pass(world, network)
        elif why == "results changed":
            _made_dormant(world, network)
            world.add_result(first)
        elif why == "retry":
            _made_retrying(world, network)
        if why in {"rested", "results changed", "retry"}:
            world.clock.advance(timedelta(days=1))
        record, history = _record(world, network), list(world.store.iterations(network))
        for owner in ("first", "second", "first"):
            world.store.finish(_claim(world, network, owner=owner), Released())
            assert _record(world, network) == record
        assert list(world.store.iterations(network)) == history
        assert _due(world) == {network}

    @pytest.mark.parametrize("meanwhile", _SUPERSEDED_BY.values(), ids=_SUPERSEDED_BY)
    @pytest.mark.parametrize("ending", _ENDINGS.values(), ids=_ENDINGS)
    def test_a_superseded_pass_records_nothing(
        self, world: StoreWorld, ending: PassEnding, meanwhile: Callable[[StoreWorld, Claim], object]
    ) -> None:
        """Whatever it ended with: an error would otherwise undo a user's wake."""
        network, _ = _managed(world)
        claim = _claim(world, network)
        meanwhile(world, claim)
        before = world.everything()
        with pytest.raises(SupersededError):
            world.store.finish(claim, ending)
        assert world.everything() == before

    def test_finishing_touches_no_other_network(self, world: StoreWorld) -> None:
        """Each has its own."""
        network, _ = _managed(world)
        other, _ = _managed(world, star_network(2, name="other"))
        claim = _claim(world, other)
        before = _record(world, other)
        _made_erroneous(world, network)
        assert _record(world, other) == before
        _apply(world, claim)

    @pytest.mark.parametrize(
        "text", ["", "a\nb\tc", "nul \0 byte", "lone \udc80 surrogate", "😀 é ' \" \\ --;", "x" * 10**6]
    )
    def test_any_message_of_a_strategy_can_be_kept(self, world: StoreWorld, text: str) -> None:
        """A Strategy writes it, so nothing about it can be trusted."""
        network, _ = _managed(world)
        error = StrategyError(text, error_type="E", details=text, remedy="mend it")
        world.store.finish(_claim(world, network), StrategyFailed(error=error, seen=_SEEN_NOTHING))
        assert _health(world, network).error == Failure(type="E", message=text, traceback=text, remedy="mend it")
        assert world.store.iterations(network)[0].error == text


class SpecificationStoreContract:
    """What :class:`SpecificationStore` promises."""

    @pytest.fixture
    def world(self) -> StoreWorld:
        """The world around the store under test."""
        raise NotImplementedError("a subclass of the contract gives a fixture `world`")

    def test_a_network_has_no_strategy_at_first(self, world: StoreWorld) -> None:
        """And that is no error."""
        network = world.add_network(star_network(2))
        assert world.store.get_strategy(network) is None
        assert list(world.store.list_strategies()) == []
        assert list(world.store.iterations(network)) == []

    @pytest.mark.parametrize(
        "specification",
        [
            Specification(),
            Specification(
                mode=StrategyMode.FULL,
                max_tasks_per_transformation=1,
                max_tasks_per_network=1,
                task_scaling=TaskScaling.LINEAR,
                extends_preference=1,
                sleep_interval=timedelta(0),
            ),
            Specification(
                mode=StrategyMode.DISABLED,
                max_tasks_per_transformation=2**31,
                max_tasks_per_network=2**40,
                task_scaling=TaskScaling.PROPORTIONAL,
                extends_preference=0.1 + 0.2,
                sleep_interval=timedelta(days=3, seconds=1, microseconds=999_999),
            ),
            Specification(sleep_interval=timedelta(days=3650)),
        ],
        ids=["default", "least", "odd", "longest"],
    )
    def test_what_is_set_is_what_one_gets(self, world: StoreWorld, specification: Specification) -> None:
        """To the last bit, from every store on the same data."""
        network = world.add_network(star_network(2))
        world.store.set_strategy(network, _STRATEGY, specification)
        for store in (world.store, world.another_store()):
            record = store.get_strategy(network)
            assert record is not None
            assert record == StrategyRecord(
                network=network,
                name="star",
                strategy=_STRATEGY,
                specification=specification,
                generation=record.generation,
                health=StrategyHealth().under(specification),
            )

    def test_a_payload_is_kept_as_it_is(self, world: StoreWorld) -> None:
        """Not decoded, whatever it holds."""
        network = world.add_network(star_network(1))
        strategy = replace(_STRATEGY, name="näme '; --", content='{"x": "\\u0000 𝄞", "x": [[[' + "9" * 100_000)
        world.store.set_strategy(network, strategy, Specification())
        assert _record(world, network).strategy == strategy

    def test_strategies_are_listed_by_name_then_key(self, world: StoreWorld) -> None:
        """Whatever the order in which they were set."""
        graphs = [star_network(n, name=name) for name in ("b", "C", "a") for n in (1, 2, 3)]
        for graph in graphs:
            _managed(world, graph)
        world.add_network(star_network(1, name="without"))
        records = world.store.list_strategies()
        assert [(record.name, record.network) for record in records] == sorted(
            (graph.name, graph.key) for graph in graphs
        )
        assert [_record(world, record.network) for record in records] == list(records)

    def test_replacing_a_strategy_begins_anew(self, world: StoreWorld) -> None:
        """Iterations, results seen, errors and history are gone."""
        network, _ = _managed(world)
        _idle_pass(world, network)
        _unchanged(world.store, network)
        _made_erroneous(world, network)
        _replaced(world.store, network)
        record = _record(world, network)
        assert (record.strategy, record.specification) == (_OTHER_STRATEGY, Specification())
        assert record.health == StrategyHealth()
        assert list(world.store.iterations(network)) == []
        _idle_pass(world, network)
        assert [entry.iteration for entry in world.store.iterations(network)] == [1]

    @pytest.mark.parametrize("edit", _EDITS.values(), ids=_EDITS)
    def test_every_edit_bumps_the_generation(self, world: StoreWorld, edit: _Edit) -> None:
        """Also one that leaves every field as it was."""
        network, _ = _managed(world)
        before = _record(world, network).generation
        edit(world.store, network)
        assert _record(world, network).generation > before

    @pytest.mark.parametrize("edit", _EDITS.values(), ids=_EDITS)
    def test_an_edit_touches_no_other_network(self, world: StoreWorld, edit: _Edit) -> None:
        """Neither what is set there, nor the pass that runs there."""
        network, _ = _managed(world)
        other, _ = _managed(world, star_network(1, name="other"))
        _idle_pass(world, other)
        _unchanged(world.store, other)
        claim = _claim(world, other)
        before, history = _record(world, other), list(world.store.iterations(other))
        edit(world.store, network)
        assert _record(world, other) == before
        assert list(world.store.iterations(other)) == history
        _apply(world, claim)

    def test_the_generation_survives_the_strategy(self, world: StoreWorld) -> None:
        """Otherwise an old claim could fit a new Strategy."""
        network, _ = _managed(world)
        for _ in range(3):
            _unchanged(world.store, network)
        before = _record(world, network).generation
        _dropped_and_set_again(world.store, network)
        assert _record(world, network).generation > before

    def test_an_edit_gets_the_specification_and_returns_the_new_one(self, world: StoreWorld) -> None:
        """What is kept is what it returned."""
        network, _ = _managed(world)
        given: list[Specification] = []

        def edit(specification: Specification) -> Specification:
            given.append(specification)
            return replace(specification, mode=StrategyMode.PARTIAL, max_tasks_per_network=None)

        new = world.store.edit_specification(network, edit)
        assert given[-1] == _FULL
        assert new == replace(_FULL, mode=StrategyMode.PARTIAL, max_tasks_per_network=None)
        assert _record(world, network).specification == new

    @pytest.mark.parametrize("ended", [*_ENDED_PASSES.values(), _made_erroneous], ids=[*_ENDED_PASSES, "error"])
    def test_an_edit_leaves_what_the_service_owns(
        self, world: StoreWorld, ended: Callable[[StoreWorld, NetworkKey], None]
    ) -> None:
        """Strategy, status, iterations, results seen, retries, error and history."""
        network, _ = _managed(world)
        ended(world, network)
        before, history = _record(world, network), list(world.store.iterations(network))
        new = world.store.edit_specification(
            network, lambda old: replace(old, mode=StrategyMode.DISABLED, sleep_interval=timedelta(seconds=5))
        )
        after = _record(world, network)
        assert after.strategy == before.strategy
        assert after.health == before.health.under(new)
        assert list(world.store.iterations(network)) == history

    def test_an_edit_that_raises_writes_nothing(self, world: StoreWorld) -> None:
        """Not even a generation."""
        network, _ = _managed(world)
        claim = _claim(world, network)
        before = world.everything()
        with pytest.raises(ValueError, match="max_tasks_per_network"):
            world.store.edit_specification(network, lambda old: replace(old, max_tasks_per_network=0))
        assert world.everything() == before
        _apply(world, claim)

    def test_no_edit_is_lost(self, world: StoreWorld) -> None:
        """Four users add one 25 times each, while a service runs passes."""
        users, times = 4, 25
        network, _ = _managed(world, specification=replace(_FULL, max_tasks_per_transformation=1))
        stores = [world.another_store() for _ in range(users + 1)]
        generation = _record(world, network).generation

        def count_up(store: StrategyStore) -> None:
            for _ in range(times):
                store.edit_specification(
                    network,
                    lambda old: replace(old, max_tasks_per_transformation=old.max_tasks_per_transformation + 1),
                )

        def run_passes(store: StrategyStore) -> None:
            for _ in range(times):
                for claim in store.claim_due(owner="service", limit=1, lease=_LEASE):
                    try:
                        store.apply(claim, plan_of, seen=_SEEN_NOTHING)
                    except SupersededError:
                        continue

        with ThreadPoolExecutor(len(stores)) as pool:
            running = [pool.submit(count_up, store) for store in stores[:-1]]
            running.append(pool.submit(run_passes, stores[-1]))
            for future in running:
                future.result()
        record = _record(world, network)
        assert record.specification.max_tasks_per_transformation == 1 + users * times
        assert record.generation == generation + users * times

    @pytest.mark.parametrize("ended", [*_ENDED_PASSES.values(), _made_erroneous], ids=[*_ENDED_PASSES, "error"])
    def test_waking_clears_errors_and_retries_and_nothing_else(
        self, world: StoreWorld, ended: Callable[[StoreWorld, NetworkKey], None]
    ) -> None:
        """The Strategy is awake; iterations, results seen and history stay."""
        network, _ = _managed(world)
        ended(world, network)
        before, history = _record(world, network), list(world.store.iterations(network))
        world.store.wake(network)
        after = _record(world, network)
        assert after.health == before.health.after_wake()
        assert after.health.status is StrategyStatus.AWAKE
        assert (after.health.error, after.health.retries, after.health.retry_at) == (None, 0, None)
        assert (after.strategy, after.specification) == (before.strategy, before.specification)
        assert list(world.store.iterations(network)) == history

    def test_waking_enables_nothing(self, world: StoreWorld) -> None:
        """The mode is the user's own."""
        network, _ = _managed(world, specification=Specification(mode=StrategyMode.DISABLED))
        world.store.wake(network)
        assert _record(world, network).specification.mode is StrategyMode.DISABLED

    def test_dropping_takes_strategy_and_history_and_leaves_tasks(self, world: StoreWorld) -> None:
        """What is actioned stays actioned."""
        network, (first, *_) = _managed(world)
        other, _ = _managed(world, star_network(1, name="other"))
        for key in (network, other):
            _idle_pass(world, key)
        world.add_task(first, actioned_on=[network])
        tasks = world.tasks(network)
        world.store.drop_strategy(network)
        assert world.store.get_strategy(network) is None
        assert list(world.store.iterations(network)) == []
        assert world.tasks(network) == tasks
        # The other network's are its own.
        assert [record.network for record in world.store.list_strategies()] == [other]
        assert len(world.store.iterations(other)) == 1

    def test_dropping_where_there_is_no_strategy_does_nothing(self, world: StoreWorld) -> None:
        """Nor is it an error."""
        network = world.add_network(star_network(2))
        before = world.everything()
        world.store.drop_strategy(network)
        assert world.everything() == before

    def test_setting_a_strategy_leaves_tasks(self, world: StoreWorld) -> None:
        """And so do all other edits."""
        network, (first, *_) = _managed(world)
        world.add_task(first, actioned_on=[network])
        tasks = world.tasks(network)
        for edit in _EDITS.values():
            edit(world.store, network)
            assert world.tasks(network) == tasks

    def test_the_history_is_paged_from_the_newest(self, world: StoreWorld) -> None:
        """``limit`` at a time, below ``before``."""
        network, _ = _managed(world, specification=replace(_FULL, sleep_interval=timedelta(0)))
        for _ in range(5):
            _idle_pass(world, network)

        def numbers(*, limit: int = 100, before: int | None = None) -> list[int]:
            return [entry.iteration for entry in world.store.iterations(network, limit=limit, before=before)]

        assert numbers() == [5, 4, 3, 2, 1]
        assert numbers(limit=2) == [5, 4]
        assert numbers(limit=2, before=4) == [3, 2]
        assert numbers(limit=2, before=2) == [1]
        assert numbers(before=1) == numbers(limit=0) == []
        assert numbers(before=1000) == [5, 4, 3, 2, 1]

    def test_the_history_is_bounded(self, world: StoreWorld) -> None:
        """The oldest go, network by network; their numbers go on."""
        network, _ = _managed(world, specification=replace(_FULL, sleep_interval=timedelta(0)))
        other, _ = _managed(world, star_network(1, name="other"))
        _idle_pass(world, other)
        kept = world.history_limit
        for _ in range(kept + 3):
            _idle_pass(world, network)
        numbers = [entry.iteration for entry in world.store.iterations(network, limit=kept + 10)]
        assert numbers == list(range(kept + 3, 3, -1))
        assert len(world.store.iterations(other)) == 1

    def test_a_strategy_that_fails_again_and_again_has_a_bounded_history_too(self, world: StoreWorld) -> None:
        """Failures are iterations like any other."""
        network, _ = _managed(world)
        for _ in range(world.history_limit + 2):
            world.store.wake(network)
            _made_erroneous(world, network)
        assert len(world.store.iterations(network, limit=1000)) == world.history_limit

    @pytest.mark.parametrize("attached", [True, False])
    def test_an_unknown_network_is_named(self, world: StoreWorld, attached: bool) -> None:  # noqa: FBT001 - of pytest
        """By every method that takes one; by edit and wake also a network without a Strategy. Nothing is written."""
        without = world.add_network(star_network(2))
        if attached:
            _managed(world, star_network(1, name="other"))
        before = world.everything()
        store = world.store
        attempts: Iterable[Callable[[NetworkKey], object]] = (
            lambda network: store.edit_specification(network, lambda old: old),
            store.wake,
            lambda network: store.set_strategy(network, _STRATEGY, _FULL),
            store.drop_strategy,
            store.get_strategy,
            store.iterations,
        )
        for number, attempt in enumerate(attempts):
            with pytest.raises(UnknownNetworkError, match="no-such-network"):
                attempt(_UNKNOWN)
            if number < 2:
                with pytest.raises(UnknownNetworkError, match=without):
                    attempt(without)
        assert world.everything() == before

    def test_reading_writes_nothing(self, world: StoreWorld) -> None:
        """Users look as often as they like."""
        network, _ = _managed(world)
        _idle_pass(world, network)
        before = world.everything()
        world.store.get_strategy(network)
        world.store.list_strategies()
        world.store.iterations(network)
        assert world.everything() == before


class ResultSourceContract:
    """What :class:`ResultSource` promises."""

    @pytest.fixture
    def world(self) -> StoreWorld:
        """The world around the source under test."""
        raise NotImplementedError("a subclass of the contract gives a fixture `world`")

    def test_a_network_comes_back_as_it_was_added(self, world: StoreWorld) -> None:
        """Transformations in their order, parallel ones, ones from a state to itself, ones between legs."""
        ends = [("b", "a", "", ""), ("b", "a", "", ""), ("a", "a", "", ""), ("a", "ü c", "vacuum", "solvent")]
        edges = tuple(
            replace(_edge(f"edge {number}", state_a, state_b), leg_a=leg_a, leg_b=leg_b)
            for number, (state_a, state_b, leg_a, leg_b) in reversed(list(enumerate(ends)))
        )
        graph = NetworkGraph(name="nämed", key=star_network(1).key, transformations=edges)
        network = world.add_network(graph)
        assert world.source.network(network) == graph

    def test_networks_that_share_a_transformation_come_back_as_they_were_added(self, world: StoreWorld) -> None:
        """Though each may call the states of the shared one otherwise, which decides what is connected to what."""
        left, right = sharing_networks()
        shared = replace(right.transformations[0], name="otherwise", state_a="a-1234", state_b="b-5678")
        own = replace(right.transformations[1], state_a="a-1234")
        right = NetworkGraph(name=right.name, key=right.key, transformations=(own, shared))
        keys = [world.add_network(graph) for graph in (left, right)]
        assert [world.source.network(key) for key in keys] == [left, right]

    def test_a_network_without_results_has_none(self, world: StoreWorld) -> None:
        """All its Transformations are known, though."""
        network, keys = _managed(world)
        results = world.source.results(network)
        assert results.transformations == keys
        assert dict(results) == {}

    def test_only_successful_results_of_the_network_are_given(self, world: StoreWorld) -> None:
        """Failures and other networks' are left out; with a Task or without one does not matter."""
        left, right = sharing_networks()
        network, _ = world.add_network(left), world.add_network(right)
        shared, own = (edge.key for edge in left)
        world.add_result(shared, task=world.add_task(shared), estimate=-1.5, uncertainty=0.125)
        world.add_result(shared, ok=False)
        world.add_result(own, ok=False)
        world.add_result(right.transformations[1].key, estimate=7.0)
        results = world.source.results(network)
        assert results.transformations == (shared, own)
        assert dict(results) == {shared: (Repeat(repeat=0, estimate=-1.5, uncertainty=0.125),)}

    def test_results_come_in_the_order_of_the_network_and_of_time(self, world: StoreWorld) -> None:
        """Whatever the order in which they were stored."""
        network, (first, second) = _managed(world)
        start = world.clock.now()
        for key, hour in ((second, 2), (first, 3), (second, 1), (first, 1), (first, 2)):
            world.add_result(key, created=start + hour * _HOUR, estimate=float(hour))
        results = world.source.results(network)
        assert list(results) == [first, second]
        assert [repeat.estimate for repeat in results.of(first)] == [1.0, 2.0, 3.0]
        assert [repeat.estimate for repeat in results.of(second)] == [1.0, 2.0]

    def test_estimates_come_back_to_the_last_bit(self, world: StoreWorld) -> None:
        """With their uncertainties, where these are known."""
        network, (first, *_) = _managed(world)
        values = [(0.1 + 0.2, 1e-300), (-1e300, 0.0), (5e-324, None), (0.0, 1 / 3)]
        for number, (estimate, uncertainty) in enumerate(values):
            created = world.clock.now() + number * _INSTANT
            world.add_result(first, estimate=estimate, uncertainty=uncertainty, created=created)
        repeats = world.source.results(network).of(first)
        assert [(repeat.estimate, repeat.uncertainty) for repeat in repeats] == values

    def test_results_include_all_that_an_earlier_observation_counted(self, world: StoreWorld) -> None:
        """So that what a proposal saw is never less than what the health says it saw."""
        network, (first, second) = _managed(world)
        for number in range(6):
            world.add_result(first if number % 3 else second, ok=number != 4)
            seen = world.store.observe(network).results_seen
            assert world.source.results(network).total >= seen.count == number + 1 - (number >= 4)

    def test_an_unknown_network_is_named(self, world: StoreWorld) -> None:
        """By both methods."""
        for read in (world.source.network, world.source.results):
            with pytest.raises(UnknownNetworkError, match="no-such-network"):
                read(_UNKNOWN)

    def test_reading_writes_nothing(self, world: StoreWorld) -> None:
        """Previews and proposals do it as they like."""
        network, (first, *_) = _managed(world)
        world.add_result(first)
        before = world.everything()
        world.source.network(network)
        world.source.results(network)
        assert world.everything() == before


def _claimed_in_order(world: StoreWorld, *, limit: int, minimum_interval: timedelta = timedelta(0)) -> list[NetworkKey]:
    claimed: list[NetworkKey] = []
    while batch := world.store.claim_due(owner="first", limit=limit, lease=_LEASE, minimum_interval=minimum_interval):
        claimed += [claim.network for claim in batch]
    return claimed


def _task_seen(world: StoreWorld, network: NetworkKey, task: TaskKey) -> TaskRecord:
    states: tuple[TransformationState, ...] = world.store.observe(network).transformations
    (found,) = (seen for state in states for seen in state.tasks if seen.key == task)
    return found
