"""The commands on a store: they show what happened, passes see what they change, and mistakes change nothing."""

import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

import pytest
from click.testing import CliRunner

from alchemiscale_strategist import Specification, StrategyPayload
from alchemiscale_strategist.adapters.clock import SystemClock
from alchemiscale_strategist.adapters.in_process import InProcessRunner
from alchemiscale_strategist.adapters.sqlite import SQLiteStore
from alchemiscale_strategist.cli import main
from alchemiscale_strategist.errors import StrategyError, TransientError
from alchemiscale_strategist.networks import NetworkGraph
from alchemiscale_strategist.ports import StrategyFailed
from alchemiscale_strategist.reconciler import run_pass
from alchemiscale_strategist.strategies.native import NativeStrategyBase

HEADER = "┏"


def run(*arguments, **options):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], **options)


@dataclass(frozen=True)
class Campaign:
    """A store's file with the network "edges", and ways to make things happen in it."""

    path: object

    def run(self, command, *arguments, code=0):
        done = run(command, *arguments, "--store", self.path)
        assert done.exit_code == code, done.output
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done

    def json(self, command, *arguments):
        return json.loads(self.run(command, *arguments, "--json").stdout)

    def mistake(self, command, *arguments, told):
        done = self.run(command, *arguments, code=2)
        assert done.stdout == ""
        assert told in done.stderr
        return done.stderr

    def store(self):
        return SQLiteStore(self.path, clock=SystemClock())

    def passes(self, runner=None):
        with self.store() as store:
            claims = store.claim_due(owner="test", limit=10, lease=timedelta(minutes=1))
            for claim in claims:
                run_pass(claim, store=store, results=store, runner=runner or InProcessRunner(), jitter=0.5)
            return len(claims)

    def compute(self, number=None, *, fail=False):
        with self.store() as store:
            while number != 0 and (task := store.claim_task()):
                if fail:
                    store.fail_task(task.task, restart=False)
                else:
                    store.complete_task(task.task, estimate=1.5, uncertainty=0.25)
                number = None if number is None else number - 1

    def record(self):
        with self.store() as store:
            (record,) = store.list_strategies()
            return record

    def sql(self, statement, *values):
        with closing(sqlite3.connect(self.path)) as file, file:
            return file.execute(statement, values).fetchall()

    def dump(self):
        with closing(sqlite3.connect(self.path)) as file:
            return list(file.iterdump())


@pytest.fixture
def edges(tmp_path):
    path = tmp_path / "edges.csv"
    path.write_text(
        "transformation,state_a,state_b,leg\na_b,a,b,complex\nb_c,b,c,complex\nc_d,c,d,complex\n", encoding="utf-8"
    )
    return path


@pytest.fixture
def empty(tmp_path):
    return Campaign(tmp_path / "campaign.sqlite")


@pytest.fixture
def campaign(empty, edges):
    empty.run("submit", edges, "--strategy", "uniform", "--setting", "repeats=2", "--mode", "full")
    return empty


class Raises(NativeStrategyBase):
    name: ClassVar[str] = "uniform"

    @classmethod
    def from_settings(cls, _settings):
        return cls()

    def propose(self, _network, _results):
        raise ZeroDivisionError("a \x1b[31mred\x1b[0m mistake\nof two lines")


class Away:
    def propose(self, _request):
        raise TransientError("the pool is away")


# submit


def test_submit_makes_store_network_and_strategy_with_alchemiscales_defaults(empty, edges):
    done = empty.run("submit", edges)
    record = empty.record()
    assert record.specification == Specification()
    assert record.strategy == StrategyPayload.native("connectivity", {"decay_rate": 0.5, "cutoff": None, "max_runs": 3})
    assert record.network in done.stdout
    assert "mode partial" in done.stdout
    assert f"serve --store {empty.path}" in done.stdout
    assert "[default: partial]" in run("submit", "--help", env={"COLUMNS": "200"}).stdout
    assert "[default: full]" in run("plan", "--help", env={"COLUMNS": "200"}).stdout


