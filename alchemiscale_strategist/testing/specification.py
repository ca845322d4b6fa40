"""What users set and read: :class:`SpecificationStore` as tests."""
# ruff: noqa: S101 - these are tests, though they ship

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from alchemiscale_strategist.errors import SupersededError, UnknownNetworkError
from alchemiscale_strategist.planning.health import StrategyHealth
from alchemiscale_strategist.planning.models import NetworkKey, Specification, StrategyMode, StrategyStatus, TaskScaling
from alchemiscale_strategist.ports import StrategyRecord
from alchemiscale_strategist.testing.steps import (
    EDITS,
    FULL_MODE,
    LEASE,
    OTHER_STRATEGY,
    SEEN_NOTHING,
    STRATEGY,
    UNKNOWN_NETWORK,
    Edit,
    EndPass,
    apply_plan,
    claim_network,
    drop_and_set_again,
    edit_nothing,
    for_every_edit,
    for_every_ended_pass_and_error,
    make_erroneous,
    managed_network,
    nothing_written,
    record_of,
    replace_strategy,
    run_idle_pass,
    small_network,
)
from alchemiscale_strategist.testing.worlds import StoreContract, StoreWorld, StrategyStore, plan_of, star_network

__all__ = ["SpecificationStoreContract"]


class SpecificationStoreContract(StoreContract):
    """What :class:`SpecificationStore` promises."""

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
                max_tasks_per_transformation=10_000,
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
        world.store.set_strategy(network, STRATEGY, specification)
        for store in (world.store, world.another_store()):
            record = store.get_strategy(network)
            assert record is not None
            assert record == StrategyRecord(
                network=network,
                network_name="star",
                strategy=STRATEGY,
                specification=specification,
                generation=record.generation,
                health=StrategyHealth().under(specification),
            )

    def test_a_payload_is_kept_as_it_is(self, world: StoreWorld) -> None:
        """Not decoded, whatever it holds."""
        network = world.add_network(star_network(1))
        strategy = replace(STRATEGY, name="näme '; --", content='{"x": "\\u0000 𝄞", "x": [[[' + "9" * 100_000)
        world.store.set_strategy(network, strategy, Specification())
        assert record_of(world, network).strategy == strategy

    def test_strategies_are_listed_by_name_then_key(self, world: StoreWorld) -> None:
        """Whatever the order in which they were set."""
        graphs = [star_network(n, name=name) for name in ("b", "C", "a") for n in (1, 2, 3)]
        for graph in graphs:
            managed_network(world, graph)
        world.add_network(star_network(1, name="without"))
        records = world.store.list_strategies()
        assert [(record.network_name, record.network) for record in records] == sorted(
            (graph.name, graph.key) for graph in graphs
        )
        assert [record_of(world, record.network) for record in records] == list(records)

    def test_replacing_a_strategy_begins_anew(self, world: StoreWorld) -> None:
        """Iterations, results seen, errors and history are gone."""
        network, _ = managed_network(world)
        run_idle_pass(world, network)
        edit_nothing(world.store, network)
        make_erroneous(world, network)
        replace_strategy(world.store, network)
        record = record_of(world, network)
        assert (record.strategy, record.specification) == (OTHER_STRATEGY, Specification())
        assert record.health == StrategyHealth()
        assert list(world.store.iterations(network)) == []
        run_idle_pass(world, network)
        assert [entry.iteration for entry in world.store.iterations(network)] == [1]

    @for_every_edit
    def test_every_edit_bumps_the_generation(self, world: StoreWorld, edit: Edit) -> None:
        """Also one that leaves every field as it was."""
        network, _ = managed_network(world)
        before = record_of(world, network).generation
        edit(world.store, network)
        assert record_of(world, network).generation > before

    @for_every_edit
    def test_an_edit_touches_no_other_network(self, world: StoreWorld, edit: Edit) -> None:
        """Neither what is set there, nor the pass that runs there."""
        network, _ = managed_network(world)
        other = small_network(world, "other")
        run_idle_pass(world, other)
        edit_nothing(world.store, other)
        claim = claim_network(world, other)
        before, history = record_of(world, other), list(world.store.iterations(other))
        edit(world.store, network)
        assert record_of(world, other) == before
        assert list(world.store.iterations(other)) == history
        apply_plan(world, claim)

    def test_the_generation_survives_the_strategy(self, world: StoreWorld) -> None:
        """Otherwise an old claim could fit a new Strategy."""
        network, _ = managed_network(world)
        for _ in range(3):
            edit_nothing(world.store, network)
        before = record_of(world, network).generation
        drop_and_set_again(world.store, network)
        assert record_of(world, network).generation > before

    def test_an_edit_gets_the_specification_and_returns_the_new_one(self, world: StoreWorld) -> None:
        """What is kept is what it returned."""
        network, _ = managed_network(world)
        given: list[Specification] = []

        def edit(specification: Specification) -> Specification:
            given.append(specification)
            return replace(specification, mode=StrategyMode.PARTIAL, max_tasks_per_network=None)

        new = world.store.edit_specification(network, edit)
        assert given[-1] == FULL_MODE
        assert new == replace(FULL_MODE, mode=StrategyMode.PARTIAL, max_tasks_per_network=None)
        assert record_of(world, network).specification == new

    @for_every_ended_pass_and_error
    def test_an_edit_leaves_what_the_service_owns(self, world: StoreWorld, ended: EndPass) -> None:
        """Strategy, status, iterations, results seen, retries, error and history."""
        network, _ = managed_network(world)
        ended(world, network)
        before, history = record_of(world, network), list(world.store.iterations(network))
        new = world.store.edit_specification(
            network, lambda old: replace(old, mode=StrategyMode.DISABLED, sleep_interval=timedelta(seconds=5))
        )
        after = record_of(world, network)
        assert after.strategy == before.strategy
        assert after.health == before.health.under(new)
        assert list(world.store.iterations(network)) == history

    def test_an_edit_that_raises_writes_nothing(self, world: StoreWorld) -> None:
        """Not even a generation."""
        network, _ = managed_network(world)
        claim = claim_network(world, network)
        with nothing_written(world), pytest.raises(ValueError, match="max_tasks_per_network"):
            world.store.edit_specification(network, lambda old: replace(old, max_tasks_per_network=0))
        apply_plan(world, claim)

    def test_no_edit_is_lost(self, world: StoreWorld) -> None:
        """Four users add one 25 times each, while a service runs passes."""
        users, times = 4, 25
        network, _ = managed_network(world, specification=replace(FULL_MODE, max_tasks_per_transformation=1))
        stores = [world.another_store() for _ in range(users + 1)]
        generation = record_of(world, network).generation

        def count_up(store: StrategyStore) -> None:
            for _ in range(times):
                store.edit_specification(
                    network,
                    lambda old: replace(old, max_tasks_per_transformation=old.max_tasks_per_transformation + 1),
                )

        def run_passes(store: StrategyStore) -> None:
            for _ in range(times):
                for claim in store.claim_due(owner="service", limit=1, lease=LEASE):
                    try:
                        store.apply(claim, plan_of, seen=SEEN_NOTHING)
                    except SupersededError:
                        continue

        with ThreadPoolExecutor(len(stores)) as pool:
            running = [pool.submit(count_up, store) for store in stores[:-1]]
            running.append(pool.submit(run_passes, stores[-1]))
            for future in running:
                future.result()
        record = record_of(world, network)
        assert record.specification.max_tasks_per_transformation == 1 + users * times
        assert record.generation == generation + users * times

    @for_every_ended_pass_and_error
    def test_waking_clears_errors_and_retries_and_nothing_else(self, world: StoreWorld, ended: EndPass) -> None:
        """The Strategy is awake; iterations, results seen and history stay."""
        network, _ = managed_network(world)
        ended(world, network)
        before, history = record_of(world, network), list(world.store.iterations(network))
        world.store.wake(network)
        after = record_of(world, network)
        assert after.health == before.health.after_wake()
        assert after.health.status is StrategyStatus.AWAKE
        assert (after.health.error, after.health.retries, after.health.retry_at) == (None, 0, None)
        assert (after.strategy, after.specification) == (before.strategy, before.specification)
        assert list(world.store.iterations(network)) == history

    def test_waking_enables_nothing(self, world: StoreWorld) -> None:
        """The mode is the user's own."""
        network, _ = managed_network(world, specification=Specification(mode=StrategyMode.DISABLED))
        world.store.wake(network)
        assert record_of(world, network).specification.mode is StrategyMode.DISABLED

    def test_dropping_takes_strategy_and_history_and_leaves_tasks(self, world: StoreWorld) -> None:
        """What is actioned stays actioned."""
        network, (first, *_) = managed_network(world)
        other = small_network(world, "other")
        for key in (network, other):
            run_idle_pass(world, key)
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
        with nothing_written(world):
            world.store.drop_strategy(network)

    def test_setting_a_strategy_leaves_tasks(self, world: StoreWorld) -> None:
        """And so do all other edits."""
        network, (first, *_) = managed_network(world)
        world.add_task(first, actioned_on=[network])
        tasks = world.tasks(network)
        for edit in EDITS.values():
            edit(world.store, network)
            assert world.tasks(network) == tasks

    def test_the_history_is_paged_from_the_newest(self, world: StoreWorld) -> None:
        """``limit`` at a time, below ``before``."""
        network, _ = managed_network(world, specification=replace(FULL_MODE, sleep_interval=timedelta(0)))
        for _ in range(5):
            run_idle_pass(world, network)

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
        network, _ = managed_network(world, specification=replace(FULL_MODE, sleep_interval=timedelta(0)))
        other = small_network(world, "other")
        run_idle_pass(world, other)
        kept = world.history_limit
        for _ in range(kept + 3):
            run_idle_pass(world, network)
        numbers = [entry.iteration for entry in world.store.iterations(network, limit=kept + 10)]
        assert numbers == list(range(kept + 3, 3, -1))
        assert len(world.store.iterations(other)) == 1

    def test_a_strategy_that_fails_again_and_again_has_a_bounded_history_too(self, world: StoreWorld) -> None:
        """Failures are iterations like any other."""
        network, _ = managed_network(world)
        for _ in range(world.history_limit + 2):
            world.store.wake(network)
            make_erroneous(world, network)
        assert len(world.store.iterations(network, limit=1000)) == world.history_limit

    @pytest.mark.parametrize("attached", [True, False])
    def test_an_unknown_network_is_named(self, world: StoreWorld, attached: bool) -> None:  # noqa: FBT001 - of pytest
        """By every method that takes one; by edit and wake also a network without a Strategy. Nothing is written."""
        without = world.add_network(star_network(2))
        if attached:
            managed_network(world, star_network(1, name="other"))
        with nothing_written(world):
            store = world.store
            attempts: Iterable[Callable[[NetworkKey], object]] = (
                lambda network: store.edit_specification(network, lambda old: old),
                store.wake,
                lambda network: store.set_strategy(network, STRATEGY, FULL_MODE),
                store.drop_strategy,
                store.get_strategy,
                store.iterations,
            )
            for number, attempt in enumerate(attempts):
                with pytest.raises(UnknownNetworkError, match="no-such-network"):
                    attempt(UNKNOWN_NETWORK)
                if number < 2:
                    with pytest.raises(UnknownNetworkError, match=without):
                        attempt(without)

    def test_reading_writes_nothing(self, world: StoreWorld) -> None:
        """Users look as often as they like."""
        network, _ = managed_network(world)
        run_idle_pass(world, network)
        with nothing_written(world):
            world.store.get_strategy(network)
            world.store.list_strategies()
            world.store.iterations(network)
