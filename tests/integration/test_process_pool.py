"""Proposals in processes of their own: what Strategies do there, and what becomes of the processes."""

import contextlib
import functools
import json
import multiprocessing.spawn
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from alchemiscale_strategist.adapters.process_pool import ProcessPoolRunner, ProposalCancelledError
from alchemiscale_strategist.adapters.process_pool.worker import plain_weights
from alchemiscale_strategist.errors import InvalidWeightsError, RejectedInputError, StrategyError, TransientError
from alchemiscale_strategist.ports import GraphInputs, ProposalRequest, StrategyPayload
from alchemiscale_strategist.results import NetworkResults
from alchemiscale_strategist.strategies.native import NATIVE_STRATEGIES, NativeStrategyBase
from alchemiscale_strategist.testing import star_network

TESTS = Path(__file__).resolve().parents[1]
# Workers are given the service's own path, and the Strategies are imported in both.
sys.path.append(str(TESTS))
from misbehaving import MISBEHAVING, REFERENCES  # noqa: E402

NETWORK = star_network(3)
INPUTS = GraphInputs(
    network=NETWORK, results=NetworkResults(transformations=tuple(edge.key for edge in NETWORK), repeats={})
)
HEALTHY = {edge.key: 1.0 for edge in NETWORK}
MEMORY = 128 * 2**20
# Long enough on any machine; reached only where a test fails.
PATIENCE = 60
TOO_LONG = [name for name, error_type in MISBEHAVING.items() if error_type == "TimeLimitExceeded"]
QUICKLY_FAILING = [name for name in MISBEHAVING if name not in TOO_LONG]


def new_runner(*, workers=2, seconds=PATIENCE, strategies=REFERENCES, **options):
    limits = {"time_limit": timedelta(seconds=seconds), "memory_limit": MEMORY}
    return ProcessPoolRunner(workers=workers, strategies=strategies, **{**limits, **options})


@pytest.fixture(scope="module")
def runner():
    with new_runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def single():
    """A runner with one place, so that what a Strategy leaves behind would meet the next one."""
    with new_runner(workers=1) as runner:
        yield runner


def request(name, **settings):
    return ProposalRequest(strategy=StrategyPayload.native(name, settings), inputs=INPUTS)


def propose(runner, name, scratch=""):
    return runner.propose(request(name, scratch=str(scratch)))


def failure(runner, name, scratch=""):
    with pytest.raises(StrategyError) as caught:
        propose(runner, name, scratch)
    return caught.value


def told_by(runner, scratch):
    assert propose(runner, "tells_of_itself", scratch) == HEALTHY
    return json.loads((scratch / "told").read_text())


def until(condition):
    """Wait for what has to come; what it returns."""
    deadline = time.monotonic() + PATIENCE
    never = threading.Event()
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come about"
        never.wait(0.01)
    return found


def note(scratch, name):
    path = scratch / name
    return until(lambda: path.read_text() if path.exists() else None)