def test_submit_takes_every_option(empty, edges, tmp_path):
    results = tmp_path / "results.csv"
    results.write_text("transformation,repeat,estimate\na_b,0,1.5\na_b,1,1.75\n", encoding="utf-8")
    limits = ("--mode", "full", "--max-tasks-per-transformation", 4, "--max-tasks-per-network", 9)
    more = ("--task-scaling", "linear", "--extends-preference", 0.5, "--sleep-interval", 60)
    done = empty.run("submit", edges, *limits, *more, "--results", results)
    assert "2 new results" in done.stdout
    assert empty.record().specification == Specification(
        mode="full",
        max_tasks_per_transformation=4,
        max_tasks_per_network=9,
        task_scaling="linear",
        extends_preference=0.5,
        sleep_interval=60,
    )
    assert empty.json("status")["networks"][0]["results"] == 2


def test_submitting_again_replaces_the_strategy_and_says_so(campaign, edges):
    campaign.passes()
    done = campaign.run("submit", edges, "--strategy", "uniform", "--setting", "repeats=5")
    assert "was there already" in done.stdout
    assert "It replaces uniform (repeats=2): iterations (1 so far)" in done.stdout
    record = campaign.record()
    assert record.strategy.settings() == {"repeats": 5}
    assert record.health.iterations == 0
    assert campaign.json("status")["networks"][0]["in_flight"] == 3


def test_a_strategy_file(empty, edges, tmp_path):
    file = tmp_path / "strategy.json"
    file.write_text('{"strategy": "uniform", "settings": {"repeats": 7}}', encoding="utf-8")
    empty.run("submit", edges, "--strategy-file", file)
    assert empty.record().strategy == StrategyPayload.native("uniform", {"repeats": 7})
    file.write_text('{"strategy": "uniform"}', encoding="utf-8")
    empty.run("submit", edges, "--strategy-file", file)
    assert empty.record().strategy == StrategyPayload.native("uniform", {"repeats": 3})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"strategy": "uniform", "setings": {}}', "unknown field 'setings', expected strategy and settings"),
        ('{"strategy": "uniform", "setings": {}}', "did you mean 'settings'"),
        ('{"settings": {"repeats": 3}}', "strategy: expected the name"),
        ('{"strategy": 3}', "strategy: expected the name"),
        ('{"strategy": "fastest"}', "expected one of connectivity, uniform"),
        ('{"strategy": "uniform", "settings": [3]}', "settings: expected an object"),
        ('{"strategy": "uniform", "settings": {"repeat": 3}}', "did you mean 'repeats'"),
        ('{"strategy": "uniform", "settings": {"repeats": 0}}', "repeats: got 0"),
        ('{"strategy": "uniform", "settings": {"repeats": "3"}}', "repeats: got '3'"),
        ('{"strategy": "uniform", "strategy": "connectivity"}', "twice"),
        ("[]", "expected an object"),
        ("", "is empty"),
        ('{"strategy": ', "not valid JSON"),
        ("[" * 100, "nested more than"),
        ('"' + "x" * 2**20 + '"', "larger than the limit"),
    ],
)
def test_a_strategy_file_that_is_wrong_is_told_by_field(empty, edges, tmp_path, content, told):
    file = tmp_path / "strategy.json"
    file.write_text(content, encoding="utf-8")
    stderr = empty.mistake("submit", edges, "--strategy-file", file, told=told)
    assert str(file) in stderr
    assert not empty.path.exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--strategy", "fastest"], "connectivity"),
        (["--setting", "max_run=2"], "did you mean 'max_runs'"),
        (["--mode", "half"], "partial"),
        (["--max-tasks-per-network", "0"], "max_tasks_per_network: got 0"),
        (["--extends-preference", "2"], "extends_preference: got 2.0"),
        (["--extends-preference", "nan"], "extends_preference: got nan"),
        (["--sleep-interval", "-1"], "sleep_interval: got -1.0"),
        (["--results", "{edges}"], "repeat"),
        (["--strategy-file", "nowhere.json"], "nowhere.json"),
        (["--strategy-file", "{edges}", "--setting", "repeats=2"], "no --strategy and no --setting beside it"),
        (["--strategy-file", "{edges}", "--strategy", "uniform"], "no --strategy and no --setting beside it"),
    ],
)
def test_a_mistake_in_submit_writes_nothing(empty, edges, arguments, told):
    empty.mistake("submit", edges, *(argument.format(edges=edges) for argument in arguments), told=told)
    assert not empty.path.exists()


