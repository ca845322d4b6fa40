"""How late healthy networks get when others have Strategies that loop, eat memory, die or talk nonsense.

100 networks in one embedded store, an interval of 10 s each, 4 workers that have started, a limit of 2 s and 128 MiB
for a proposal; 20 of the Strategies misbehave, and all are due at once in the beginning. Lateness is the start of a
pass minus the time at which it was due: python benchmarks/isolation.py
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from misbehaving import MISBEHAVING, REFERENCES

from alchemiscale_strategist import (
    NetworkGraph,
    NetworkResults,
    NetworkTransformation,
    Specification,
    StrategyPayload,
)
from alchemiscale_strategist.adapters.clock import SystemClock
from alchemiscale_strategist.adapters.process_pool import ProcessPoolRunner
from alchemiscale_strategist.adapters.sqlite import SQLiteStore
from alchemiscale_strategist.ports import GraphInputs, ProposalRequest
from alchemiscale_strategist.service import Service, ServiceSettings

INTERVAL = timedelta(seconds=10)


@dataclass
class Events:
    """A log that remembers when passes of each network started and ended."""

    started: dict[str, list[datetime]] = field(default_factory=dict)
    ended: dict[str, list[datetime]] = field(default_factory=dict)
    broke: list[Mapping[str, object]] = field(default_factory=list)

    def info(self, event: str, **values: object) -> None:
        moments = {"pass_started": self.started, "pass_ended": self.ended}.get(event)
        if moments is not None:
            moments.setdefault(str(values["network"]), []).append(datetime.now(tz=UTC))

    warning = info

    def exception(self, event: str, **values: object) -> None:
        self.broke.append({"event": event, **values})


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came of it: lateness of the healthy ones in seconds, and the records of all."""

    lateness: list[float]
    first_lateness: list[float]
    records: Mapping[str, Any]
    misbehaving: Mapping[str, str]
    broke: list[Mapping[str, object]]


def star(name: str, spokes: int = 6) -> NetworkGraph:
    """A network of its own, with one ligand in the middle."""
    edges = tuple(
        NetworkTransformation(
            key=f"{name}-{spoke}", name=f"hub_{spoke}", state_a="hub", state_b=str(spoke), leg="solvent"
        )
        for spoke in range(spokes)
    )
    return NetworkGraph(key=name, name=name, transformations=edges)


def measure(*, healthy: int, misbehaving: int, seconds: float, workers: int = 4) -> Measured:
    """Let a service work for that long, and look at what became of everybody."""
    bad = {f"bad-{n:03d}": name for n, name in zip(range(misbehaving), itertools.cycle(MISBEHAVING), strict=False)}
    names = [f"good-{n:03d}" for n in range(healthy)] + list(bad)
    # Who comes first is a matter of chance, as in life; the same chance every time.
    random.Random(0).shuffle(names)  # noqa: S311 - not for secrets
    events = Events()
    with tempfile.TemporaryDirectory() as folder, SQLiteStore(Path(folder, "s.db"), clock=SystemClock()) as store:
        with ProcessPoolRunner(
            workers=workers,
            time_limit=timedelta(seconds=2),
            memory_limit=128 * 2**20,
            strategies=REFERENCES,
        ) as runner:
            warm_up(runner, workers)
            service = Service(
                store=store,
                results=store,
                runner=runner,
                owner="isolation",
                log=events,
                jitter=random.random,
                settings=ServiceSettings(passes=workers, poll_interval=timedelta(milliseconds=200)),
                cancel_proposals=lambda: runner.close(cancel=True),
            )
            due = {}
            for name in names:
                key = store.add_network(star(name))
                strategy = StrategyPayload.native(bad.get(name, "behaves"))
                store.set_strategy(key, strategy, Specification(mode="full", sleep_interval=INTERVAL))
                due[name] = datetime.now(tz=UTC)
            thread = threading.Thread(target=service.run)
            thread.start()
            time.sleep(seconds)
            service.stop()
            thread.join(60)
        records = {record.network_name: record for record in store.list_strategies()}
    late, first = [], []
    for name in names:
        if name in bad:
            continue
        starts, ends = events.started.get(name, []), events.ended.get(name, [])
        first += [(starts[0] - due[name]).total_seconds()] if starts else []
        late += [(start - end - INTERVAL).total_seconds() for start, end in zip(starts[1:], ends, strict=False)]
    return Measured(lateness=late, first_lateness=first, records=records, misbehaving=bad, broke=events.broke)


def warm_up(runner: ProcessPoolRunner, workers: int) -> None:
    """Let every worker start, as those of a service have that has been running."""
    graph = star("warm")
    results = NetworkResults(transformations=tuple(edge.key for edge in graph), repeats={})
    inputs = GraphInputs(network=graph, results=results)
    request = ProposalRequest(strategy=StrategyPayload.native("behaves"), inputs=inputs)
    with ThreadPoolExecutor(workers) as threads:
        for _ in range(3):
            list(threads.map(lambda _: runner.propose(request), range(workers)))


def quantiles(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 3), "p95": round(cuts[94], 3), "max": round(max(values), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = measure(healthy=80, misbehaving=20, seconds=arguments.seconds)
    told = {
        "first pass": quantiles(found.first_lateness),
        "later passes": quantiles(found.lateness),
        "number of later passes": len(found.lateness),
        "in error": sum(found.records[name].health.status == "error" for name in found.misbehaving),
    }
    print(json.dumps(told, indent=2))
    everything = found.first_lateness + found.lateness
    verdict = "met" if quantiles(everything)["p95"] <= 3 else "missed"
    print(f"Target of p95 ≤ 3 s over all passes: {verdict}, {quantiles(everything)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
