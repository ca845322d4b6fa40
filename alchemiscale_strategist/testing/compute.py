"""What compute services do to Tasks: :class:`ComputeStore` as tests."""
# ruff: noqa: S101 - these are tests, though they ship

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from alchemiscale_strategist.errors import RejectedInputError
from alchemiscale_strategist.planning.models import NetworkKey, ResultsSeen, TaskKey, TaskStatus, TransformationKey
from alchemiscale_strategist.ports import ClaimedTask, ComputeStore, StrategyKind
from alchemiscale_strategist.results import Repeat
from alchemiscale_strategist.testing.steps import (
    HOUR,
    INTERVAL,
    apply_plan,
    claim_network,
    make_dormant,
    managed_network,
    networks_due,
    nothing_written,
    task_seen,
)
from alchemiscale_strategist.testing.worlds import ComputeWorld, StoreContract, plan_of, sharing_networks, star_network

__all__ = ["ComputeStoreContract"]

_HandIn = Callable[[ComputeStore, TaskKey], None]
_HAND_INS: dict[str, _HandIn] = {
    "complete": lambda compute, task: compute.complete_task(task, estimate=1.5, uncertainty=0.25),
    "fail for good": lambda compute, task: compute.fail_task(task, restart=False),
    "fail for now": lambda compute, task: compute.fail_task(task, restart=True),
}
_UNKNOWN_TASK = TaskKey("Task-0123456789abcdef0123456789abcdef-no-such-task")

_for_every_hand_in = pytest.mark.parametrize("hand_in", _HAND_INS.values(), ids=_HAND_INS)


