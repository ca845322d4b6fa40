"""Services, users and compute in any order on one store, against a plain model; needs hypothesis beside pytest.

Every rule does one thing to the store and the same to the model; whatever the store then says of itself, and whatever a
:class:`StoreWorld` sees past it, has to be what the model holds. Passes are taken apart, so that hypothesis can put
anything between a claim and the end of its pass. Subclass :class:`StateMachineContract` as any other suite:

.. code-block:: python

    class TestMyStore(StateMachineContract):
        @pytest.fixture
        def open_world(self, tmp_path):
            return lambda: MyWorld(tmp_path)  # a context manager, opened once for every example
"""
# ruff: noqa: S101 - these are tests, though they ship

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from alchemiscale_strategist.errors import StrategyError, SupersededError, TransientError
from alchemiscale_strategist.networks import NetworkGraph
from alchemiscale_strategist.planning.models import (
    NetworkKey,
    Observation,
    ResultsSeen,
    Specification,
    StrategyMode,
    StrategyStatus,
    TaskKey,
    TaskPlan,
    TaskScaling,
    TaskStatus,
    TransformationKey,
    Weights,
)
from alchemiscale_strategist.planning.scaling import normalize_weights
from alchemiscale_strategist.planning.tasks import plan_task_changes
from alchemiscale_strategist.ports import (
    Claim,
    ComputeStore,
    IterationRecord,
    PassEnding,
    Postponed,
    Released,
    StrategyFailed,
    StrategyPayload,
)
from alchemiscale_strategist.testing.steps import (
    HOUR,
    INSTANT,
    INTERVAL,
    LEASE,
    OTHER_STRATEGY,
    STRATEGY,
    nothing_written,
)
from alchemiscale_strategist.testing.worlds import ResultKey, StoreWorld, StrategyStore, sharing_networks, star_network

__all__ = ["OpenWorld", "StateMachineContract", "StoreMachine"]


class OpenWorld(Protocol):
    """Opens an empty world; closing it ends everything in it.

    The same steps have to give the same keys of Tasks and results, or hypothesis cannot repeat what it found.
    """

    def __call__(self) -> AbstractContextManager[StoreWorld]:
        """Open it."""
        ...


_EXAMPLES = "STRATEGIST_MACHINE_EXAMPLES"
_STEPS = "STRATEGIST_MACHINE_STEPS"
_ERROR = StrategyError("it raised", error_type="ValueError")
_AWAY = TransientError("the object store is away")

_WEIGHTS = st.sampled_from([None, 0.0, 0.25, 1.0])
_TWO_WEIGHTS = st.just([None, None]) | st.lists(_WEIGHTS, min_size=2, max_size=2)
_MINIMUM_INTERVALS = st.sampled_from([timedelta(0), timedelta(0), HOUR, 2 * INTERVAL])
_LEASES = st.sampled_from([LEASE, LEASE, INSTANT, 2 * HOUR])
_CHANGES = st.one_of(
    st.fixed_dictionaries({"mode": st.sampled_from(StrategyMode)}),
    st.fixed_dictionaries({"max_tasks_per_transformation": st.integers(1, 4)}),
    st.fixed_dictionaries({"max_tasks_per_network": st.none() | st.integers(1, 5)}),
    st.fixed_dictionaries({"task_scaling": st.sampled_from(TaskScaling)}),
    st.fixed_dictionaries({"extends_preference": st.sampled_from([0.0, 0.5, 1.0])}),
    st.fixed_dictionaries({"sleep_interval": st.sampled_from([timedelta(0), HOUR, INTERVAL])}),
    st.just({}),
)
_SPECIFICATIONS = st.builds(
    Specification,
    mode=st.sampled_from([StrategyMode.FULL, StrategyMode.FULL, StrategyMode.PARTIAL, StrategyMode.DISABLED]),
    max_tasks_per_transformation=st.integers(1, 4),
    max_tasks_per_network=st.none() | st.integers(1, 5),
    task_scaling=st.sampled_from(TaskScaling),
    extends_preference=st.sampled_from([0.0, 0.0, 1.0]),
    sleep_interval=st.sampled_from([timedelta(0), HOUR, INTERVAL]),
)
_PAYLOADS = st.sampled_from([STRATEGY, OTHER_STRATEGY])