def test_a_store_in_memory_is_no_place_to_submit_to(edges):
    done = run("submit", edges, "--store", ":memory:")
    assert done.exit_code == 2
    assert "expected a file" in done.stderr


# The store and its networks

EVERY_COMMAND = [
    ("status",),
    ("health", "edges"),
    ("pause", "edges"),
    ("resume", "edges"),
    ("wake", "edges"),
    ("drop", "edges", "--yes"),
    ("set", "edges", "--mode", "full"),
    ("history", "edges"),
    ("explain", "edges", "a_b"),
]


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda command: command[0])
def test_every_command_but_submit_needs_a_store(empty, edges, command):
    empty.mistake(*command, told="there is no such store")
    assert not empty.path.exists()
    done = run(*command, env={"ALCHEMISCALE_STRATEGIST_STORE": None})
    assert done.exit_code == 2
    assert "'--store'" in done.stderr
    done = run(*command, "--store", edges)
    assert done.exit_code == 2
    assert "not a SQLite file" in done.stderr.replace("is not", "not")


def test_the_environment_may_name_the_store(campaign):
    done = run("status", env={"ALCHEMISCALE_STRATEGIST_STORE": str(campaign.path)})
    assert done.exit_code == 0
    assert "uniform" in done.stdout


@pytest.mark.parametrize("command", [command for command in EVERY_COMMAND if command[1:]], ids=lambda c: c[0])
def test_networks_go_by_key_or_name_and_close_ones_are_told(campaign, command):
    name, _, *rest = command
    stderr = campaign.mistake(name, "edgse", *rest, told="close to it: 'edges'")
    assert "Traceback" not in stderr
    campaign.run(name, campaign.record().network, *rest)


def test_an_ambiguous_name_is_told_with_its_keys(campaign, edges, tmp_path):
    other = tmp_path / "other" / "edges.csv"
    other.parent.mkdir()
    other.write_text(edges.read_text(encoding="utf-8") + "d_e,d,e,complex\n", encoding="utf-8")
    campaign.run("submit", other)
    with campaign.store() as store:
        keys = store.network_keys()
    for key in keys:
        assert key in campaign.mistake("health", "edges", told="a key, as 2 networks have that name")
        campaign.run("health", key)
        assert key in campaign.run("status").stdout


def test_a_network_without_a_strategy_is_told_as_such(campaign):
    key = campaign.record().network
    campaign.run("drop", "edges", "--yes")
    for name in ("edges", key):
        campaign.mistake("status", name, told="expected a network that has a Strategy")
    campaign.mistake("status", "edgse", told="close to it: 'edges'")


@pytest.mark.parametrize("command", ["pause", "resume", "wake", "drop"])
def test_one_unknown_network_of_several_changes_none(campaign, command):
    campaign.run("pause", "edges")
    before = campaign.dump()
    campaign.mistake(command, "edges", "nowhere", *(["--yes"] if command == "drop" else []), told="'nowhere'")
    assert campaign.dump() == before


# status


def row_of(campaign):
    (row,) = campaign.json("status")["networks"]
    (same,) = campaign.json("status", "edges")["networks"]
    assert {**row, "next_iteration": None} == {**same, "next_iteration": None}
    return row


def test_status_of_an_empty_store(empty, edges):
    empty.run("submit", edges)
    empty.run("drop", "edges", "--yes")
    assert "No network" in empty.run("status").stdout
    assert empty.json("status")["networks"] == []


def test_status_follows_a_campaign(campaign):
    row = row_of(campaign)
    assert (row["network"], row["strategy"], row["mode"], row["status"]) == ("edges", "uniform", "full", "awake")
    assert (row["iterations"], row["results"], row["in_flight"], row["due"]) == (0, 0, 0, True)
    assert "now: the first" in campaign.run("status").stdout

    campaign.passes()
    row = row_of(campaign)
    assert (row["iterations"], row["in_flight"], row["due"]) == (1, 3, False)
    due = datetime.fromisoformat(row["next_iteration"]) - datetime.fromisoformat(row["last_iteration"])
    assert due == timedelta(hours=1)
    assert "just now" in campaign.run("status").stdout
    assert "in 60 min" in campaign.run("status").stdout

    campaign.compute()
    campaign.run("wake", "edges")
    row = row_of(campaign)
    assert (row["results"], row["in_flight"], row["due"], row["why"]) == (3, 0, True, "edited")
    campaign.passes()
    campaign.compute()
    campaign.run("wake", "edges")
    campaign.passes()
    row = row_of(campaign)
    assert (row["status"], row["next_iteration"], row["why"]) == ("dormant", None, "when results change")

    key = campaign.sql("SELECT key FROM transformation")[0][0]
    campaign.sql("INSERT INTO result (transformation, ok, estimate, created) VALUES (?, 1, 1.0, 1)", key)
    row = row_of(campaign)
    assert (row["why"], row["due"]) == ("results changed", False)


