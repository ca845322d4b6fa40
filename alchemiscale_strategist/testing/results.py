"""Networks and their results come back as they are kept: :class:`ResultSource` as tests."""
# ruff: noqa: S101 - these are tests, though they ship

from __future__ import annotations

from dataclasses import replace

import pytest

from alchemiscale_strategist.errors import UnknownNetworkError
from alchemiscale_strategist.networks import NetworkGraph
from alchemiscale_strategist.ports import StrategyKind
from alchemiscale_strategist.results import Repeat
from alchemiscale_strategist.testing.steps import HOUR, INSTANT, UNKNOWN_NETWORK, managed_network, nothing_written
from alchemiscale_strategist.testing.worlds import (
    StoreContract,
    StoreWorld,
    edge_between,
    sharing_networks,
    star_network,
)

__all__ = ["ResultSourceContract"]


class ResultSourceContract(StoreContract):
    """What :class:`ResultSource` promises."""

    def test_a_network_comes_back_as_it_was_added(self, world: StoreWorld) -> None:
        """Transformations in their order, parallel ones, ones from a state to itself, ones between legs."""
        ends = [("b", "a", "", ""), ("b", "a", "", ""), ("a", "a", "", ""), ("a", "ü c", "vacuum", "solvent")]
        edges = tuple(
            replace(edge_between(f"edge {number}", state_a, state_b), leg_a=leg_a, leg_b=leg_b)
            for number, (state_a, state_b, leg_a, leg_b) in reversed(list(enumerate(ends)))
        )
        graph = NetworkGraph(name="nämed", key=star_network(1).key, transformations=edges)
        network = world.add_network(graph)
        assert world.source.inputs(network, StrategyKind.NATIVE).network == graph

    def test_networks_that_share_a_transformation_come_back_as_they_were_added(self, world: StoreWorld) -> None:
        """Though each may call the states of the shared one otherwise, which decides what is connected to what."""
        left, right = sharing_networks()
        shared = replace(right.transformations[0], name="otherwise", state_a="a-1234", state_b="b-5678")
        own = replace(right.transformations[1], state_a="a-1234")
        right = NetworkGraph(name=right.name, key=right.key, transformations=(own, shared))
        keys = [world.add_network(graph) for graph in (left, right)]
        assert [world.source.inputs(key, StrategyKind.NATIVE).network for key in keys] == [left, right]

    def test_a_network_without_results_has_none(self, world: StoreWorld) -> None:
        """All its Transformations are known, though."""
        network, keys = managed_network(world)
        results = world.source.inputs(network, StrategyKind.NATIVE).results
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
        results = world.source.inputs(network, StrategyKind.NATIVE).results
        assert results.transformations == (shared, own)
        assert dict(results) == {shared: (Repeat(repeat=0, estimate=-1.5, uncertainty=0.125),)}

    def test_results_come_in_the_order_of_the_network_and_of_time(self, world: StoreWorld) -> None:
        """Whatever the order in which they were stored."""
        network, (first, second) = managed_network(world)
        start = world.clock.now()
        for key, hour in ((second, 2), (first, 3), (second, 1), (first, 1), (first, 2)):
            world.add_result(key, created=start + hour * HOUR, estimate=float(hour))
        results = world.source.inputs(network, StrategyKind.NATIVE).results
        assert list(results) == [first, second]
        assert [repeat.estimate for repeat in results.of(first)] == [1.0, 2.0, 3.0]
        assert [repeat.estimate for repeat in results.of(second)] == [1.0, 2.0]

    def test_estimates_come_back_to_the_last_bit(self, world: StoreWorld) -> None:
        """With their uncertainties, where these are known."""
        network, (first, *_) = managed_network(world)
        values = [(0.1 + 0.2, 1e-300), (-1e300, 0.0), (5e-324, None), (0.0, 1 / 3)]
        for number, (estimate, uncertainty) in enumerate(values):
            created = world.clock.now() + number * INSTANT
            world.add_result(first, estimate=estimate, uncertainty=uncertainty, created=created)
        repeats = world.source.inputs(network, StrategyKind.NATIVE).results.of(first)
        assert [(repeat.estimate, repeat.uncertainty) for repeat in repeats] == values

    def test_results_include_all_that_an_earlier_observation_counted(self, world: StoreWorld) -> None:
        """So that what a proposal saw is never less than what the health says it saw."""
        network, (first, second) = managed_network(world)
        for number in range(6):
            world.add_result(first if number % 3 else second, ok=number != 4)
            seen = world.store.observe(network).results_seen
            assert (
                world.source.inputs(network, StrategyKind.NATIVE).results.total
                >= seen.count
                == number + 1 - (number >= 4)
            )

    def test_an_unknown_network_is_named(self, world: StoreWorld) -> None:
        """By its key."""
        with pytest.raises(UnknownNetworkError, match="no-such-network"):
            world.source.inputs(UNKNOWN_NETWORK, StrategyKind.NATIVE)

    def test_reading_writes_nothing(self, world: StoreWorld) -> None:
        """Previews and proposals do it as they like."""
        network, (first, *_) = managed_network(world)
        world.add_result(first)
        with nothing_written(world):
            world.source.inputs(network, StrategyKind.NATIVE)
