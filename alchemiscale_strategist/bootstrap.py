"""The composition root: the one place, beside the simulation, that knows which adapters go together."""

from __future__ import annotations

from datetime import UTC, datetime

from alchemiscale_strategist.adapters.clock import ManualClock
from alchemiscale_strategist.adapters.in_process import InProcessRunner
from alchemiscale_strategist.adapters.sqlite import SQLiteStore
from alchemiscale_strategist.networks import NetworkGraph
from alchemiscale_strategist.planning.models import Specification
from alchemiscale_strategist.ports import StrategyPayload
from alchemiscale_strategist.reconciler import Preview, preview
from alchemiscale_strategist.results import NetworkResults
from alchemiscale_strategist.strategies.native import NativeStrategy

__all__ = ["preview_network"]


def preview_network(
    network: NetworkGraph,
    strategy: NativeStrategy,
    specification: Specification | None = None,
    *,
    results: NetworkResults | None = None,
) -> Preview:
    """Say what the first pass over a network without Tasks would do, given results that it has already.

    Args:
        network: the graph.
        strategy: a native Strategy.
        specification: mode, limits and scaling; alchemiscale's defaults where it is not given.
        results: successful results so far; none where they are not given.

    Raises:
        StrategyError: the Strategy failed.

    >>> from alchemiscale_strategist import UniformStrategy
    >>> from alchemiscale_strategist.simulation.examples import tyk2
    >>> network, results = tyk2()
    >>> preview_network(network, UniformStrategy(repeats=4), results=results).plan.want
    32
    """
    # In memory, and thrown away: time does not matter, and nothing is left behind.
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    runner = InProcessRunner({strategy.name: type(strategy)})
    payload = StrategyPayload.native(strategy.name, strategy.settings())
    with SQLiteStore(":memory:", clock=clock) as store:
        key = store.add_network(network)
        if results is not None:
            store.add_results(key, results)
        return preview(key, payload, specification or Specification(), store=store, results=store, runner=runner)