@dataclass(kw_only=True)
class _Task:
    """A Task as the model has it."""

    transformation: TransformationKey
    status: TaskStatus
    extends: TaskKey | None
    actioned_on: set[NetworkKey]
    created: datetime


@dataclass(kw_only=True)
class _Result:
    """A result as the model has it."""

    transformation: TransformationKey
    ok: bool
    created: datetime
    task: TaskKey | None = None


@dataclass(kw_only=True)
class _Strategy:
    """What users set, and what the service keeps beside it."""

    payload: StrategyPayload
    specification: Specification
    status: StrategyStatus = StrategyStatus.AWAKE
    edited: bool = True
    iterations: int = 0
    last_iteration: datetime | None = None
    seen: ResultsSeen | None = None
    retries: int = 0
    retry_at: datetime | None = None
    history: list[tuple[int, int, StrategyStatus, int]] = field(default_factory=list)
    """Fence, generation, status after it, and Tasks in flight after it."""

    def is_due(self, results: ResultsSeen, *, now: datetime, minimum_interval: timedelta) -> bool:
        """Whether a pass is to run."""
        if self.specification.mode is StrategyMode.DISABLED or self.status is StrategyStatus.ERROR:
            return False
        if self.edited:
            return True
        if self.retry_at is not None:
            return self.retry_at <= now
        rested_at = self.rested_at(minimum_interval)
        return (rested_at is None or rested_at <= now) and (self.status is StrategyStatus.AWAKE or results != self.seen)

    def rested_at(self, minimum_interval: timedelta) -> datetime | None:
        """When its interval is over."""
        if self.last_iteration is None:
            return None
        return self.last_iteration + max(self.specification.sleep_interval, minimum_interval)

    def end_iteration(self, status: StrategyStatus, *, seen: ResultsSeen, now: datetime) -> None:
        """Count an iteration."""
        self.status, self.seen, self.last_iteration = status, seen, now
        self.iterations += 1
        self.retries, self.retry_at, self.edited = 0, None, False


@dataclass(kw_only=True)
class _Network:
    """A network as the model has it; ``claim`` is the valid one, whether its lease is over or not."""

    key: NetworkKey
    graph: NetworkGraph
    fence: int = 0
    generation: int = 0
    claim: Claim | None = None
    strategy: _Strategy | None = None


@dataclass(kw_only=True, eq=False)
class _Pass:
    """A pass on its way."""

    claim: Claim
    service: int
    seen: ResultsSeen | None = None
    weights: Weights | None = None


