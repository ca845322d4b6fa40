"""The service as an operator runs it: a process that works, tells what it does, and stops when told to."""

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from alchemiscale_strategist import Specification, StrategyPayload
from alchemiscale_strategist.adapters.clock import SystemClock
from alchemiscale_strategist.adapters.sqlite import SQLiteStore
from alchemiscale_strategist.testing import star_network

PATIENCE = 60.0


@contextmanager
def serving(store, *options):
    """A service on a store's file; its log is read line by line."""
    command = [sys.executable, "-m", "alchemiscale_strategist", "serve", "--store", str(store), "--log-json", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def events(process):
    for line in process.stderr:
        yield json.loads(line)


def wait_for(process, event, **values):
    """The next event of that name with those values; the test's time limit is the process's own."""
    for told in events(process):
        if told["event"] == event and all(told.get(name) == value for name, value in values.items()):
            return told
    raise AssertionError(f"the service ended without {event}")


def eventually(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.sqlite"


@pytest.fixture
def network(path):
    with SQLiteStore(path, clock=SystemClock()) as store:
        key = store.add_network(star_network(3))
        store.set_strategy(key, StrategyPayload.native("uniform", {"repeats": 1}), Specification(mode="full"))
    return key


def test_it_serves_until_it_is_told_to_stop(path, network):
    with serving(path, "--passes", "1", "--poll-interval", "0.05") as process:
        started = wait_for(process, "pass_started", network=network)
        ended = wait_for(process, "pass_ended", network=network)
        assert ended["pass_id"] == started["pass_id"]
        assert ended["fence"] == started["fence"] == 1
        assert (ended["result"], ended["created"], ended["status"]) == ("applied", 3, "awake")
        process.send_signal(signal.SIGTERM)
        wait_for(process, "service_stopped")
        assert process.wait(PATIENCE) == 0
    with SQLiteStore(path, clock=SystemClock()) as store:
        assert store.observe(network).in_flight == 3


def test_it_runs_a_campaign_to_dormancy(path, network):
    """With somebody to compute."""
    with (
        serving(path, "--passes", "1", "--poll-interval", "0.05") as process,
        SQLiteStore(path, clock=SystemClock()) as store,
    ):
        store.edit_specification(network, lambda _old: Specification(mode="full", sleep_interval=0.1))
        wait_for(process, "pass_ended", network=network, result="applied", created=3)
        while (claimed := store.claim_task()) is not None:
            store.complete_task(claimed.task, estimate=1.0, uncertainty=0.1)
        wait_for(process, "pass_ended", network=network, status="dormant")
        health = store.get_strategy(network).health
        assert (health.status, health.last_iteration_result_count) == ("dormant", 3)
        assert store.observe(network).in_flight == 0


def test_a_service_that_is_stopped_gives_its_claim_back(path, network):
    """In the middle of a proposal: another one need not wait for the lease."""
    with serving(path, "--passes", "1", "--poll-interval", "0.05", "--lease", "3600") as process:
        # A worker takes a while to start; the signal comes before it has answered, or just after.
        wait_for(process, "pass_started", network=network)
        process.send_signal(signal.SIGINT)
        ended = wait_for(process, "pass_ended", network=network)
        assert ended["result"] in {"released", "applied"}
        assert process.wait(PATIENCE) == 0
    with SQLiteStore(path, clock=SystemClock()) as store:
        health = store.get_strategy(network).health
        assert (health.retries, health.last_failure) == (0, None)
        store.wake(network)
    with serving(path, "--passes", "1", "--in-process") as process:
        assert wait_for(process, "pass_ended", network=network)["result"] == "applied"


def test_a_second_signal_ends_it_at_once(path, network):
    """Though something keeps it from stopping: here the file, which another process has locked."""
    with serving(path, "--passes", "1", "--poll-interval", "0.05", "--in-process") as process:
        wait_for(process, "pass_ended", network=network)
        with SQLiteStore(path, clock=SystemClock()) as store:

            def keep_it_waiting(old):
                # It claims inside this transaction, and waits for it.
                time.sleep(0.5)
                process.send_signal(signal.SIGTERM)
                time.sleep(0.2)
                process.send_signal(signal.SIGTERM)
                eventually(lambda: process.poll() is not None)
                return old

            store.edit_specification(network, keep_it_waiting)
        assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--lease", "10", "--time-limit", "60"], "lease: got '10 s', expected longer than the time limit"),
        (["--passes", "0"], "passes: got 0"),
        (["--poll-interval", "nan"], "poll_interval"),
        (["--memory-limit", "1"], "memory_limit"),
        (["--time-limit", "0"], "time_limit"),
        (["--minimum-interval", "-1"], "minimum_interval"),
    ],
)
def test_a_configuration_that_cannot_work_ends_it_with_the_reason(path, options, told):
    command = [sys.executable, "-m", "alchemiscale_strategist", "serve", "--store", str(path), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not path.exists() or "memory" in told or "time_limit" in told


def test_a_file_that_is_no_store_ends_it_with_the_reason(tmp_path):
    file = tmp_path / "results.csv"
    file.write_text("transformation,repeat\n", encoding="utf-8")
    command = [sys.executable, "-m", "alchemiscale_strategist", "serve", "--store", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 2
    assert "not a SQLite file" in done.stderr