def test_status_and_health_of_an_error(campaign):
    campaign.passes(InProcessRunner({"uniform": Raises}))
    row = row_of(campaign)
    assert (row["status"], row["next_iteration"], row["due"]) == ("error", None, False)
    assert row["remark"].startswith("ZeroDivisionError: ")
    shown = campaign.run("status").stdout
    assert "edges: ZeroDivisionError" in shown
    assert "health NETWORK" in shown

    shown = campaign.run("health", "edges").stdout
    assert "The Strategy failed: ZeroDivisionError" in shown
    assert "What to do: Mend the Strategy" in shown
    assert "Traceback (most recent call last)" in shown
    assert "\x1b" not in shown
    assert "\\x1b[31mred" in shown
    told = campaign.json("health", "edges")
    assert told["health"]["error"]["type"] == "ZeroDivisionError"
    assert "of two lines" in told["health"]["error"]["traceback"]
    assert told["why"] == "when it is woken or set again"

    assert "status error → awake, due at once" in campaign.run("wake", "edges").stdout
    assert row_of(campaign)["status"] == "awake"
    assert campaign.passes() == 1


def test_status_and_health_while_retrying(campaign):
    campaign.passes(Away())
    row = row_of(campaign)
    assert (row["why"], row["due"]) == ("retry 1", False)
    assert "TransientError: the pool is away" in row["remark"]
    shown = campaign.run("health", "edges").stdout
    assert "1 try failed, through no fault of the Strategy: TransientError" in shown
    assert "the pool is away" in shown
    assert campaign.json("health", "edges")["health"]["retries"] == 1


def test_status_and_health_when_stalled(campaign):
    campaign.passes()
    campaign.compute(fail=True)
    campaign.run("wake", "edges")
    campaign.passes()
    assert "stalled: 3 × a Task is in error" in row_of(campaign)["remark"]
    assert "awake, stalled" in campaign.run("status").stdout
    assert "3 × a Task is in error" in campaign.run("health", "edges").stdout
    assert "stalled: 3 × a Task" in " ".join(campaign.run("history", "edges").stdout.replace("│", " ").split())


def test_health_names_unclaimable_tasks(campaign):
    campaign.passes()
    ((task,),) = campaign.sql("SELECT min(key) FROM task")
    campaign.sql("UPDATE action SET weight = 0 WHERE task = ?", task)
    campaign.run("wake", "edges")
    campaign.passes()
    assert campaign.json("health", "edges")["health"]["unclaimable"] == [task]
    assert task in campaign.run("health", "edges").stdout


def test_health_has_the_specification_and_the_strategy(campaign):
    told = campaign.json("health", "edges")
    assert told["strategy"] == {"kind": "native", "name": "uniform", "settings": {"repeats": 2}}
    assert told["specification"]["mode"] == "full"
    assert told["health"]["iterations"] == 0
    assert "uniform (repeats=2)" in campaign.run("health", "edges").stdout


def test_what_another_program_stored_is_told_and_shown(campaign):
    campaign.sql("UPDATE strategy SET task_scaling = 'cubic'")
    campaign.sql("UPDATE strategy_text SET kind = 'gufe', content = '[1'")
    assert "cannot be read" in row_of(campaign)["remark"]
    assert "task_scaling: got 'cubic'" in campaign.run("health", "edges").stdout
    assert campaign.json("health", "edges")["strategy"]["settings"] is None
    assert "cannot be read" in campaign.run("explain", "edges", "a_b").stdout
    assert "is a gufe object" in campaign.json("explain", "edges", "a_b")["preview_error"]


# status --watch


