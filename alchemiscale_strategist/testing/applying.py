"""A plan becomes Tasks, health and history, or nothing does: :meth:`ReconcileStore.apply` as tests."""
# ruff: noqa: S101 - these are tests, though they ship

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import NoReturn

import pytest

from alchemiscale_strategist.errors import SupersededError
from alchemiscale_strategist.planning.models import (
    Observation,
    ResultsSeen,
    Specification,
    StrategyMode,
    StrategyStatus,
    TaskPlan,
    TaskStatus,
)
from alchemiscale_strategist.planning.tasks import plan_task_changes
from alchemiscale_strategist.ports import Released
from alchemiscale_strategist.testing.steps import (
    ENDED_PASSES_AND_ERROR,
    HOUR,
    INTERVAL,
    LEASE,
    SEEN_NOTHING,
    UNKNOWN_NETWORK,
    Meanwhile,
    apply_plan,
    claim_network,
    for_all_that_supersedes,
    health_of,
    managed_network,
    networks_due,
    nothing_written,
    record_of,
    run_idle_pass,
)
from alchemiscale_strategist.testing.worlds import StoreContract, StoreWorld, plan_of, sharing_networks, star_network

__all__ = ["ApplyingContract"]


class ApplyingContract(StoreContract):
    """What :meth:`ReconcileStore.apply` promises."""

    def test_tasks_health_and_history_are_committed_together(self, world: StoreWorld) -> None:
        """With the plan that was applied as the answer, and the claim at its end."""
        network, (first, second) = managed_network(world)
        old = world.add_task(first, actioned_on=[network])
        idle = world.add_task(second)
        world.add_result(first)
        claim = claim_network(world, network)
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

        applied = world.store.apply(claim, decide, seen=observed.results_seen)

        assert applied.plan == decide(observed)
        assert applied.health == health_of(world, network)
        assert [applied.record] == list(world.store.iterations(network))
        tasks = world.tasks(network)
        assert {key for key, task in tasks.items() if network in task.actioned_on} == set(tasks) - {old}
        assert len(tasks) == 4
        health = health_of(world, network)
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
        world.clock.advance(INTERVAL)
        assert networks_due(world) == {network}

    def test_created_tasks_are_as_a_user_would_have_made_them(self, world: StoreWorld) -> None:
        """Waiting, of priority 10, actioned on this network with weight 0.5, extending what the plan says."""
        left, right = sharing_networks()
        network, (shared, own) = managed_network(world, left)
        other = world.add_network(right)
        parent = world.add_task(shared, status=TaskStatus.COMPLETE)
        world.clock.advance(HOUR)
        apply_plan(
            world,
            claim_network(world, network),
            lambda fresh: plan_of(fresh, create={shared: [None, parent], own: [None]}),
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
        network, (first, *_) = managed_network(world)
        on = world.add_task(first, status=status, actioned_on=[network], claim_weight=0.75)
        off = world.add_task(first, status=status, extends=on)
        before = world.tasks(network)
        apply_plan(world, claim_network(world, network), lambda fresh: plan_of(fresh, action=[off], cancel=[on]))
        assert world.tasks(network) == {
            on: replace(before[on], actioned_on={}),
            off: replace(before[off], actioned_on={network: 0.5}),
        }

    def test_a_task_that_is_neither_actioned_nor_cancelled_keeps_its_weight(self, world: StoreWorld) -> None:
        """A user may have set it."""
        network, (first, second) = managed_network(world)
        kept = world.add_task(first, actioned_on=[network], claim_weight=0.875)
        apply_plan(
            world, claim_network(world, network), lambda fresh: plan_of(fresh, create={first: [None], second: [None]})
        )
        assert world.tasks(network)[kept].actioned_on == {network: 0.875}

    def test_tasks_are_read_afresh(self, world: StoreWorld) -> None:
        """What changed between the observation and the transaction is what the plan is made from."""
        network, (first, second) = managed_network(world)
        gone = world.add_task(first, actioned_on=[network])
        claim = claim_network(world, network)
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
        network, (first, *_) = managed_network(world)
        claim = claim_network(world, network)
        stale = world.store.observe(network)
        world.add_result(first)
        counts: list[int] = []

        def decide(observation: Observation) -> TaskPlan:
            counts.append(observation.results_seen.count)
            return plan_of(observation)

        world.store.apply(claim, decide, seen=stale.results_seen)
        assert counts[-1] == 1
        assert health_of(world, network).results_seen == ResultsSeen(count=0)
        assert world.store.iterations(network)[0].results == 0

    @for_all_that_supersedes
    def test_a_superseded_pass_applies_nothing(self, world: StoreWorld, meanwhile: Meanwhile) -> None:
        """Its claim was lost or has ended, or the specification is not the one that it saw."""
        network, (first, *_) = managed_network(world)
        old = world.add_task(first, actioned_on=[network])
        claim = claim_network(world, network)
        meanwhile(world, claim)
        with nothing_written(world), pytest.raises(SupersededError):
            apply_plan(world, claim, lambda fresh: plan_of(fresh, create={first: [None]}, cancel=[old]))

    def test_a_superseded_pass_does_not_end_the_newer_claim(self, world: StoreWorld) -> None:
        """Whose pass then goes through."""
        network, (first, *_) = managed_network(world)
        stale = claim_network(world, network, owner="first")
        world.clock.advance(LEASE)
        newer = claim_network(world, network, owner="second")
        for _ in range(2):
            with pytest.raises(SupersededError):
                apply_plan(world, stale)
            with pytest.raises(SupersededError):
                world.store.finish(stale, Released())
        apply_plan(world, newer, lambda fresh: plan_of(fresh, create={first: [None]}))
        assert len(world.tasks(network)) == 1
        assert health_of(world, network).iterations == 1

    @pytest.mark.parametrize("difference", [-1, 1, 1000])
    @pytest.mark.parametrize("number", ["fence", "generation"])
    def test_any_other_fence_or_generation_is_refused(self, world: StoreWorld, number: str, difference: int) -> None:
        """A greater one, too: no claim has it."""
        network, _ = managed_network(world)
        claim = claim_network(world, network)
        fence, generation = claim.fence, claim.generation
        if number == "fence":
            fence += difference
        else:
            generation += difference
        with nothing_written(world):
            with pytest.raises(SupersededError):
                apply_plan(world, replace(claim, fence=fence, generation=generation))
            with pytest.raises(SupersededError):
                world.store.finish(replace(claim, fence=fence, generation=generation), Released())
        apply_plan(world, claim)

    def test_an_expired_lease_that_nobody_took_over_still_applies(self, world: StoreWorld) -> None:
        """The fence decides: a pass that was merely slow has not worked for nothing."""
        network, (first, *_) = managed_network(world)
        claim = claim_network(world, network)
        world.clock.advance(timedelta(days=1))
        apply_plan(world, claim, lambda fresh: plan_of(fresh, create={first: [None]}))
        assert len(world.tasks(network)) == 1

    def test_a_plan_that_cannot_be_made_changes_nothing(self, world: StoreWorld) -> None:
        """What ``decide`` raises goes through, and the claim is as good as before."""
        network, (first, *_) = managed_network(world)
        claim = claim_network(world, network)
        with nothing_written(world):

            def decide(_observation: Observation) -> NoReturn:
                raise ArithmeticError("weights that do not add up")

            with pytest.raises(ArithmeticError, match="do not add up"):
                apply_plan(world, claim, decide)
        apply_plan(world, claim, lambda fresh: plan_of(fresh, create={first: [None]}))
        assert len(world.tasks(network)) == 1

    def test_a_claim_on_a_network_that_is_gone_is_superseded(self, world: StoreWorld) -> None:
        """For both ways to end it."""
        network, _ = managed_network(world)
        claim = replace(claim_network(world, network), network=UNKNOWN_NETWORK)
        with nothing_written(world):
            with pytest.raises(SupersededError):
                world.store.apply(claim, plan_of, seen=SEEN_NOTHING)
            with pytest.raises(SupersededError):
                world.store.finish(claim, Released())

    def test_a_plan_touches_no_other_network(self, world: StoreWorld) -> None:
        """Not even where both have a Transformation, a Task, and that Task on their TaskHubs."""
        left, right = sharing_networks()
        network, (shared, own) = managed_network(world, left)
        other, _ = managed_network(world, right)
        both = world.add_task(shared, actioned_on=[network, other], claim_weight=0.25)
        theirs = world.add_task(shared, actioned_on=[other], claim_weight=0.75)
        bystander = record_of(world, other)
        apply_plan(
            world,
            claim_network(world, network),
            lambda fresh: plan_of(fresh, create={shared: [None], own: [None]}, action=[theirs], cancel=[both]),
        )
        tasks = world.tasks(network)
        assert tasks[both].actioned_on == {other: 0.25}
        assert tasks[theirs].actioned_on == {other: 0.75, network: 0.5}
        (new,) = (task for key, task in world.tasks(other).items() if key not in {both, theirs})
        assert new.actioned_on == {network: 0.5}
        assert record_of(world, other) == bystander
        assert list(world.store.iterations(other)) == []
        assert other in networks_due(world)

    def test_actions_left_on_tasks_that_ended_fill_no_place(self, world: StoreWorld) -> None:
        """They stay until the Strategy is satisfied, and are then taken off with the others, statuses unchanged."""
        network, (first, second) = managed_network(world)
        ended = [status for status in TaskStatus if not status.in_flight and status is not TaskStatus.ERROR]
        left_over = {world.add_task(first, status=status, actioned_on=[network]): status for status in ended}
        failed = world.add_task(second, status=TaskStatus.ERROR, actioned_on=[network])
        specification = Specification(mode=StrategyMode.FULL)
        plan = apply_plan(
            world,
            claim_network(world, network),
            lambda fresh: plan_task_changes(fresh, {first: 1.0, second: 0.0}, specification),
        )
        assert plan.created == 3
        assert all(world.tasks(network)[task].actioned_on == {network: 0.5} for task in [*left_over, failed])

        world.store.wake(network)
        apply_plan(
            world,
            claim_network(world, network),
            lambda fresh: plan_task_changes(fresh, {first: None, second: None}, specification),
        )
        tasks = world.tasks(network)
        assert not any(task.actioned_on for task in tasks.values())
        assert {task: tasks[task].status for task in left_over} == left_over
        assert tasks[failed].status is TaskStatus.ERROR
        assert health_of(world, network).status is StrategyStatus.DORMANT

    def test_a_large_network_is_applied_in_one_go(self, world: StoreWorld) -> None:
        """1000 Transformations: two Tasks each are made, then half of them cancelled."""
        network, keys = managed_network(world, star_network(1000))
        apply_plan(
            world,
            claim_network(world, network),
            lambda fresh: plan_of(fresh, create={key: [None, None] for key in keys}),
        )
        assert Counter(task.transformation for task in world.tasks(network).values()) == dict.fromkeys(keys, 2)
        world.store.wake(network)
        apply_plan(
            world,
            claim_network(world, network),
            lambda fresh: plan_of(fresh, cancel={state.tasks[0].key for state in fresh.transformations}),
        )
        on = Counter(task.transformation for task in world.tasks(network).values() if task.actioned_on)
        assert on == dict.fromkeys(keys, 1)
        latest, _ = world.store.iterations(network)
        assert (len(latest.changes), latest.cancelled, latest.in_flight) == (1000, 1000, 1000)

    def test_a_pass_changes_nothing_that_the_user_owns(self, world: StoreWorld) -> None:
        """Strategy, specification and generation are as before, however it ended."""
        network, _ = managed_network(world)
        before = record_of(world, network)
        run_idle_pass(world, network)
        for ending in ENDED_PASSES_AND_ERROR.values():
            world.clock.advance(timedelta(days=2))
            world.add_result(star_network(2).transformations[0].key)
            ending(world, network)
            record = record_of(world, network)
            assert record.health != before.health
            assert replace(record, health=before.health) == before
