"""What a store sees of a network: :meth:`ObservationSource.observe` as tests."""
# ruff: noqa: S101 - these are tests, though they ship

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from alchemiscale_strategist.errors import UnknownNetworkError
from alchemiscale_strategist.networks import NetworkGraph
from alchemiscale_strategist.planning.models import NetworkKey, Observation, ResultsSeen, TaskRecord, TaskStatus
from alchemiscale_strategist.testing.steps import (
    HOUR,
    INSTANT,
    LEASE,
    SEEN_NOTHING,
    UNKNOWN_NETWORK,
    managed_network,
    nothing_written,
    task_seen,
)
from alchemiscale_strategist.testing.worlds import StoreContract, StoreWorld, plan_of, sharing_networks, star_network

__all__ = ["ObservingContract"]


class ObservingContract(StoreContract):
    """What :meth:`ObservationSource.observe` promises."""

    def test_an_observation_is_what_is_kept(self, world: StoreWorld) -> None:
        """Every Transformation in the network's order, with every Task whoever made it, as seen from this network."""
        left, right = sharing_networks()
        here, there = world.add_network(left), world.add_network(right)
        shared, own = (edge.key for edge in left)
        start = world.clock.now()
        world.clock.advance(HOUR)
        parent = world.add_task(shared, status=TaskStatus.COMPLETE, created=start)
        child = world.add_task(shared, extends=parent, actioned_on=[here, there], claim_weight=0.25)
        foreign = world.add_task(shared, status=TaskStatus.RUNNING, actioned_on=[there])
        failed = world.add_task(own, status=TaskStatus.ERROR, actioned_on=[here], claim_weight=0.0)
        world.add_result(shared, task=parent, created=start)
        world.add_result(shared, created=start + INSTANT)
        world.add_result(own, task=failed, ok=False)
        world.add_result(own, task=failed, ok=False)
        now = world.clock.now()

        seen = world.store.observe(here)
        assert seen.network == here
        assert seen.results_seen == ResultsSeen(count=2, newest=start + INSTANT)
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
        network, (first, *_) = managed_network(world)
        task = world.add_task(first)
        world.set_status(task, status)
        assert task_seen(world, network, task).status is status

    def test_transformations_come_in_the_order_of_the_network(self, world: StoreWorld) -> None:
        """Not in that of their keys or names."""
        edges = tuple(reversed(star_network(30).transformations))
        network = world.add_network(NetworkGraph(name="n", key=star_network(30).key, transformations=edges))
        observed = world.store.observe(network)
        assert [state.key for state in observed.transformations] == [edge.key for edge in edges]

    def test_observing_writes_nothing(self, world: StoreWorld) -> None:
        """Previews do it as they like."""
        network, _ = managed_network(world)
        with nothing_written(world):
            world.store.observe(network)

    def test_an_observation_never_shows_half_of_a_pass(self, world: StoreWorld) -> None:
        """Another service applies plans meanwhile, each with one Task for every Transformation."""
        network, keys = managed_network(world, star_network(20))
        writer = world.another_store()
        passes = 15

        def keep_adding() -> None:
            for _ in range(passes):
                writer.wake(network)
                (claim,) = writer.claim_due(owner="writer", limit=1, lease=LEASE)
                writer.apply(
                    claim, lambda fresh: plan_of(fresh, create={key: [None] for key in keys}), seen=SEEN_NOTHING
                )

        for observed in _observed_during(keep_adding, world, network):
            assert len({len(state.in_flight) for state in observed.transformations}) == 1
        assert world.store.observe(network).in_flight == passes * len(keys)

    def test_an_observation_is_of_one_instant(self, world: StoreWorld) -> None:
        """Results come in meanwhile: those of the Tasks, of the Transformations and of the network stay in step."""
        network, keys = managed_network(world, star_network(50))
        tasks = {key: world.add_task(key, status=TaskStatus.COMPLETE) for key in keys}
        each = 6

        def keep_computing() -> None:
            for _ in range(each):
                for key, task in tasks.items():
                    world.add_result(key, task=task)

        for observed in _observed_during(keep_computing, world, network):
            for state in observed.transformations:
                assert state.successful_results == sum(task.successful_results for task in state.tasks)
            total = sum(state.successful_results for state in observed.transformations)
            assert observed.results_seen.count == total
        assert world.store.observe(network).results_seen.count == each * len(keys)

    def test_an_unknown_network_cannot_be_observed(self, world: StoreWorld) -> None:
        """It is named."""
        with pytest.raises(UnknownNetworkError, match="no-such-network"):
            world.store.observe(UNKNOWN_NETWORK)


def _observed_during(write: Callable[[], None], world: StoreWorld, network: NetworkKey) -> Iterator[Observation]:
    """Observe again and again until a thread has written all that it has to."""
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not writing.done():
            yield world.store.observe(network)
        writing.result()
