"""A service of the campaign: it stops at the point that it is told, says so, and waits to be killed or let go.

Lines come in: ``halt POINT QUIET NETWORK`` (``-`` for any network), ``disarm``, ``go``, ``stop``. Lines that go out are
JSON: ``ready``, ``at`` (a point was reached), ``disarmed``, ``ended`` (the pass that was halted is over).
"""

import argparse
import json
import os
import random
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from alchemiscale_strategist.adapters.clock import SystemClock
from alchemiscale_strategist.adapters.in_process import InProcessRunner
from alchemiscale_strategist.adapters.sqlite import SQLiteStore
from alchemiscale_strategist.errors import SupersededError
from alchemiscale_strategist.networks import NetworkGraph
from alchemiscale_strategist.planning.models import Reason, TransformationKey
from alchemiscale_strategist.results import NetworkResults
from alchemiscale_strategist.service import Service, ServiceSettings
from alchemiscale_strategist.strategies.native import NativeStrategyBase
from tests.campaign.children import end_with_the_driver
from tests.campaign.schedule import LOCKED
from tests.campaign.trace import IN_FLIGHT


@dataclass(frozen=True, kw_only=True)
class CampaignStrategy(NativeStrategyBase):
    """Asks for ``repeats`` of each, and on and on while there is no file ``until``."""

    name: ClassVar[str] = "campaign"

    repeats: int = 3
    until: str = ""
    weightless: bool = False

    def propose(self, network: NetworkGraph, results: NetworkResults) -> Mapping[TransformationKey, float | None]:
        on_and_on = self.until and not Path(self.until).exists()
        edges = network.transformations[1:] if self.weightless else network.transformations
        counts = {edge.key: results.count(edge.key) for edge in edges}
        return {key: 1 / (1 + count) if on_and_on or count < self.repeats else None for key, count in counts.items()}


class Gate:
    """Where passes come by, and where the driver halts one of them."""

    def __init__(self):
        self._armed = None
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._go = threading.Event()
        self._pass = threading.local()

    def tell(self, **message):
        with self._writing:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()

    def listen(self, stop):
        for line in sys.stdin:
            match line.split():
                case ["halt", point, quiet, network]:
                    with self._lock:
                        self._armed = (point, quiet == "quiet", None if network == "-" else network)
                case ["disarm"]:
                    with self._lock:
                        self._armed = None
                    self.tell(kind="disarmed")
                case ["go"]:
                    self._go.set()
                case ["stop"]:
                    stop()
        # The driver is gone.
        os._exit(3)

    @contextmanager
    def passing(self, claim):
        self._pass.claim, self._pass.halted = claim, False
        try:
            yield
        finally:
            if self._pass.halted:
                self.tell(kind="ended", network=claim.network, fence=claim.fence)

    def reached(self, point, store):
        claim = self._pass.claim
        with self._lock:
            if self._armed is None or self._armed[0] != point or self._armed[2] not in {None, claim.network}:
                return
            quiet, self._armed = self._armed[1], None
        # A process that is stopped while another of its threads holds the file's lock keeps everybody waiting.
        with store._db._lock if quiet and point not in LOCKED else nullcontext():
            self._pass.halted = True
            self.tell(kind="at", point=point, network=claim.network, fence=claim.fence)
            self._go.wait()
            self._go.clear()


class CampaignStore(SQLiteStore):
    """The store, which tells the gate where a pass is, and leaves a trace of what is applied."""

    gate: Gate
    unchecked: frozenset[str] = frozenset()

    def observe(self, network):
        self.gate.reached("claimed", self)
        observation = super().observe(network)
        self.gate.reached("observed", self)
        return observation

    def apply(self, claim, decide, *, seen):
        self.gate.reached("proposed", self)

        def watched(fresh):
            self.gate.reached("deciding", self)
            self._before = self._db.one(IN_FLIGHT, claim.network)[0]
            return decide(fresh)

        applied = super().apply(claim, watched, seen=seen)
        self.gate.reached("committed", self)
        return applied

    def _end_iteration(self, claim, health, *, plan=None):
        fence, owner, generation = self._db.one(
            "SELECT fence, owner, generation FROM network WHERE key = ?", claim.network
        )
        stored = self._record(claim.network)
        record = super()._end_iteration(claim, health, plan=plan)
        if plan is not None:
            reserved = sum(row.have for row in plan if row.reason in {Reason.BLOCKED, Reason.NO_WEIGHT})
            self._db.insert(
                "campaign_trace",
                {
                    "network": claim.network,
                    "owner": claim.owner,
                    "fence": claim.fence,
                    "generation": claim.generation,
                    "stored_owner": owner,
                    "stored_fence": fence,
                    "stored_generation": generation,
                    "as_stored": stored.specification == claim.specification and stored.strategy == claim.strategy,
                    "mode": claim.specification.mode.value,
                    "most": claim.specification.max_tasks_per_network,
                    "finished": plan.finished,
                    "reserved": reserved,
                    "before": self._before,
                    "after": self._db.one(IN_FLIGHT, claim.network)[0],
                },
            )
        self.gate.reached("written", self)
        return record

    def _check_claim(self, claim):
        """As it is, or without what the campaign is to miss."""
        if not self.unchecked:
            super()._check_claim(claim)
            return
        fence, owner, generation = self._db.one(
            "SELECT fence, owner, generation FROM network WHERE key = ?", claim.network
        )
        wrong = {"fence": fence != claim.fence, "owner": owner is None, "generation": generation != claim.generation}
        if any(wrong[name] for name in wrong.keys() - self.unchecked):
            raise SupersededError("another goes on")


class CampaignService(Service):
    gate: Gate

    def _pass(self, claim):
        with self.gate.passing(claim):
            super()._pass(claim)


class JsonLog:
    """Lines of JSON on stderr."""

    def info(self, event, **values):
        self._write(event, values)

    warning = info

    def exception(self, event, **values):
        self._write(event, {**values, "traceback": traceback.format_exc()})

    def _write(self, event, values):
        sys.stderr.write(json.dumps({"event": event, **values}, default=str) + "\n")
        sys.stderr.flush()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", required=True)
    parser.add_argument("--owner", required=True)
    parser.add_argument("--lease", type=float, required=True)
    parser.add_argument("--passes", type=int, required=True)
    parser.add_argument("--without", nargs="*", default=[])
    options = parser.parse_args()
    end_with_the_driver()
    gate = Gate()
    with CampaignStore(options.store, clock=SystemClock(), durable=False) as store:
        store.gate = gate
        store.unchecked = frozenset(options.without)
        service = CampaignService(
            store=store,
            results=store,
            runner=InProcessRunner({CampaignStrategy.name: CampaignStrategy}),
            owner=options.owner,
            log=JsonLog(),
            jitter=random.random,
            settings=ServiceSettings(
                passes=options.passes,
                lease=timedelta(seconds=options.lease),
                poll_interval=timedelta(milliseconds=50),
            ),
        )
        service.gate = gate
        threading.Thread(target=gate.listen, args=(service.stop,), daemon=True).start()
        gate.tell(kind="ready")
        service.run()
        # Nobody is to be interrupted while the store closes, and the listener waits for a line that never comes.
        sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