@contextmanager
def start(*arguments, **options):
    """A process that hears of Ctrl-C, even where whoever runs the tests does not."""
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from alchemiscale_strategist.cli import main; main()"
    )
    environment = {**os.environ, "COLUMNS": "150", "TERM": "xterm"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, text=True, env=environment, **options) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("flags", "again"), [([], HEADER), (["--json"], '{"store"')])
def test_watch_prints_again_and_again_until_it_is_interrupted(campaign, flags, again):
    arguments = ("status", "--store", campaign.path, *flags, "--watch", "0.05")
    with start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        seen = 0
        for line in process.stdout:
            seen += line.startswith(again)
            if seen == 3:
                break
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert seen == 3
    assert process.returncode == 0
    assert stderr == ""


def read_until(terminal, text, times=1):
    """Read what a process writes to a terminal; ends with an OSError when nothing comes any more."""
    read = ""
    while read.count(text) < times:
        read += os.read(terminal, 4096).decode(errors="replace")
    return read


def test_watch_on_a_terminal_draws_in_one_place(campaign):
    master, slave = pty.openpty()
    with start(
        "status", "--store", campaign.path, "--watch", "0.05", stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        read = read_until(master, HEADER, times=3)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    os.close(master)
    assert "\x1b[" in read  # the cursor goes up again


@pytest.mark.parametrize("seconds", ["0", "nan", "inf", "1e9"])
def test_watch_takes_seconds(campaign, seconds):
    campaign.mistake("status", f"--watch={seconds}", told="--watch: got")


# Edits


def test_pause_and_resume_go_back_to_the_mode_before(campaign):
    for mode in ("full", "partial"):
        campaign.run("set", "edges", "--mode", mode)
        assert campaign.run("pause", "edges").stdout == f"edges: mode {mode} → paused\n"
        assert row_of(campaign)["mode"] == "disabled"
        assert row_of(campaign)["why"] == "when it is resumed"
        assert f"paused ({mode} before)" in campaign.run("health", "edges").stdout
        assert campaign.passes() == 0
        assert campaign.run("pause", "edges").stdout == "edges: nothing to change, mode paused\n"
        assert campaign.run("resume", "edges").stdout == f"edges: mode paused → {mode}\n"
        assert campaign.passes() == 1


def test_what_changes_nothing_supersedes_nobody(campaign):
    generation = campaign.record().generation
    assert "nothing to change" in campaign.run("resume", "edges").stdout
    assert "nothing to change" in campaign.run("set", "edges", "--mode", "full").stdout
    assert campaign.record().generation == generation


def test_what_was_never_paused_cannot_be_resumed(campaign):
    with campaign.store() as store:
        store.edit_specification(campaign.record().network, lambda _: Specification(mode="disabled"))
    campaign.mistake("resume", "edges", told="expected a network that was paused")
    assert row_of(campaign)["why"] == "when its mode is set"


def test_set_changes_what_is_given_and_tells_it(campaign):
    before = campaign.record()
    done = campaign.run("set", "edges", "--max-tasks-per-network", 2, "--sleep-interval", "90")
    assert done.stdout == "edges: max_tasks_per_network no limit → 2; sleep_interval 3600 s → 90 s\n"
    after = campaign.record()
    assert after.specification == Specification(mode="full", max_tasks_per_network=2, sleep_interval=90)
    assert after.generation == before.generation + 1
    campaign.passes()
    assert row_of(campaign)["in_flight"] == 2
    done = campaign.run("set", "edges", "--max-tasks-per-network", "none")
    assert done.stdout == "edges: max_tasks_per_network 2 → no limit\n"
    rest = ("--max-tasks-per-transformation", 5, "--task-scaling", "linear", "--extends-preference", 0.25)
    told = campaign.run("set", "edges", *rest).stdout
    assert "max_tasks_per_transformation 3 → 5" in told
    assert "task_scaling exponential → linear" in told
    assert "extends_preference 0.0 → 0.25" in told
    campaign.run("set", "edges", "--mode", "disabled")
    assert campaign.run("resume", "edges").stdout == "edges: mode paused → full\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "say what to change"),
        (["--mode", "half"], "'half'"),
        (["--max-tasks-per-network", "0"], "max_tasks_per_network: got 0"),
        (["--max-tasks-per-network", "many"], "neither a whole number nor 'none'"),
        (["--max-tasks-per-transformation", "none"], "max-tasks-per-transformation"),
        (["--max-tasks-per-transformation", "10001"], "at most 10000"),
        (["--sleep-interval", "inf"], "sleep_interval: got inf"),
        (["--mode", "partial", "--extends-preference", "-1"], "extends_preference: got -1.0"),
    ],
)
def test_a_mistake_in_set_changes_nothing(campaign, arguments, told):
    before = campaign.dump()
    campaign.mistake("set", "edges", *arguments, told=told)
    assert campaign.dump() == before


