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

__all__ = ["preview_network"]


def preview_network(
    network: NetworkGraph, results: NetworkResults | None, strategy: StrategyPayload, specification: Specification
) -> Preview:
    """Say what the first pass over a network without Tasks would do, given results that it has already.

    Raises:
        StrategyError: the Strategy failed.

    >>> from alchemiscale_strategist.simulation.examples import tyk2
    >>> network, results = tyk2()
    >>> preview_network(network, results, StrategyPayload.native("uniform", {"repeats": 4}), Specification()).plan.want
    32
    """
    # In memory, and thrown away: time does not matter, and nothing is left behind.
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    with SQLiteStore(":memory:", clock=clock) as store:
        key = store.add_network(network)
        if results is not None:
            store.add_results(results)
        return preview(key, strategy, specification, store=store, results=store, runner=InProcessRunner())
