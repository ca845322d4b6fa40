"""Compute services of the campaign, in real time: Tasks take milliseconds, some fail, and what failed is restarted."""

import argparse
import heapq
import json
import os
import random
import sqlite3
import sys
import threading
import time
from pathlib import Path

from alchemiscale_strategist.adapters.clock import SystemClock
from alchemiscale_strategist.adapters.sqlite import SQLiteStore
from alchemiscale_strategist.errors import TransientError
from tests.campaign.children import end_with_the_driver

WORKERS = 16
RATE = 40.0  # Tasks a second while the faults go on: enough to do, and the file stays small
LONGEST = 0.05
FAILS, FAILS_FOR_GOOD = 0.05, 0.05
RESTARTED_AFTER = 0.7


class Compute:
    def __init__(self, store, path, *, seed, flag):
        self._store = store
        self._raw = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._draw = random.Random(f"{seed}: compute")  # noqa: S311
        self._flag = flag
        self._ends = []
        self._restarts = []
        self._began = time.monotonic()
        self._claimed = 0

    def step(self):
        """Whatever is to be done by now."""
        now = time.monotonic()
        while self._restarts and self._restarts[0][0] <= now:
            # As a user does, or a restart policy.
            _, task = self._restarts[0]
            self._raw.execute("UPDATE task SET status = 'waiting' WHERE key = ? AND status = 'error'", (task,))
            heapq.heappop(self._restarts)
        while self._ends and self._ends[0][0] <= now:
            _, task = self._ends[0]
            self._end(task, now)
            heapq.heappop(self._ends)
        slow = not self._flag.exists()
        while len(self._ends) < WORKERS and not (slow and self._claimed > RATE * (now - self._began)):
            claimed = self._store.claim_task()
            if claimed is None:
                return
            self._claimed += 1
            heapq.heappush(self._ends, (now + self._draw.uniform(0.002, LONGEST), claimed.task))

    def _end(self, task, now):
        chance = self._draw.random()
        if chance < FAILS:
            self._store.fail_task(task, restart=True)
        elif chance < FAILS + FAILS_FOR_GOOD:
            self._store.fail_task(task, restart=False)
            heapq.heappush(self._restarts, (now + RESTARTED_AFTER, task))
        else:
            self._store.complete_task(task, estimate=self._draw.gauss(0, 1), uncertainty=0.1)


def listen(stopped):
    for line in sys.stdin:
        if line.strip() == "stop":
            stopped.set()
    os._exit(3)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--flag", type=Path, required=True)
    options = parser.parse_args()
    end_with_the_driver()
    stopped = threading.Event()
    threading.Thread(target=listen, args=(stopped,), daemon=True).start()
    with SQLiteStore(options.store, clock=SystemClock(), durable=False) as store:
        compute = Compute(store, options.store, seed=options.seed, flag=options.flag)
        sys.stdout.write(json.dumps({"kind": "ready"}) + "\n")
        sys.stdout.flush()
        while not stopped.wait(0.005):
            try:
                compute.step()
            except (TransientError, sqlite3.OperationalError) as error:
                # Nothing was written, and the step begins where it ended.
                sys.stderr.write(f"{error}\n")
    os._exit(0)


if __name__ == "__main__":
    main()