def test_wake_of_a_paused_network_says_that_it_stays_so(campaign):
    campaign.run("pause", "edges")
    assert "it is disabled" in campaign.run("wake", "edges").stdout


def test_drop_needs_yes_where_nobody_can_be_asked(campaign):
    before = campaign.dump()
    campaign.mistake("drop", "edges", told="add --yes")
    assert campaign.dump() == before
    campaign.passes()
    assert campaign.run("drop", "edges", "edges", "--yes").stdout.count("uniform (repeats=2) → none") == 1
    assert campaign.sql("SELECT count(*) FROM strategy") == [(0,)]
    assert campaign.sql("SELECT count(*) FROM action") == [(3,)]


@pytest.mark.parametrize(("answer", "left", "code"), [("y", 0, 0), ("n", 1, 1)])
def test_drop_asks_on_a_terminal(campaign, answer, left, code):
    master, slave = pty.openpty()
    with start("drop", "edges", "--store", campaign.path, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        read_until(master, "history? [y/N]")
        os.write(master, f"{answer}\n".encode())
        assert process.wait(timeout=30) == code
    os.close(master)
    assert campaign.sql("SELECT count(*) FROM strategy") == [(left,)]


# history


def test_history_is_told_newest_first_with_its_changes(campaign):
    assert "no such iterations; there were 0" in campaign.run("history", "edges").stdout
    assert campaign.json("history", "edges")["iterations"] == []
    campaign.passes()
    campaign.run("set", "edges", "--max-tasks-per-network", 1)
    campaign.passes()
    campaign.passes()
    second, first = campaign.json("history", "edges")["iterations"]
    assert (first["iteration"], first["created"], first["in_flight"]) == (1, 3, 3)
    assert (second["iteration"], second["cancelled"], second["in_flight"]) == (2, 2, 1)
    assert second["generation"] > first["generation"]
    assert {change["transformation"] for change in first["changes"]} == {"a_b", "b_c", "c_d"}
    assert {change["reason"] for change in second["changes"]} == {"network_limit"}
    shown = campaign.run("history", "edges").stdout
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", shown)
    assert "1 → 0" not in shown
    shown = campaign.run("history", "edges", "--changes").stdout
    assert "1 → 0" in shown
    assert "max_tasks_per_network leaves" in shown

    assert [row["iteration"] for row in campaign.json("history", "edges", "--limit", 1)["iterations"]] == [2]
    assert [row["iteration"] for row in campaign.json("history", "edges", "--before", 2)["iterations"]] == [1]
    assert len(campaign.json("history", "edges", "--before", 10**30)["iterations"]) == 2
    campaign.mistake("history", "edges", "--limit", 0, told="--limit")
    campaign.mistake("history", "edges", "--before", "last", told="--before")


def test_history_without_changes_and_with_an_error(campaign):
    campaign.passes()
    campaign.run("wake", "edges")
    campaign.passes(InProcessRunner({"uniform": Raises}))
    shown = campaign.run("history", "edges", "--changes").stdout
    assert "nothing was changed" in shown
    assert "ZeroDivisionError" in shown
    assert "mistake" in campaign.json("history", "edges")["iterations"][0]["error"]


# explain


def explained(campaign, transformation="a_b"):
    return campaign.json("explain", "edges", transformation), campaign.run("explain", "edges", transformation).stdout


def test_explain_before_the_first_pass(campaign):
    told, shown = explained(campaign)
    assert (told["tasks"], told["results"], told["last_change"]) == ([], [], None)
    assert (told["preview"]["want"], told["preview"]["reason"]) == (1, "weight")
    assert "no Tasks" in shown
    assert "Asked now: weight 0.3333, 0 → 1 Tasks in flight, as its weight asks for 1; create 1" in shown
    assert "No iteration in the history has changed it" in shown
    campaign.mistake("explain", "edges", "a_d", told="close to it: 'c_d', 'a_b'")
    campaign.run("explain", "edges", told["key"])
    assert campaign.sql("SELECT count(*) FROM task") == [(0,)]


def test_explain_running_waiting_and_done(campaign):
    campaign.passes()
    with campaign.store() as store:
        store.claim_task()
    told, shown = explained(campaign)
    states = {name: explained(campaign, name)[0]["tasks"][0] for name in ("a_b", "b_c", "c_d")}
    assert sorted(task["status"] for task in states.values()) == ["running", "waiting", "waiting"]
    assert {task["claimable"] for task in states.values() if task["status"] == "waiting"} == {True}
    assert (told["last_change"]["iteration"], told["last_change"]["want"]) == (1, 1)
    assert "Last changed in iteration 1" in shown
    assert told["tasks"][0]["task"] in shown
    assert told["tasks"][0]["actioned"] is True


def test_explain_satisfied(campaign):
    for _ in range(2):
        campaign.run("wake", "edges")
        campaign.passes()
        campaign.compute(number=None)
    campaign.run("set", "edges", "--sleep-interval", 1)
    told, shown = explained(campaign)
    assert told["preview"]["reason"] == "finished"
    assert told["results"] == [
        {"repeat": repeat, "estimate_kcal_per_mol": 1.5, "uncertainty_kcal_per_mol": 0.25} for repeat in (0, 1)
    ]
    assert {task["remark"] for task in told["tasks"]} == {"it is done"}
    assert "the Strategy is satisfied with the whole network" in shown


def test_explain_one_of_which_there_is_enough(empty, edges, tmp_path):
    results = tmp_path / "results.csv"
    results.write_text("transformation,repeat,estimate\na_b,0,1.5\na_b,1,1.75\na_b,2,1.5\n", encoding="utf-8")
    empty.run("submit", edges, "--results", results, "--strategy", "uniform")
    told, shown = explained(empty)
    assert (told["preview"]["reason"], told["preview"]["weight"]) == ("satisfied", None)
    assert "the Strategy has what it wants of it" in shown
    assert "1.75" in shown


def test_explain_blocked(campaign):
    campaign.passes()
    campaign.compute(fail=True)
    told, shown = explained(campaign)
    assert told["blocked"]
    assert told["preview"]["reason"] == "blocked"
    assert (told["tasks"][0]["status"], told["tasks"][0]["claimable"]) == ("error", False)
    assert "a Task is in error" in shown


def test_explain_limited_by_the_network(campaign):
    campaign.run("set", "edges", "--max-tasks-per-network", 1)
    campaign.passes()
    reasons = {name: explained(campaign, name) for name in ("a_b", "b_c", "c_d")}
    limited = [(told, shown) for told, shown in reasons.values() if told["preview"]["reason"] == "network_limit"]
    assert len(limited) == 2
    for told, shown in limited:
        assert (told["preview"]["asks"], told["preview"]["want"]) == (1, 0)
        assert "max_tasks_per_network leaves it 0" in shown


def test_explain_tasks_that_nobody_can_claim(campaign):
    campaign.passes()
    tasks = {name: explained(campaign, name)[0] for name in ("a_b", "b_c", "c_d")}
    insert = "INSERT INTO task (key, transformation, status, created) VALUES (?, ?, ?, 0)"
    weightless = tasks["a_b"]["tasks"][0]["task"]
    campaign.sql("UPDATE action SET weight = 0 WHERE task = ?", weightless)
    for name, status in (("b_c", "invalid"), ("c_d", "complete")):
        campaign.sql(insert, f"Task-parent-{name}", tasks[name]["key"], status)
        child = tasks[name]["tasks"][0]["task"]
        campaign.sql("UPDATE task SET extends = ? WHERE key = ?", f"Task-parent-{name}", child)
    remarks = {
        "a_b": "its weight on the TaskHub is 0",
        "b_c": "the Task that it extends is invalid",
        "c_d": "the Task that it extends has not exactly one result, a successful one",
    }
    for name, remark in remarks.items():
        told, shown = explained(campaign, name)
        (task,) = (task for task in told["tasks"] if task["status"] == "waiting")
        assert (task["claimable"], task["remark"]) == (False, remark)
        # The same as planning has it.
        assert told["preview"]["unclaimable"] == [task["task"]]
        assert "1 of them cannot be claimed" in shown


def test_explain_tasks_that_are_not_actioned(campaign):
    campaign.passes()
    ((task, key),) = campaign.sql("SELECT key, transformation FROM task LIMIT 1")
    campaign.sql("DELETE FROM action WHERE task = ?", task)
    told, _ = explained(campaign, key)
    assert (told["tasks"][0]["actioned"], told["tasks"][0]["remark"]) == (False, "it is not actioned")
    assert told["preview"]["action"] == 1
    campaign.sql("UPDATE task SET status = 'running' WHERE key = ?", task)
    assert "not actioned" in explained(campaign, key)[0]["tasks"][0]["remark"]
    campaign.sql("UPDATE task SET status = 'deleted' WHERE key = ?", task)
    assert explained(campaign, key)[0]["tasks"][0]["remark"] == "it does not count"


def test_explain_under_a_strategy_in_error(campaign):
    campaign.passes()
    campaign.run("wake", "edges")
    campaign.passes(InProcessRunner({"uniform": Raises}))
    told, shown = explained(campaign)
    assert (told["status"], told["error"]["type"]) == ("error", "ZeroDivisionError")
    assert "no pass runs until somebody acts" in shown
    # Asked in this process it is well, and that is told, too.
    assert told["preview"]["reason"] == "weight"


def test_explain_a_strategy_that_cannot_be_asked(campaign):
    with campaign.store() as store:
        store.set_strategy(campaign.record().network, StrategyPayload.native("unheard_of"), Specification())
    told, shown = explained(campaign)
    assert told["preview"] is None
    assert "Asked now, the Strategy fails: the Strategy 'unheard_of' cannot be made" in shown


def test_explain_finds_the_last_change_far_back(campaign):
    campaign.passes()
    network = campaign.record().network
    with campaign.store() as store:
        for _ in range(120):
            store.wake(network)
            (claim,) = store.claim_due(owner="test", limit=1, lease=timedelta(minutes=1))
            store.finish(claim, StrategyFailed(error=StrategyError("no"), seen=store.observe(network).results_seen))
    assert explained(campaign)[0]["last_change"]["iteration"] == 1


def test_explain_while_paused(campaign):
    campaign.run("pause", "edges")
    told, shown = explained(campaign)
    assert told["preview"]["reason"] == "disabled"
    assert "mode paused" in shown


# All of them


def test_names_are_shown_as_they_are_but_cannot_steer_a_terminal(empty, tmp_path):
    file = tmp_path / "[bold]n.csv"
    name = "c1cc[nH]c1\x1b[2J"
    file.write_text(f"transformation,state_a,state_b,leg\n{name},a,b,complex\n", encoding="utf-8")
    empty.run("submit", file)
    empty.passes()
    assert "[bold]n" in empty.run("status").stdout
    for command in (["history", "[bold]n", "--changes"], ["explain", "[bold]n", name], ["health", "[bold]n"]):
        shown = empty.run(*command).stdout
        assert "\x1b" not in shown
        assert "[bold]n" in shown
    assert "c1cc[nH]c1\\x1b[2J" in empty.run("explain", "[bold]n", name).stdout


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda command: command[0])
def test_a_mistake_in_a_process_of_its_own_has_no_traceback(campaign, command):
    name, *rest = command
    arguments = ("nowhere", *rest[1:]) if rest else ("nowhere",)
    with start(name, *arguments, "--store", campaign.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert stdout == ""
    assert stderr.startswith("Error: network: got 'nowhere'")


def test_a_store_of_a_simulation_can_be_looked_into(tmp_path, data):
    store = tmp_path / "simulated.sqlite"
    assert run("simulate", data / "small_edges.csv", "--store", store).exit_code == 0
    campaign = Campaign(store)
    assert campaign.json("status")["networks"][0]["status"] == "dormant"
    name = NetworkGraph.read(data / "small_edges.csv").transformations[0].name
    assert len(campaign.json("explain", "small_edges", name)["results"]) >= 3
    assert len(campaign.json("history", "small_edges")["iterations"]) > 3