class StoreMachine(RuleBasedStateMachine):
    """Two to four services, users and compute on three networks, two of which share a Transformation.

    Args:
        open_world: opens the world around an empty store.
    """

    passes = Bundle("passes")
    ended = Bundle("ended")

    def __init__(self, open_world: OpenWorld) -> None:
        super().__init__()
        self._opened = open_world()
        self.world = self._opened.__enter__()
        self.compute: ComputeStore | None = getattr(self.world, "compute", None)
        self.networks: list[_Network] = []
        self.tasks: dict[TaskKey, _Task] = {}
        self.results: dict[ResultKey, _Result] = {}
        self.unnamed_results: list[_Result] = []
        self.stores: list[StrategyStore] = []

    def teardown(self) -> None:
        """Close the world."""
        self._opened.__exit__(None, None, None)

    @property
    def now(self) -> datetime:
        """The store's time."""
        return self.world.clock.now()

    @initialize(services=st.integers(2, 4), specification=_SPECIFICATIONS)
    def begin(self, services: int, specification: Specification) -> None:
        """Every service has a store of its own, and users have one, too."""
        self.stores = [self.world.another_store() for _ in range(services)]
        for graph in (*sharing_networks(), star_network(2)):
            network = _Network(key=self.world.add_network(graph), graph=graph)
            self.networks.append(network)
            self._set_strategy(network, STRATEGY, specification)

    # Services

    @rule(
        target=passes,
        service=st.integers(0, 3),
        limit=st.sampled_from([1, 2, 3, 3]),
        lease=_LEASES,
        minimum_interval=_MINIMUM_INTERVALS,
        only=st.none() | st.integers(0, 2),
    )
    def claim(
        self, service: int, limit: int, lease: timedelta, minimum_interval: timedelta, only: int | None
    ) -> object:
        """A service claims: as many as it wants of those that are due and free, and no others."""
        networks = self.networks if only is None else [self.networks[only]]
        return multiple(*self._claim(service, limit, lease, minimum_interval, networks))

    @precondition(lambda self: self._held())
    @rule(target=passes, service=st.integers(0, 3), lease=_LEASES, data=st.data())
    def take_over(self, service: int, lease: timedelta, data: st.DataObject) -> object:
        """A service is too slow: nobody gets its network before its lease is over, and somebody does from then on."""
        network = data.draw(st.sampled_from(self._held()), label="network")
        assert network.claim is not None
        self._move_to(network.claim.expires - INSTANT)
        assert self._claim(service, 1, lease, timedelta(0), [network]) == []
        self._move_to(network.claim.expires)
        return multiple(*self._claim(service, 1, lease, timedelta(0), [network]))

    @rule(
        target=ended,
        which=st.integers(0, 2),
        service=st.integers(0, 3),
        weights=st.lists(_TWO_WEIGHTS, min_size=1, max_size=4),
    )
    def run_in_time(self, which: int, service: int, weights: Sequence[Sequence[float | None]]) -> object:
        """The next passes that time alone brings run at the instants at which they are due; nobody disturbs them."""
        network = self.networks[which]
        done = []
        for drawn in weights:
            moment = self._due_at(network)
            if moment is None or network.claim is not None:
                break
            self._move_to(moment)
            (running,) = self._claim(service, 1, LEASE, timedelta(0), [network])
            self.propose(running, drawn, None)
            done.append(self.apply(running))
        return multiple(*done)

    @rule(running=passes)
    def observe(self, running: _Pass) -> None:
        """A pass looks at its network."""
        running.seen = self._observe(running).results_seen

    @rule(running=passes, drawn=_TWO_WEIGHTS, only=st.none() | st.integers(0, 1))
    def propose(self, running: _Pass, drawn: Sequence[float | None], only: int | None) -> None:
        """The Strategy has an answer, which may leave a Transformation without a weight."""
        if running.seen is None:
            running.seen = self._observe(running).results_seen
        keys = [edge.key for edge in self._network(running.claim.network).graph]
        weights = {key: weight for n, (key, weight) in enumerate(zip(keys, drawn, strict=True)) if only in {None, n}}
        running.weights = normalize_weights(weights, transformations=frozenset(keys))

    @rule(target=ended, running=consumes(passes))
    def apply(self, running: _Pass) -> _Pass:
        """A pass applies, and writes nothing if it is not the valid one any more."""
        claim = running.claim
        if running.weights is None:
            self.propose(running, [1.0, 0.25], None)
        store = self.stores[running.service]
        if not self._is_valid(claim):
            self._apply_in_vain(running)
            return running
        network = self._network(claim.network)
        strategy = network.strategy
        assert strategy is not None
        assert running.seen is not None
        before = {edge.key: self._in_flight(network, edge.key) for edge in network.graph}
        applied = store.apply(claim, lambda fresh: self._decide(running, fresh), seen=running.seen)
        self._apply_to_model(network, applied.plan)
        self._check_limits(network, claim.specification, applied.plan, before=before)
        status = StrategyStatus.DORMANT if applied.plan.finished else StrategyStatus.AWAKE
        strategy.end_iteration(status, seen=running.seen, now=self.now)
        strategy.history.append((claim.fence, claim.generation, status, self._in_flight(network)))
        network.claim = None
        record = store.get_strategy(network.key)
        assert record is not None
        assert applied.health == record.health
        assert applied.record == store.iterations(network.key, limit=1)[0]
        return running

    @rule(
        target=ended,
        running=consumes(passes),
        ending=st.sampled_from(["released", "postponed", "failed"]),
        delay=st.sampled_from([INSTANT, HOUR, 2 * INTERVAL]),
    )
    def finish(self, running: _Pass, ending: str, delay: timedelta) -> _Pass:
        """A pass ends without applying anything."""
        claim, seen = running.claim, running.seen or ResultsSeen()
        endings: dict[str, PassEnding] = {
            "released": Released(),
            "postponed": Postponed(error=_AWAY, retry_after=delay),
            "failed": StrategyFailed(error=_ERROR, seen=seen),
        }
        store = self.stores[running.service]
        if not self._is_valid(claim):
            self._finish_in_vain(running, endings[ending])
            return running
        network = self._network(claim.network)
        strategy = network.strategy
        assert strategy is not None
        store.finish(claim, endings[ending])
        network.claim = None
        if ending == "postponed":
            strategy.retries += 1
            strategy.retry_at, strategy.edited = self.now + delay, False
        elif ending == "failed":
            strategy.end_iteration(StrategyStatus.ERROR, seen=seen, now=self.now)
            strategy.history.append((claim.fence, claim.generation, StrategyStatus.ERROR, self._in_flight(network)))
        return running

    @rule(running=ended, service=st.integers(0, 3), how=st.sampled_from(["apply", "released", "postponed", "failed"]))
    def end_again(self, running: _Pass, service: int, how: str) -> None:
        """A pass that has ended ends again, as after an answer that was lost; perhaps from another process."""
        again = replace(running, service=service % len(self.stores))
        match how:
            case "apply":
                self._apply_in_vain(again)
            case "released":
                self._finish_in_vain(again, Released())
            case "postponed":
                self._finish_in_vain(again, Postponed(error=_AWAY, retry_after=HOUR))
            case _:
                self._finish_in_vain(again, StrategyFailed(error=_ERROR, seen=ResultsSeen()))

    # Users

    @rule(
        which=st.integers(0, 2),
        operation=st.sampled_from(["change", "change", "pause", "resume", "wake", "set", "drop", "drop and set"]),
        changes=_CHANGES,
        payload=_PAYLOADS,
        specification=_SPECIFICATIONS,
    )
    def edit(
        self,
        which: int,
        operation: str,
        changes: dict[str, object],
        payload: StrategyPayload,
        specification: Specification,
    ) -> None:
        """A user edits; a specification is changed from what it is, and from nothing older."""
        network = self.networks[which]
        if operation == "set" or network.strategy is None:
            self._set_strategy(network, payload, specification)
            return
        match operation:
            case "change":
                self._edit(network, lambda old: replace(old, **changes))  # type: ignore[arg-type] # fields of it
            case "pause":
                self._edit(network, Specification.paused)
            case "resume":
                self._edit(network, Specification.resumed)
            case "wake":
                self._wake(network)
            case _:
                strategy = network.strategy
                self.world.store.drop_strategy(network.key)
                network.claim, network.strategy = None, None
                if operation == "drop and set":
                    self._set_strategy(network, strategy.payload, strategy.specification)

    @rule(
        which=st.integers(0, 2),
        edge=st.integers(0, 1),
        actioned=st.booleans(),
        status=st.sampled_from([TaskStatus.WAITING, TaskStatus.WAITING, TaskStatus.RUNNING, TaskStatus.ERROR]),
    )
    def add_task(self, which: int, edge: int, actioned: bool, status: TaskStatus) -> None:  # noqa: FBT001
        """A user makes a Task, and perhaps actions it, whatever the limits."""
        network = self.networks[which]
        transformation = network.graph.transformations[edge].key
        on = {network.key} if actioned else set()
        key = self.world.add_task(transformation, status=status, actioned_on=on)
        self.tasks[key] = _Task(
            transformation=transformation, status=status, extends=None, actioned_on=on, created=self.now
        )

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), status=st.sampled_from([TaskStatus.WAITING, TaskStatus.INVALID, TaskStatus.DELETED]))
    def set_status(self, data: st.DataObject, status: TaskStatus) -> None:
        """A user restarts a Task, or puts it away."""
        task = data.draw(st.sampled_from(sorted(self.tasks)))
        self.world.set_status(task, status)
        self.tasks[task].status = status

    # Compute

    @precondition(lambda self: self.compute is not None)
    @rule()
    def work(self) -> None:
        """A compute service takes a Task that somebody has actioned."""
        assert self.compute is not None
        claimable = {key for key, task in self.tasks.items() if self._can_be_claimed(task)}
        claimed = self.compute.claim_task()
        assert (claimed is None) == (not claimable)
        if claimed is not None:
            assert claimed.task in claimable
            self.tasks[claimed.task].status = TaskStatus.RUNNING

    @precondition(lambda self: self.compute is not None and self._running())
    @rule(data=st.data(), how=st.sampled_from(["complete", "complete", "fail for now", "fail for good"]))
    def hand_in(self, data: st.DataObject, how: str) -> None:
        """A compute service hands in a result, be the Task cancelled or not."""
        assert self.compute is not None
        key = data.draw(st.sampled_from(self._running()))
        task = self.tasks[key]
        result = _Result(transformation=task.transformation, ok=how == "complete", created=self.now, task=key)
        if how == "complete":
            self.compute.complete_task(key, estimate=1.5, uncertainty=None)
            task.status, task.actioned_on = TaskStatus.COMPLETE, set()
        elif how == "fail for now":
            self.compute.fail_task(key, restart=True)
            task.status = TaskStatus.WAITING
        else:
            self.compute.fail_task(key, restart=False)
            task.status, task.actioned_on = TaskStatus.ERROR, set()
        self.unnamed_results.append(result)

    @rule(which=st.integers(0, 2), edge=st.integers(0, 1), ok=st.booleans())
    def add_result(self, which: int, edge: int, ok: bool) -> None:  # noqa: FBT001 - given by hypothesis
        """A result or a failure arrives without a Task that we know of."""
        transformation = self.networks[which].graph.transformations[edge].key
        key = self.world.add_result(transformation, ok=ok)
        self.results[key] = _Result(transformation=transformation, ok=ok, created=self.now)

    @precondition(lambda self: self.results)
    @rule(data=st.data(), another=st.booleans())
    def remove_result(self, data: st.DataObject, another: bool) -> None:  # noqa: FBT001 - given by hypothesis
        """A result goes again, and perhaps another comes in its place."""
        key = data.draw(st.sampled_from(sorted(self.results)))
        self.world.remove_result(key)
        gone = self.results.pop(key)
        if another:
            key = self.world.add_result(gone.transformation, ok=gone.ok)
            self.results[key] = replace(gone, created=self.now)

    # Time

    @rule(step=st.sampled_from([INSTANT, timedelta(minutes=1), HOUR, INTERVAL]))
    def wait(self, step: timedelta) -> None:
        """Time goes by."""
        self.world.clock.advance(step)

    @precondition(lambda self: self._moments())
    @rule(data=st.data(), short=st.booleans())
    def wait_until(self, data: st.DataObject, short: bool) -> None:  # noqa: FBT001 - given by hypothesis
        """Until the very instant at which a lease is over or a network is due, or until just before it."""
        moment = data.draw(st.sampled_from(self._moments()), label="moment")
        self._move_to(moment - INSTANT if short else moment)

    # What has to hold at any time

    @invariant()
    def users_find_what_they_set(self) -> None:
        """No edit is lost, and health and history are the model's."""
        for network, store in zip(self.networks, [*self.stores, self.world.store], strict=False):
            record, strategy = store.get_strategy(network.key), network.strategy
            if strategy is None:
                assert record is None
                assert not store.iterations(network.key)
                continue
            assert record is not None
            assert record.problems == ()
            assert (record.strategy, record.specification) == (strategy.payload, strategy.specification)
            assert record.generation == network.generation
            health = record.health
            assert (health.mode, health.sleep_interval) == (
                strategy.specification.mode,
                strategy.specification.sleep_interval,
            )
            assert (health.status, health.iterations, health.last_iteration, health.results_seen) == (
                strategy.status,
                strategy.iterations,
                strategy.last_iteration,
                strategy.seen,
            )
            assert (health.retries, health.retry_at) == (strategy.retries, strategy.retry_at)
            assert (health.error is None) == (strategy.status is not StrategyStatus.ERROR)
            self._check_history(store.iterations(network.key), strategy)

    @invariant()
    def what_is_due_is_claimed(self) -> None:
        """Of the networks that nobody holds; given back, they are as due as they were."""
        unheld = [network for network in self.networks if network.claim is None]
        for running in self._claim(0, len(unheld), INSTANT, timedelta(0), unheld):
            self.stores[0].finish(running.claim, Released())
            self._network(running.claim.network).claim = None

    @invariant()
    def tasks_are_those_of_the_model(self) -> None:
        """Seen past the store."""
        for network in self.networks:
            kept = self.world.tasks(network.key)
            known = {edge.key for edge in network.graph}
            assert {
                key: (task.transformation, task.status, task.extends, set(task.actioned_on))
                for key, task in kept.items()
            } == {
                key: (task.transformation, task.status, task.extends, task.actioned_on)
                for key, task in self.tasks.items()
                if task.transformation in known
            }

    def _check_history(self, newest_first: Sequence[IterationRecord], strategy: _Strategy) -> None:
        records = list(reversed(newest_first))
        kept = min(strategy.iterations, self.world.history_limit)
        assert [record.iteration for record in records] == list(
            range(strategy.iterations - kept + 1, strategy.iterations + 1)
        )
        fences = [record.fence for record in records]
        assert fences == sorted(set(fences))
        told = [(record.fence, record.generation, record.status, record.in_flight) for record in records]
        assert told == strategy.history[len(strategy.history) - kept :]

    def _check_limits(
        self,
        network: _Network,
        specification: Specification,
        plan: TaskPlan,
        *,
        before: dict[TransformationKey, int],
    ) -> None:
        after = self._in_flight(network)
        reserved = sum(self._in_flight(network, row.key) for row in plan if self._is_reserved(row.key, plan))
        limit = specification.max_tasks_per_network
        match specification.mode:
            case StrategyMode.FULL:
                assert not (plan.finished and after)
                assert limit is None or after <= max(limit, reserved)
            case StrategyMode.PARTIAL:
                assert limit is None or after <= max(limit, sum(before.values()))
                assert all(self._in_flight(network, key) >= number for key, number in before.items())
            case StrategyMode.DISABLED:
                pytest.fail("a pass was applied though the network is disabled")
        for row in plan:
            least = specification.max_tasks_per_transformation
            assert self._in_flight(network, row.key) <= max(least, before[row.key])

    def _is_reserved(self, key: TransformationKey, plan: TaskPlan) -> bool:
        """Blocked, or without a weight though others have one."""
        blocked = any(task.status is TaskStatus.ERROR for task in self.tasks.values() if task.transformation == key)
        return blocked or plan[key].reason.value == "no_weight"

    # The model

    def _claim(
        self,
        service: int,
        limit: int,
        lease: timedelta,
        minimum_interval: timedelta,
        networks: Sequence[_Network],
    ) -> list[_Pass]:
        service %= len(self.stores)
        due = [network for network in networks if self._is_free(network) and self._is_due(network, minimum_interval)]
        claims = self.stores[service].claim_due(
            owner=f"service {service}",
            limit=limit,
            lease=lease,
            minimum_interval=minimum_interval,
            networks=None if networks == self.networks else [network.key for network in networks],
        )
        claimed = {claim.network for claim in claims}
        assert claimed <= {network.key for network in due}
        assert len(claims) == len(claimed) == min(limit, len(due))
        for claim in claims:
            network = self._network(claim.network)
            assert network.strategy is not None
            assert claim.fence > network.fence
            assert claim.owner == f"service {service}"
            assert claim.expires == self.now + lease
            assert claim.generation == network.generation
            assert (claim.strategy, claim.specification) == (network.strategy.payload, network.strategy.specification)
            network.fence, network.claim = claim.fence, claim
        return [_Pass(claim=claim, service=service) for claim in claims]

    def _due_at(self, network: _Network) -> datetime | None:
        """When a pass is due by time alone, now at the earliest; ``None`` if it never is."""
        moments = [self.now, *self._moments_of(network)]
        strategy, results = network.strategy, self._results_seen(network)
        if strategy is None:
            return None
        due = (moment for moment in moments if strategy.is_due(results, now=moment, minimum_interval=timedelta(0)))
        return min(due, default=None)

    def _move_to(self, moment: datetime) -> None:
        self.world.clock.advance(max(moment - self.now, timedelta(0)))

    def _held(self) -> list[_Network]:
        """Networks whose lease is not over."""
        return [network for network in self.networks if not self._is_free(network)]

    def _network(self, key: NetworkKey) -> _Network:
        (found,) = (network for network in self.networks if network.key == key)
        return found

    def _is_free(self, network: _Network) -> bool:
        return network.claim is None or network.claim.expires <= self.now

    def _is_due(self, network: _Network, minimum_interval: timedelta) -> bool:
        return network.strategy is not None and network.strategy.is_due(
            self._results_seen(network), now=self.now, minimum_interval=minimum_interval
        )

    def _is_valid(self, claim: Claim) -> bool:
        """Nobody has claimed the network since, ended the claim or edited: nothing else ends one, time included."""
        return self._network(claim.network).claim == claim

    def _known_results(self) -> list[_Result]:
        return [*self.results.values(), *self.unnamed_results]

    def _results_seen(self, network: _Network) -> ResultsSeen:
        keys = {edge.key for edge in network.graph}
        times = [result.created for result in self._known_results() if result.ok and result.transformation in keys]
        return ResultsSeen(count=len(times), newest=max(times, default=None))

    def _in_flight(self, network: _Network, transformation: TransformationKey | None = None) -> int:
        return sum(
            network.key in task.actioned_on and task.status.in_flight
            for task in self.tasks.values()
            if transformation in {None, task.transformation}
        )

    def _running(self) -> list[TaskKey]:
        return sorted(key for key, task in self.tasks.items() if task.status is TaskStatus.RUNNING)

    def _can_be_claimed(self, task: _Task) -> bool:
        parent_is_complete = task.extends is None or self.tasks[task.extends].status is TaskStatus.COMPLETE
        return task.status is TaskStatus.WAITING and bool(task.actioned_on) and parent_is_complete

    def _moments(self) -> list[datetime]:
        """When something changes by time alone."""
        return sorted({moment for network in self.networks for moment in self._moments_of(network)})

    def _moments_of(self, network: _Network) -> list[datetime]:
        moments = [] if network.claim is None else [network.claim.expires]
        if (strategy := network.strategy) is not None:
            rested = [strategy.rested_at(least) for least in (timedelta(0), HOUR)]
            moments += [moment for moment in (strategy.retry_at, *rested) if moment is not None]
        return [moment for moment in moments if moment > self.now]

    def _check_observation(self, network: _Network, observation: Observation) -> None:
        assert [state.key for state in observation.transformations] == [edge.key for edge in network.graph]
        assert observation.results_seen == self._results_seen(network)
        results = self._known_results()
        for state in observation.transformations:
            successes = [result.created for result in results if result.ok and result.transformation == state.key]
            assert (state.successful_results, state.first_success) == (len(successes), min(successes, default=None))
            assert {
                task.key: (
                    task.status,
                    task.actioned,
                    task.extends,
                    task.created,
                    task.results,
                    task.successful_results,
                )
                for task in state.tasks
            } == {
                key: (
                    task.status,
                    network.key in task.actioned_on,
                    task.extends,
                    task.created,
                    sum(result.task == key for result in results),
                    sum(result.task == key and result.ok for result in results),
                )
                for key, task in self.tasks.items()
                if task.transformation == state.key
            }

    def _observe(self, running: _Pass) -> Observation:
        observation = self.stores[running.service].observe(running.claim.network)
        self._check_observation(self._network(running.claim.network), observation)
        return observation

    def _decide(self, running: _Pass, fresh: Observation) -> TaskPlan:
        """On fresh facts, whatever was observed before the proposal."""
        self._check_observation(self._network(running.claim.network), fresh)
        assert running.weights is not None
        return plan_task_changes(fresh, running.weights, running.claim.specification)

    def _apply_to_model(self, network: _Network, plan: TaskPlan) -> None:
        kept = self.world.tasks(network.key)
        made = {key: task for key, task in kept.items() if key not in self.tasks}
        assert sorted((task.transformation, task.extends or "") for task in made.values()) == sorted(
            (row.key, creation.extends or "") for row in plan for creation in row.create
        )
        for key, task in made.items():
            self.tasks[key] = _Task(
                transformation=task.transformation,
                status=TaskStatus.WAITING,
                extends=task.extends,
                actioned_on={network.key},
                created=self.now,
            )
        for row in plan:
            for task_key in row.action:
                self.tasks[task_key].actioned_on.add(network.key)
            for task_key in row.cancel:
                self.tasks[task_key].actioned_on.discard(network.key)

    def _apply_in_vain(self, running: _Pass) -> None:
        weights = running.weights or {edge.key: 1.0 for edge in self._network(running.claim.network).graph}
        with nothing_written(self.world), pytest.raises(SupersededError):
            self.stores[running.service].apply(
                running.claim,
                lambda fresh: plan_task_changes(fresh, weights, running.claim.specification),
                seen=running.seen or ResultsSeen(),
            )

    def _finish_in_vain(self, running: _Pass, ending: PassEnding) -> None:
        with nothing_written(self.world), pytest.raises(SupersededError):
            self.stores[running.service].finish(running.claim, ending)

    def _set_strategy(self, network: _Network, payload: StrategyPayload, specification: Specification) -> None:
        self.world.store.set_strategy(network.key, payload, specification)
        network.strategy = _Strategy(payload=payload, specification=specification)
        self._edited(network)

    def _edit(self, network: _Network, change: Callable[[Specification], Specification]) -> None:
        assert network.strategy is not None
        given: list[Specification] = []

        def remember(old: Specification) -> Specification:
            given.append(old)
            return change(old)

        edited = self.world.store.edit_specification(network.key, remember)
        assert given[-1] == network.strategy.specification
        network.strategy.specification = change(network.strategy.specification)
        assert edited == network.strategy.specification
        self._edited(network)

    def _wake(self, network: _Network) -> None:
        strategy = network.strategy
        assert strategy is not None
        self.world.store.wake(network.key)
        strategy.status, strategy.retries, strategy.retry_at = StrategyStatus.AWAKE, 0, None
        self._edited(network)

    def _edited(self, network: _Network) -> None:
        """It is due at once, whoever was at it."""
        assert network.strategy is not None
        network.claim, network.strategy.edited = None, True
        record = self.world.store.get_strategy(network.key)
        assert record is not None
        assert record.generation > network.generation
        network.generation = record.generation


class StateMachineContract:
    """What passes, users and compute may do to one another on one store: nothing that the model does not do.

    The environment variables ``STRATEGIST_MACHINE_EXAMPLES`` and ``STRATEGIST_MACHINE_STEPS`` make it longer.
    """

    examples = 100
    """How many sequences are tried."""
    steps = 60
    """How many steps a sequence has at most."""

    @pytest.fixture
    def open_world(self) -> OpenWorld:
        """Opens a world around an empty store, once for every sequence."""
        raise NotImplementedError("a subclass of the contract gives a fixture `open_world`")

    def test_services_users_and_compute_in_any_order(self, open_world: OpenWorld) -> None:
        """The store is what the plain model is, after every step of every sequence."""

        class Machine(StoreMachine):
            def __init__(self) -> None:
                super().__init__(open_world)

        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=int(os.environ.get(_EXAMPLES, self.examples)),
                stateful_step_count=int(os.environ.get(_STEPS, self.steps)),
                deadline=None,
            ),
        )