class ComputeStoreContract(StoreContract):
    """What :class:`ComputeStore` promises."""

    @pytest.fixture
    def world(self) -> ComputeWorld:
        """The world around the store under test."""
        raise NotImplementedError("a subclass of the contract gives a fixture `world`")

    # Claiming

    def test_a_claimed_task_is_running_and_otherwise_as_it_was(self, world: ComputeWorld) -> None:
        """Still on its TaskHub; whether its network has a Strategy does not matter. Nobody gets it again."""
        network, (first, _) = _network(world)
        task = world.add_task(first, actioned_on=[network], claim_weight=0.125, priority=3)
        before = world.tasks(network)
        assert world.compute.claim_task() == ClaimedTask(task=task, transformation=first, repeat=0, extends=None)
        assert world.tasks(network) == {task: replace(before[task], status=TaskStatus.RUNNING)}
        assert world.another_compute().claim_task() is None

    def test_without_tasks_there_is_none(self, world: ComputeWorld) -> None:
        """And that is no error."""
        assert world.compute.claim_task() is None
        _network(world)
        with nothing_written(world):
            assert world.compute.claim_task() is None

    @pytest.mark.parametrize("status", [status for status in TaskStatus if status is not TaskStatus.WAITING])
    def test_only_a_waiting_task_is_claimed(self, world: ComputeWorld, status: TaskStatus) -> None:
        """Any other one is being computed, or has ended."""
        network, (first, _) = _network(world)
        world.add_task(first, status=status, actioned_on=[network])
        with nothing_written(world):
            assert world.compute.claim_task() is None

    def test_only_an_actioned_task_is_claimed(self, world: ComputeWorld) -> None:
        """Nobody asked for the others."""
        _, (first, _) = _network(world)
        world.add_task(first)
        with nothing_written(world):
            assert world.compute.claim_task() is None

    def test_a_task_of_weight_0_is_claimed_by_nobody(self, world: ComputeWorld) -> None:
        """Unless another network, too, has it on its TaskHub, with a weight above 0."""
        left, right = sharing_networks()
        network = world.add_network(left)
        other, _ = managed_network(world, right)
        task = world.add_task(left.transformations[0].key, actioned_on=[network], claim_weight=0.0)
        with nothing_written(world):
            assert world.compute.claim_task() is None
        apply_plan(world, claim_network(world, other), lambda fresh: plan_of(fresh, action=[task]))
        assert dict(world.tasks(network)[task].actioned_on) == {network: 0.0, other: 0.5}
        assert _claimed(world) == task

    @pytest.mark.parametrize("status", [status for status in TaskStatus if status is not TaskStatus.COMPLETE])
    def test_an_extension_waits_for_its_parent(self, world: ComputeWorld, status: TaskStatus) -> None:
        """It is claimed as soon as that is complete, and says what it extends."""
        network, (first, _) = _network(world)
        parent = world.add_task(first, status=status)
        world.clock.advance(HOUR)
        child = world.add_task(first, actioned_on=[network], extends=parent)
        with nothing_written(world):
            assert world.compute.claim_task() is None
        world.set_status(parent, TaskStatus.COMPLETE)
        claimed = world.compute.claim_task()
        assert claimed == ClaimedTask(task=child, transformation=first, repeat=1, extends=parent)

    def test_an_extension_that_waits_holds_up_nobody(self, world: ComputeWorld) -> None:
        """Whatever its priority and age."""
        network, (first, second) = _network(world)
        parent = world.add_task(first, status=TaskStatus.RUNNING)
        world.add_task(first, actioned_on=[network], extends=parent, priority=1)
        world.clock.advance(HOUR)
        task = world.add_task(second, actioned_on=[network])
        assert _claimed(world) == task

    def test_tasks_come_by_priority_then_age_then_key(self, world: ComputeWorld) -> None:
        """The least number first; networks, Transformations and weights do not matter."""
        left, right = sharing_networks()
        networks = [world.add_network(graph) for graph in (left, right)]
        start = world.clock.now()
        world.clock.advance(timedelta(days=1))
        places: dict[TaskKey, tuple[int, int]] = {}
        for number, (priority, hour) in enumerate([(10, 2), (2, 3), (10, 1), (2, 2), (11, 0), (1, 3)] * 4):
            task = world.add_task(
                (left, right)[number % 2].transformations[number // 6 % 2].key,
                actioned_on=[networks[number % 2]],
                created=start + hour * HOUR,
                claim_weight=(0.25, 1.0, 0.5)[number % 3],
                priority=priority,
            )
            places[task] = (priority, hour)
        claimed = []
        while (found := world.compute.claim_task()) is not None:
            claimed.append(found.task)
        assert claimed == sorted(places, key=lambda task: (*places[task], task))

    def test_a_repeat_counts_the_older_tasks_of_its_transformation(self, world: ComputeWorld) -> None:
        """Whatever their status, actioned or not, in whichever order they are claimed; of the same age, by key."""
        network, (first, second) = _network(world)
        start = world.clock.now()
        world.clock.advance(timedelta(days=1))
        for number, status in enumerate(TaskStatus):
            world.add_task(first, status=status, created=start + number * HOUR)
        world.add_task(second, created=start)
        others = len(TaskStatus)
        latest = world.add_task(first, actioned_on=[network], created=start + 12 * HOUR, priority=1)
        between = [world.add_task(first, actioned_on=[network], created=start + 10 * HOUR) for _ in range(3)]
        earliest = world.add_task(first, actioned_on=[network], created=start - HOUR, priority=11)
        claimed = [world.compute.claim_task() for _ in range(5)]
        repeats = {found.task: found.repeat for found in claimed if found is not None}
        assert repeats == {
            earliest: 0,
            **{task: 1 + others + number for number, task in enumerate(sorted(between))},
            latest: 4 + others,
        }

    def test_a_task_on_two_task_hubs_is_claimed_once(self, world: ComputeWorld) -> None:
        """It is one Task."""
        left, right = sharing_networks()
        networks = [world.add_network(graph) for graph in (left, right)]
        task = world.add_task(left.transformations[0].key, actioned_on=networks)
        assert _claimed(world) == task
        assert world.compute.claim_task() is None
        assert dict(world.tasks(networks[0])[task].actioned_on) == dict.fromkeys(networks, 0.5)

    def test_several_compute_services_claim_every_task_exactly_once(self, world: ComputeWorld) -> None:
        """However they run into each other; what they hand in is all kept."""
        left, right = sharing_networks()
        networks = [world.add_network(graph) for graph in (left, right)]
        shared = left.transformations[0].key
        tasks = [world.add_task(shared, actioned_on=networks[: 1 + number % 2]) for number in range(60)]
        services = [world.another_compute() for _ in range(4)]

        def compute_all(service: ComputeStore) -> list[ClaimedTask]:
            claims: list[ClaimedTask] = []
            while (claimed := service.claim_task()) is not None:
                claims.append(claimed)
                service.complete_task(claimed.task, estimate=float(claimed.repeat), uncertainty=None)
            return claims

        with ThreadPoolExecutor(len(services)) as pool:
            claims = [claim for batch in pool.map(compute_all, services) for claim in batch]
        assert Counter(claim.task for claim in claims) == Counter(tasks)
        assert sorted(claim.repeat for claim in claims) == list(range(len(tasks)))
        estimates = sorted(
            repeat.estimate for repeat in world.source.inputs(networks[0], StrategyKind.NATIVE).results.of(shared)
        )
        assert estimates == list(range(len(tasks)))

    # Completing

    @pytest.mark.parametrize(
        ("estimate", "uncertainty"), [(-1.5, 0.25), (0.0, None), (0.1 + 0.2, 0.0), (-1e300, 1e-300), (5e-324, 1e300)]
    )
    def test_a_completed_task_is_off_every_task_hub_and_its_result_is_seen(
        self, world: ComputeWorld, estimate: float, uncertainty: float | None
    ) -> None:
        """By every network that has the Transformation, with the time of handing in; other Tasks stay as they are."""
        left, right = sharing_networks()
        networks = [world.add_network(graph) for graph in (left, right)]
        shared, own = (edge.key for edge in left)
        task = world.add_task(shared, actioned_on=networks, priority=1)
        for key in (shared, own):
            world.add_task(key, actioned_on=networks[:1])
        before = world.tasks(networks[0])
        assert _claimed(world) == task
        world.clock.advance(HOUR)
        world.compute.complete_task(task, estimate=estimate, uncertainty=uncertainty)

        changed = replace(before[task], status=TaskStatus.COMPLETE, actioned_on={})
        assert world.tasks(networks[0]) == {**before, task: changed}
        for network in networks:
            results = world.source.inputs(network, StrategyKind.NATIVE).results
            assert dict(results) == {shared: (Repeat(repeat=0, estimate=estimate, uncertainty=uncertainty),)}
            observed = world.store.observe(network)
            assert observed.results_seen == ResultsSeen(count=1, newest=world.clock.now())
            (state,) = (state for state in observed.transformations if state.key == shared)
            assert (state.successful_results, state.first_success) == (1, world.clock.now())
            record = task_seen(world, network, task)
            assert (record.results, record.successful_results, record.can_be_extended) == (1, 1, True)

    def test_an_extension_can_be_claimed_once_its_parent_is_handed_in(self, world: ComputeWorld) -> None:
        """In one go: the result of the parent is there before."""
        network, (first, _) = _network(world)
        parent = world.add_task(first, actioned_on=[network])
        child = world.add_task(first, actioned_on=[network], extends=parent, priority=1)
        assert _claimed(world) == parent
        assert world.compute.claim_task() is None
        world.compute.complete_task(parent, estimate=1.5, uncertainty=None)
        assert _claimed(world) == child

    def test_a_completed_task_wakes_a_dormant_network_and_a_failed_one_does_not(self, world: ComputeWorld) -> None:
        """As any result does."""
        network, (first, _) = managed_network(world)
        for _ in range(2):
            world.add_task(first, actioned_on=[network])
        make_dormant(world, network)
        world.clock.advance(INTERVAL)
        world.compute.fail_task(_claimed(world), restart=False)
        assert networks_due(world) == set()
        world.compute.complete_task(_claimed(world), estimate=1.5, uncertainty=None)
        assert networks_due(world) == {network}

    @pytest.mark.parametrize(
        ("estimate", "uncertainty"),
        [(math.nan, 0.25), (math.inf, None), (-math.inf, 0.25), (1.5, math.nan), (1.5, math.inf), (1.5, -5e-324)],
    )
    def test_numbers_that_are_no_result_are_refused(
        self, world: ComputeWorld, estimate: float, uncertainty: float | None
    ) -> None:
        """Nothing is written, and the Task goes on: what is right can be handed in after all."""
        network, (first, _) = _network(world)
        world.add_task(first, actioned_on=[network])
        task = _claimed(world)
        wrong = "uncertainty" if math.isfinite(estimate) else "estimate"
        with nothing_written(world), pytest.raises(RejectedInputError, match=wrong) as refused:
            world.compute.complete_task(task, estimate=estimate, uncertainty=uncertainty)
        assert refused.value.field == wrong
        world.compute.complete_task(task, estimate=1.5, uncertainty=0.25)
        assert task_seen(world, network, task).status is TaskStatus.COMPLETE

    # Failing

    @pytest.mark.parametrize("failures", [1, 3])
    def test_a_task_that_is_restarted_waits_again_on_its_task_hubs(self, world: ComputeWorld, failures: int) -> None:
        """Every failure is counted, and none of them as a success; it is the same repeat when it is claimed again."""
        left, right = sharing_networks()
        networks = [world.add_network(graph) for graph in (left, right)]
        shared, own = (edge.key for edge in left)
        world.add_task(shared, status=TaskStatus.COMPLETE)
        world.clock.advance(HOUR)
        task = world.add_task(shared, actioned_on=networks, claim_weight=0.25, priority=1)
        world.add_task(own, actioned_on=networks[:1])
        before = world.tasks(networks[0])
        again = ClaimedTask(task=task, transformation=shared, repeat=1)
        for failed in range(1, failures + 1):
            assert world.compute.claim_task() == again
            world.compute.fail_task(task, restart=True)
            assert world.tasks(networks[0]) == before
            _assert_failed(world, networks, task, times=failed)
        assert world.compute.claim_task() == again
        world.compute.complete_task(task, estimate=1.5, uncertainty=None)
        record = task_seen(world, networks[0], task)
        assert (record.status, record.results, record.successful_results) == (TaskStatus.COMPLETE, failures + 1, 1)

    def test_a_task_that_is_not_restarted_is_in_error_and_off_every_task_hub(self, world: ComputeWorld) -> None:
        """The failure is counted, not as a success; other Tasks stay as they are, and its extensions go on waiting."""
        left, right = sharing_networks()
        networks = [world.add_network(graph) for graph in (left, right)]
        shared, own = (edge.key for edge in left)
        task = world.add_task(shared, actioned_on=networks, priority=1)
        world.add_task(shared, actioned_on=networks, extends=task, priority=1)
        bystander = world.add_task(own, actioned_on=networks[:1])
        before = world.tasks(networks[0])
        assert _claimed(world) == task
        world.compute.fail_task(task, restart=False)
        changed = replace(before[task], status=TaskStatus.ERROR, actioned_on={})
        assert world.tasks(networks[0]) == {**before, task: changed}
        _assert_failed(world, networks, task, times=1)
        assert _claimed(world) == bystander
        assert world.compute.claim_task() is None

    # Handing in what is not running

    @_for_every_hand_in
    @pytest.mark.parametrize("status", [status for status in TaskStatus if status is not TaskStatus.RUNNING])
    def test_a_task_that_does_not_run_cannot_be_handed_in(
        self, world: ComputeWorld, status: TaskStatus, hand_in: _HandIn
    ) -> None:
        """It is named, and nothing is written: a user may have made it invalid meanwhile."""
        network, (first, _) = _network(world)
        world.add_task(first, actioned_on=[network])
        task = _claimed(world)
        world.set_status(task, status)
        with nothing_written(world), pytest.raises(RejectedInputError, match=task) as refused:
            hand_in(world.compute, task)
        assert (refused.value.field, refused.value.value) == ("task", task)

    @_for_every_hand_in
    @pytest.mark.parametrize("handed_in", _HAND_INS.values(), ids=[f"after {name}" for name in _HAND_INS])
    def test_a_task_is_handed_in_once(self, world: ComputeWorld, handed_in: _HandIn, hand_in: _HandIn) -> None:
        """Not again by the same service, nor by another."""
        network, (first, _) = _network(world)
        world.add_task(first, actioned_on=[network])
        task = _claimed(world)
        handed_in(world.compute, task)
        for compute in (world.compute, world.another_compute()):
            with nothing_written(world), pytest.raises(RejectedInputError, match=task):
                hand_in(compute, task)

    @_for_every_hand_in
    def test_an_unknown_task_cannot_be_handed_in(self, world: ComputeWorld, hand_in: _HandIn) -> None:
        """It is named, and nothing is written."""
        network, (first, _) = _network(world)
        world.add_task(first, status=TaskStatus.RUNNING, actioned_on=[network])
        with nothing_written(world), pytest.raises(RejectedInputError, match="no-such-task"):
            hand_in(world.compute, _UNKNOWN_TASK)


def _network(world: ComputeWorld) -> tuple[NetworkKey, tuple[TransformationKey, ...]]:
    """A network without a Strategy, and the keys of its two Transformations."""
    graph = star_network(2)
    return world.add_network(graph), tuple(edge.key for edge in graph)


def _claimed(world: ComputeWorld) -> TaskKey:
    claimed = world.compute.claim_task()
    assert claimed is not None
    return claimed.task


def _assert_failed(world: ComputeWorld, networks: list[NetworkKey], task: TaskKey, *, times: int) -> None:
    """Every network sees its failures, and no success of anybody."""
    for network in networks:
        record = task_seen(world, network, task)
        assert (record.results, record.successful_results) == (times, 0)
        assert dict(world.source.inputs(network, StrategyKind.NATIVE).results) == {}
        assert world.store.observe(network).results_seen == ResultsSeen()
