"""The composition root: the one place, beside the simulation, that knows which adapters go together."""

from __future__ import annotations

import os
import random
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alchemiscale_strategist.adapters.clock import ManualClock, SystemClock
from alchemiscale_strategist.adapters.in_process import InProcessRunner
from alchemiscale_strategist.adapters.process_pool import ProcessPoolRunner
from alchemiscale_strategist.adapters.sqlite import SQLiteStore
from alchemiscale_strategist.errors import RejectedFileError, RejectedInputError, UnknownNetworkError
from alchemiscale_strategist.networks import NetworkGraph
from alchemiscale_strategist.planning.models import NetworkKey, Specification
from alchemiscale_strategist.ports import ProposalRunner, StrategyPayload
from alchemiscale_strategist.reconciler import Preview, preview
from alchemiscale_strategist.results import NetworkResults
from alchemiscale_strategist.service import EventLog, Service, ServiceSettings
from alchemiscale_strategist.strategies.native import NativeStrategy

__all__ = ["EmbeddedStore", "embedded_service", "open_store", "preview_network", "preview_stored_network"]

EmbeddedStore = SQLiteStore
"""The embedded store: fulfils every port of a store."""


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


def open_store(path: Path, *, must_exist: bool) -> EmbeddedStore:
    """Open an embedded store under the machine's clock; whoever opens it closes it.

    Args:
        path: the store's file.
        must_exist: refuse to make it where it is missing.

    Raises:
        RejectedFileError: there is no such file, or it is no store of ours.
        RejectedInputError: the path is SQLite's name for a store in memory, which would be gone with its process.
    """
    if str(path) == ":memory:":
        raise RejectedInputError(field="store", value=str(path), expected="a file")
    if must_exist and not path.is_file():
        remedy = f"Make one with: alchemiscale-strategist submit NETWORK_FILE --store {path}"
        raise RejectedFileError("there is no such store", path=path, remedy=remedy)
    return SQLiteStore(path, clock=SystemClock())


def preview_stored_network(store: EmbeddedStore, network: NetworkKey) -> Preview:
    """Say what a pass over a stored network would do now, under its own Strategy, run in this process.

    Raises:
        UnknownNetworkError: there is no such network, or it has no Strategy.
        StrategyError: the Strategy failed, or is none that runs in this process.
        TransientError: the store cannot be read right now.
    """
    record = store.get_strategy(network)
    if record is None:
        raise UnknownNetworkError(field="network", value=network, expected="a network that has a Strategy")
    return preview(network, record.strategy, record.specification, store=store, results=store, runner=InProcessRunner())


@contextmanager
def embedded_service(
    path: Path,
    *,
    settings: ServiceSettings,
    log: EventLog,
    time_limit: timedelta,
    memory_limit: int,
    in_process: bool = False,
) -> Iterator[Service]:
    """Give a service over an embedded store, with a runner as the limits ask for; both are closed afterwards.

    Args:
        path: the store's file, made where it is missing.
        settings: how the service works; the runner has a worker for every pass.
        log: where its events go.
        time_limit: how long a proposal may run; less than the lease.
        memory_limit: bytes that a proposal may use.
        in_process: run proposals in this process, without limits; for Strategies that are trusted.

    Raises:
        RejectedInputError: the lease is not longer than the time limit.
        RejectedFileError: the file is no store of ours.
        MissingDependencyError: pebble is not installed.
    """
    if settings.lease <= time_limit:
        raise RejectedInputError(
            field="lease",
            value=f"{settings.lease.total_seconds():g} s",
            expected=f"longer than the time limit of a proposal ({time_limit.total_seconds():g} s)",
        )
    owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    with SQLiteStore(path, clock=SystemClock()) as store, ExitStack() as closing:
        runner: ProposalRunner
        cancel: Callable[[], None]
        if in_process:
            runner, cancel = InProcessRunner(), lambda: None
        else:
            pool = ProcessPoolRunner(workers=settings.passes, time_limit=time_limit, memory_limit=memory_limit)
            closing.callback(pool.close, cancel=True)
            runner, cancel = pool, lambda: pool.close(cancel=True)
        yield Service(
            store=store,
            results=store,
            runner=runner,
            owner=owner,
            log=log,
            jitter=random.random,
            settings=settings,
            cancel_proposals=cancel,
        )