def parents_of_all():
    """Every living process with its parent; zombies are dead."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = path.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state not in "ZX":
                found[int(path.parent.name)] = int(parent)
    return found


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]


def may_trace():
    """Whether this process has CAP_SYS_PTRACE."""
    (capabilities,) = re.findall(r"^CapEff:\s*(\w+)$", Path("/proc/self/status").read_text(), flags=re.MULTILINE)
    return bool(int(capabilities, 16) >> 19 & 1)


def family_of(pid):
    parents = parents_of_all()
    family = {pid} & parents.keys()
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def none_lives(pids):
    return not parents_of_all().keys() & set(pids)


@contextlib.contextmanager
def in_the_background(*calls):
    """Run calls in threads; yields their futures."""
    with ThreadPoolExecutor(max_workers=len(calls)) as threads:
        yield [threads.submit(call) for call in calls]


# Strategies that fail do so alone


@pytest.mark.parametrize("name", QUICKLY_FAILING)
def test_a_failing_strategy_fails_alone(runner, name):
    began = threading.Barrier(2)

    def neighbour():
        began.wait(PATIENCE)
        return [propose(runner, "behaves") for _ in range(5)]

    with in_the_background(neighbour) as (healthy,):
        began.wait(PATIENCE)
        error = failure(runner, name)
        assert healthy.result(PATIENCE) == [HEALTHY] * 5
    assert error.error_type == MISBEHAVING[name]
    assert error.remedy
    assert propose(runner, "behaves") == HEALTHY


def test_what_takes_too_long_is_killed_and_its_neighbours_go_on():
    with new_runner(workers=len(TOO_LONG) + 1, seconds=2.5) as runner:
        # Once in every place, so that no start of a process takes the neighbours' time.
        with in_the_background(*[functools.partial(propose, runner, "takes_its_time")] * (len(TOO_LONG) + 1)) as warm:
            assert [each.result(PATIENCE) for each in warm] == [HEALTHY] * len(warm)
        began = time.monotonic()
        with in_the_background(*(functools.partial(failure, runner, name) for name in TOO_LONG)) as failing:
            while not all(each.done() for each in failing):
                assert propose(runner, "behaves") == HEALTHY
            errors = {name: each.result(PATIENCE) for name, each in zip(TOO_LONG, failing, strict=True)}
        took = time.monotonic() - began
        assert propose(runner, "behaves") == HEALTHY
    assert {name: error.error_type for name, error in errors.items()} == dict.fromkeys(TOO_LONG, "TimeLimitExceeded")
    assert all("time limit of 2.5 s" in str(error) and error.remedy for error in errors.values())
    # Killed in time, with some for a machine that is busy with them all.
    assert 2.5 <= took < 15
    # Where it was when its time was over, as far as it can be told.
    for name in ("loops", "waits", "loops_in_c"):
        assert f"in {name}" in errors[name].details
    assert "and on and on" in errors["prints_for_ever"].details


def test_the_messages_name_what_happened(runner):
    expected = {
        "exits_with_three": "exit code 3",
        "exits_well": "exit code 0",
        "exits_from_a_thread": "exit code 4",
        "exits_and_leaves_a_child": "exit code 5",
        "segfaults": "killed by SIGSEGV",
        "aborts": "killed by SIGABRT",
        "kills_itself": "killed by SIGKILL",
        "closes_all_files": "closed or damaged its connection",
        "writes_to_all_files": "closed or damaged its connection",
        "writes_an_answer": "closed or damaged its connection",
        "hoards": "memory limit of 128 MiB: it raised MemoryError",
        "hoards_shared_memory": "memory limit of 128 MiB: its process was killed",
        "hoards_in_children": "memory limit of 128 MiB: its process was killed",
    }
    for name, words in expected.items():
        message = str(failure(runner, name))
        assert words in message
        assert repr(name) in message


def test_a_crash_tells_where_it_was(runner):
    assert "in segfaults" in failure(runner, "segfaults").details


def test_a_lack_of_memory_tells_where_it_was(runner):
    for name in ("hoards", "asks_for_a_terabyte"):
        assert f"in {name}" in failure(runner, name).details


def test_an_error_comes_with_the_end_of_the_output_and_no_more(runner):
    details = failure(runner, "prints_and_raises").details
    assert "after much ado" in details
    assert details.endswith("the very last words")
    assert "first words" not in details
    assert len(details) < 10_000


def test_output_does_not_reach_the_service(capfd):
    with new_runner(workers=1) as runner:
        assert propose(runner, "prints_megabytes") == HEALTHY
        failure(runner, "segfaults")
    assert capfd.readouterr() == ("", "")


def test_output_is_not_taken_for_that_of_a_later_strategy(single):
    propose(single, "prints_megabytes")
    assert "of a child" not in failure(single, "exits_with_three").details


def test_numbers_and_texts_of_its_own_classes_come_back_plain(runner, tmp_path):
    weights = propose(runner, "runs_code_when_unpickled", tmp_path)
    assert weights == dict.fromkeys(HEALTHY, 0.5)
    assert {type(key) for key in weights} == {str}
    assert {type(weight) for weight in weights.values()} == {float}
    assert list(tmp_path.iterdir()) == []


def test_no_more_weights_are_read_than_there_can_be(runner):
    assert isinstance(failure(runner, "returns_millions"), InvalidWeightsError)
    # The same key again and again; the first ones count.
    assert propose(runner, "returns_no_end") == {NETWORK.transformations[0].key: 1.0}


def test_weights_are_made_plain():
    own_text, own_number = type("Text", (str,), {}), type("Number", (float,), {})
    weights = plain_weights({own_text("a"): 1, "b": None, "c": own_number(2.5)}, {"a", "b", "c"})
    assert weights == {"a": 1.0, "b": None, "c": 2.5}
    assert [type(key) for key in weights] == [str] * 3
    assert [type(weight) for weight in weights.values()] == [float, type(None), float]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "{]]][[",
        "[" * 100_000,
        "[]",
        '"weights"',
        "{}",
        '{"weights": []}',
        '{"weights": {"a": "1"}}',
        '{"weights": {"a": 1}}',
        '{"weights": {"a": true}}',
        '{"weights": {"a": {}}}',
        '{"weights": {"a": 1e999}}',
        '{"weights": {"a": 1.0, "a": 2.0}}',
        '{"raised": 1, "type": 2, "details": 3}',
        "\N{LATIN SMALL LETTER A WITH DIAERESIS}".encode("latin-1"),
    ],
)
def test_a_forged_answer_is_not_believed(single, tmp_path, answer):
    (tmp_path / "answer").write_bytes(answer if isinstance(answer, bytes) else answer.encode())
    error = failure(single, "forges_an_answer", tmp_path)
    assert error.error_type == "WorkerDied"
    assert "cannot be read" in str(error)


def test_an_endless_forged_answer_is_not_read_to_its_end(single, tmp_path):
    (tmp_path / "answer").write_bytes(b"[" * 2**24)
    assert "closed or damaged its connection" in str(failure(single, "forges_an_answer", tmp_path))
    assert propose(single, "behaves") == HEALTHY


# What is left behind meets nobody

LEAVING = [name for name in REFERENCES if name.startswith(("leaves_", "forks_")) and name not in MISBEHAVING]


@pytest.mark.parametrize("name", LEAVING)
def test_what_is_left_behind_meets_nobody(single, tmp_path, name):
    before = told_by(single, tmp_path)
    assert propose(single, name, tmp_path) == HEALTHY
    # Nothing of it: not the process, not its state, not its memory.
    after = told_by(single, tmp_path)
    assert after["pid"] != before["pid"] or name == "leaves_memory_limited"
    assert after["parent"] == before["parent"]
    assert {**after, "pid": 0} == {**before, "pid": 0}
    assert propose(single, "needs_memory") == HEALTHY
    if (left := tmp_path / "left").exists():
        assert none_lives([int(left.read_text())])


def test_a_healthy_strategy_keeps_its_worker(single, tmp_path):
    pids = set()
    for _ in range(3):
        pids.add(told_by(single, tmp_path)["pid"])
        propose(single, "behaves")
        with pytest.raises(StrategyError):
            propose(single, "unknown")
    assert len(pids) == 1


def test_a_worker_is_replaced_after_so_many_tasks(tmp_path):
    with new_runner(workers=1, max_tasks_per_worker=2) as runner:
        pids = [told_by(runner, tmp_path)["pid"] for _ in range(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


def test_children_of_a_killed_strategy_are_gone_when_its_error_is_there(tmp_path):
    with new_runner(workers=1) as runner:
        keeper = told_by(runner, tmp_path)["parent"]
        failure(runner, "hoards_in_children")
        failure(runner, "exits_and_leaves_a_child")
        propose(runner, "behaves")
        assert len(family_of(keeper)) == 2


# What a worker sees


def test_the_environment_is_scrubbed(monkeypatch, tmp_path):
    monkeypatch.setenv("NEO4J_PASSWORD", "swordfish")
    monkeypatch.setenv("LC_TIME", "C")
    monkeypatch.setenv("TZ", "UTC")
    with new_runner(workers=1) as runner:
        told = told_by(runner, tmp_path)
    assert told["environment"]["TZ"] == "UTC"
    assert told["environment"]["LC_TIME"] == "C"
    assert told["environment"]["OMP_NUM_THREADS"] == "1"
    assert "NEO4J_PASSWORD" not in told["environment"]
    assert "swordfish" not in told["environment_at_start"]
    # The keeper was spawned with the service's, and only who may trace any process can read it.
    assert (told["environment_of_parent"] is None) != may_trace()


def test_the_environment_may_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("MY_LICENSE", "1234")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with new_runner(workers=1, environment=["MY_*", "OMP_NUM_THREADS"]) as runner:
        environment = told_by(runner, tmp_path)["environment"]
    assert environment["MY_LICENSE"] == "1234"
    assert environment["OMP_NUM_THREADS"] == "2"
    assert "PATH" not in environment


def test_a_worker_has_no_files_but_its_own(single, tmp_path):
    told = told_by(single, tmp_path)
    assert told["files"] == ["null", "pipe", "pipe", "socket"]
    assert told["folder"] == "/"


def test_signals_to_the_whole_service_do_not_end_a_proposal(runner, tmp_path):
    with in_the_background(functools.partial(propose, runner, "waits_for_a_note", tmp_path)) as (running,):
        worker = int(note(tmp_path, "started"))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(worker, number)
        (tmp_path / "go on").touch()
        assert running.result(PATIENCE) == HEALTHY


# Several at once


def spans(scratch):
    return sorted(json.loads(path.read_text()) for path in scratch.glob("span-*"))


def test_no_more_run_at_once_than_there_are_workers(runner, tmp_path):
    calls = [functools.partial(propose, runner, "takes_its_time", tmp_path)] * 6
    with in_the_background(*calls) as running:
        assert [each.result(PATIENCE) for each in running] == [HEALTHY] * 6
    found = spans(tmp_path)
    at_once = [sum(began <= moment < ended for began, ended in found) for moment, _ in found]
    assert len(found) == 6
    assert max(at_once) == 2


def test_waiting_for_a_worker_takes_nothing_off_the_time(tmp_path):
    # Four of 0.6 s each, one after the other: the last one waits longer than the limit.
    with (
        new_runner(workers=1, seconds=1.5) as runner,
        in_the_background(*[functools.partial(propose, runner, "takes_its_time", tmp_path)] * 4) as running,
    ):
        assert [each.result(PATIENCE) for each in running] == [HEALTHY] * 4
    assert spans(tmp_path)[-1][1] - spans(tmp_path)[0][0] > 1.5


def test_places_are_given_in_the_order_in_which_they_are_asked_for(runner):
    """Else a thread that proposes again and again would keep another waiting."""
    over = threading.Event()
    counts = [0] * 6

    def again_and_again(number):
        while not over.is_set():
            propose(runner, "behaves")
            counts[number] += 1

    with in_the_background(*(functools.partial(again_and_again, number) for number in range(6))):
        try:
            until(lambda: max(counts) >= 100)
            assert min(counts) >= 50
        finally:
            over.set()


def test_time_in_which_nothing_runs_is_not_counted(tmp_path):
    """A container that is paused stops all processes, and the clock goes on."""
    with new_runner(workers=1, seconds=1.2) as runner:
        keeper = told_by(runner, tmp_path)["parent"]
        with in_the_background(functools.partial(propose, runner, "waits_for_a_note", tmp_path)) as (running,):
            worker = int(note(tmp_path, "started"))
            for pid in (worker, keeper):
                os.kill(pid, signal.SIGSTOP)
            paused = time.monotonic()
            until(lambda: time.monotonic() > paused + 1.5)
            (tmp_path / "go on").touch()
            os.kill(keeper, signal.SIGCONT)
            # It looks at the clock before the worker can have answered.
            until(lambda: state_of(keeper) == "S")
            os.kill(worker, signal.SIGCONT)
            assert running.result(PATIENCE) == HEALTHY


# The runner's own failures


def test_a_keeper_that_dies_is_no_fault_of_the_strategy(tmp_path):
    scratches = [tmp_path / name for name in ("one", "other")]
    for scratch in scratches:
        scratch.mkdir()
    with (
        new_runner() as runner,
        in_the_background(*(functools.partial(propose, runner, "waits", scratch) for scratch in scratches)) as running,
    ):
        pids = [int(note(scratch, "started")) for scratch in scratches]
        keepers = [parents_of_all()[pid] for pid in pids]
        os.kill(keepers[0], signal.SIGKILL)
        with pytest.raises(TransientError):
            running[0].result(PATIENCE)
        # Its worker followed it, and the neighbour did not notice.
        until(lambda: none_lives(pids[:1]))
        assert propose(runner, "behaves") == HEALTHY
        assert not none_lives(pids[1:])
        runner.close(cancel=True)
        with pytest.raises(ProposalCancelledError):
            running[1].result(PATIENCE)
    assert none_lives([*pids, *keepers])


def test_keepers_that_die_while_idle_are_replaced(tmp_path):
    with new_runner(workers=1) as runner:
        for _ in range(2):
            keeper = told_by(runner, tmp_path)["parent"]
            os.kill(keeper, signal.SIGKILL)
            until(lambda keeper=keeper: none_lives([keeper]))
            # What comes before the pool has noticed is lost with it, and may be tried again.
            with contextlib.suppress(TransientError):
                propose(runner, "behaves")
            assert propose(runner, "behaves") == HEALTHY


def test_a_worker_that_dies_while_idle_is_replaced(single, tmp_path):
    pid = told_by(single, tmp_path)["pid"]
    os.kill(pid, signal.SIGKILL)
    # At once: the keeper may not have noticed yet, and the next Strategy is not to blame.
    assert propose(single, "behaves") == HEALTHY


def test_where_no_process_can_be_started_it_may_be_tried_again(tmp_path):
    python = multiprocessing.spawn.get_executable()
    with new_runner(workers=1) as runner:
        multiprocessing.spawn.set_executable(str(tmp_path / "no-python"))
        try:
            with pytest.raises(TransientError):
                propose(runner, "behaves")
        finally:
            multiprocessing.spawn.set_executable(python)
        assert propose(runner, "behaves") == HEALTHY


def test_a_module_that_cannot_be_imported_fails_the_strategies_in_it(monkeypatch, tmp_path):
    (tmp_path / "half_installed.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    strategies = {"behaves": REFERENCES["behaves"], "broken": "half_installed:Broken"}
    with new_runner(workers=1, strategies=strategies) as runner:
        assert propose(runner, "behaves") == HEALTHY
        error = failure(runner, "broken")
    assert error.error_type == "ModuleNotFoundError"
    assert "no_such_package" in str(error)
    assert "half_installed.py" in error.details
    assert "half_installed" not in sys.modules


def test_a_module_that_ends_the_worker_is_no_fault_of_the_strategy(monkeypatch, tmp_path):
    (tmp_path / "fatal.py").write_text("import os\nprint('not on this machine')\nos._exit(9)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with (
        new_runner(workers=1, strategies={"fatal": "fatal:Fatal", "behaves": REFERENCES["behaves"]}) as runner,
        pytest.raises(TransientError, match="exit code 9, last words: not on this machine"),
    ):
        propose(runner, "behaves")


# Closing


def test_closing_waits_for_what_runs_and_refuses_what_waits(tmp_path):
    runner = new_runner(workers=1)
    told_by(runner, tmp_path)
    calls = [functools.partial(propose, runner, "takes_its_time", tmp_path)] * 3
    with in_the_background(*calls) as running:
        until(lambda: runner._running)
        runner.close()
        outcomes = [each.exception(PATIENCE) for each in running]
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        "NoneType",
        "ProposalCancelledError",
        "ProposalCancelledError",
    ]
    assert len(spans(tmp_path)) == 1
    with pytest.raises(ProposalCancelledError):
        propose(runner, "behaves")
    runner.close()
    runner.close(cancel=True)


def test_cancelling_ends_all_at_once_and_leaves_no_process(tmp_path):
    runner = new_runner()
    scratches = [tmp_path / str(number) for number in range(2)]
    for scratch in scratches:
        scratch.mkdir()
    told_by(runner, scratches[0])
    propose(runner, "leaves_a_daemon", scratches[0])
    calls = [functools.partial(propose, runner, "loops", scratch) for scratch in scratches]
    with in_the_background(*calls, functools.partial(propose, runner, "waits", tmp_path)) as running:
        pids = [int(note(scratch, "started")) for scratch in scratches]
        keepers = [parents_of_all()[pid] for pid in pids]
        began = time.monotonic()
        runner.close(cancel=True)
        took = time.monotonic() - began
        outcomes = [each.exception(PATIENCE) for each in running]
    assert [type(outcome) for outcome in outcomes] == [ProposalCancelledError] * 3
    assert all(isinstance(outcome, TransientError) and outcome.remedy for outcome in outcomes)
    assert took < 5
    assert none_lives([*pids, *keepers])


def test_a_runner_that_was_never_used_closes():
    new_runner().close()


SERVICE = """
    import os, sys, threading
    from datetime import timedelta
    from alchemiscale_strategist.adapters.process_pool import ProcessPoolRunner
    from alchemiscale_strategist.ports import GraphInputs, ProposalRequest, StrategyPayload
    from alchemiscale_strategist.results import NetworkResults
    from alchemiscale_strategist.testing import star_network

    def main():
        network = star_network(1)
        results = NetworkResults(transformations=tuple(edge.key for edge in network), repeats={})
        runner = ProcessPoolRunner(workers=3, strategies=STRATEGIES, time_limit=timedelta(hours=1))

        def propose(name, scratch):
            strategy = StrategyPayload.native(name, {"scratch": scratch})
            runner.propose(ProposalRequest(strategy=strategy, inputs=GraphInputs(network=network, results=results)))

        for name, scratch in CALLS:
            threading.Thread(target=propose, args=(name, scratch), daemon=True).start()
        sys.stdin.readline()

    if __name__ == "__main__":
        main()
