"""The fault campaign in its short form, and the proof that it would find what it looks for."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# All that a campaign may take; each part of it has a limit of its own.
PATIENCE = 360
POINTS = ("claimed", "observed", "proposed", "deciding", "written", "committed")


@contextmanager
def campaign(folder, *options):
    """A driver, the leader of a group of processes that is ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.campaign", *options],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)


def run_campaign(folder, *options):
    """Its exit status, its lines, and the four numbers of the last one."""
    with campaign(folder, *options) as process:
        printed, _ = process.communicate(timeout=PATIENCE)
        sys.stdout.write(printed)
        assert members(process.pid) == []
    lines = printed.splitlines()
    numbers = re.fullmatch(r"(\d+) kills, (\d+) stops, (\d+) edits, (\d+) violations", lines[-1])
    assert numbers, printed
    return process.returncode, lines, [int(number) for number in numbers.groups()]


def members(group):
    """The states of the processes of a group; those that are dead and only not yet buried do not count."""
    states = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, belongs_to = file.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(belongs_to) == group and state != "Z":
            states.append(state)
    return states


def soon(holds):
    deadline, pause = time.monotonic() + 60, threading.Event()
    while not holds() and time.monotonic() < deadline:
        pause.wait(0.05)
    return holds()


@pytest.fixture
def seed():
    """The same in CI, so that a red run can be repeated; any other elsewhere, and printed either way."""
    return ["--seed", "20250530"] if os.environ.get("CI") else []


def test_services_that_are_killed_and_stopped_lose_and_overstep_nothing(tmp_path, seed):
    options = ["--seconds", "60", "--edits", "200", "--kills", "30", "--stops", "3"]
    status, lines, (kills, stops, edits, violations) = run_campaign(tmp_path, *options, *seed)
    assert (status, violations) == (0, 0)
    assert kills >= 30
    assert stops >= 3
    assert edits >= 200
    (per_point,) = (line for line in lines if line.startswith("kills: "))
    for point in POINTS:
        assert int(re.search(rf"{point} (\d+)", per_point)[1]) > 0


@pytest.mark.parametrize(
    ("without", "only", "found"),
    [
        (["fence", "owner"], "stop", "stale holder wrote"),
        (["generation", "owner"], "edit", "edit overlooked"),
    ],
)
def test_a_store_that_does_not_check_claims_is_found_out(tmp_path, seed, without, only, found):
    options = ["--seconds", "5", "--edits", "10", "--only", only, "--without", *without]
    status, lines, (kills, _, _, violations) = run_campaign(tmp_path, *options, *seed)
    assert status == 1
    assert kills == 0
    assert violations > 0
    (kinds,) = (line for line in lines if line.startswith("violations: "))
    assert found in kinds


def test_the_seed_gives_the_schedule():
    def schedule_of(seed):
        code = "import sys; from tests.campaign import driver, schedule\n"
        code += f"settings = driver.Settings(seed={seed})\n"
        code += "print(schedule.digest(settings.seed, services=2, networks=50, kinds=settings.kinds))"
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        return done.stdout

    assert schedule_of(1) == schedule_of(1) != schedule_of(2)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process does not learn that its parent was killed")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_driver_that_is_ended_leaves_no_process_behind(tmp_path, number):
    with campaign(tmp_path, "--seconds", "60", "--only", "stop", "--seed", "1") as driver:
        # One of its services is stopped, so that it cannot do anything about it.
        assert soon(lambda: "T" in members(driver.pid))
        driver.send_signal(number)
        assert soon(lambda: members(driver.pid) == [])