"""


@pytest.mark.parametrize("ending", ["killed", "returned"])
def test_no_process_outlives_a_service_that_did_not_close(tmp_path, ending):
    names = ["loops", "waits", "leaves_a_daemon_and_waits"]
    scratches = {name: tmp_path / name for name in names}
    for scratch in scratches.values():
        scratch.mkdir()
    script = tmp_path / "service.py"
    calls = [(name, str(scratch)) for name, scratch in scratches.items()]
    script.write_text(f"STRATEGIES = {REFERENCES}\nCALLS = {calls}\n{textwrap.dedent(SERVICE)}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, env=environment) as service:
        try:
            pids = [int(note(scratch, "started")) for scratch in scratches.values()]
            left = int(note(scratches["leaves_a_daemon_and_waits"], "left"))
            family = family_of(service.pid)
            assert {*pids, left} <= family
            assert len(family) >= 1 + 3 + 3 + 1
            if ending == "killed":
                service.kill()
            else:
                service.stdin.close()
            service.wait(PATIENCE)
            until(lambda: none_lives(family))
        finally:
            service.kill()


# Arguments


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("workers", 0),
        ("workers", True),
        ("memory_limit", 1000),
        ("max_tasks_per_worker", 0),
        ("time_limit", timedelta(0)),
        ("time_limit", 5),
        ("environment", "PATH"),
    ],
)
def test_arguments_are_checked(field, value):
    with pytest.raises(RejectedInputError) as caught:
        ProcessPoolRunner(**{field: value})
    assert caught.value.field == field


@pytest.mark.parametrize("reference", ["misbehaving", "misbehaving:", ":behaves", "misbehaving:behaves()", "a b:c", ""])
def test_a_strategy_is_a_class_or_says_where_one_is(reference):
    with pytest.raises(RejectedInputError, match=r"strategies\['own'\]"):
        ProcessPoolRunner(strategies={"own": reference})


def test_a_class_has_to_be_found_by_its_name():
    class Local(NativeStrategyBase):
        name = "local"

    with pytest.raises(RejectedInputError, match=r"strategies\['local'\]"):
        ProcessPoolRunner(strategies={"local": Local})


def test_classes_and_references_may_be_mixed():
    with new_runner(workers=1, strategies={**NATIVE_STRATEGIES, "behaves": REFERENCES["behaves"]}) as runner:
        assert propose(runner, "behaves") == HEALTHY
        assert runner.propose(request("uniform")) == HEALTHY
