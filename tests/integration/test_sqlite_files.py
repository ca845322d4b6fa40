"""The SQLite store and its file: what it opens and what it refuses, busy and full files, and processes that die."""

import functools
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alchemiscale_strategist.adapters.clock import ManualClock
from alchemiscale_strategist.adapters.sqlite import SQLiteStore, schema
from alchemiscale_strategist.adapters.sqlite.schema import APPLICATION_ID, SCHEMA_VERSION
from alchemiscale_strategist.errors import RejectedFileError, RejectedInputError, TransientError
from alchemiscale_strategist.planning.models import Observation, ResultsSeen, Specification
from alchemiscale_strategist.ports import Released, StrategyPayload
from alchemiscale_strategist.results import NetworkResults, Repeat
from alchemiscale_strategist.testing import plan_of, star_network

START = datetime(2025, 5, 30, 18, 24, 30, 540413, tzinfo=UTC)
LEASE = timedelta(minutes=7)
SEEN = ResultsSeen()
STRATEGY = StrategyPayload.native("uniform", {"repeats": 2})
NETWORK = star_network(3)
# Long enough on any machine; reached only where a test fails.
PATIENCE = 60


def open_store(path, *, clock=None, **settings):
    return SQLiteStore(path, clock=clock or ManualClock(START), durable=False, **settings)


def fill(store):
    """A network with a Strategy, Tasks, a result and a history of one iteration."""
    network = store.add_network(NETWORK)
    store.set_strategy(network, STRATEGY, Specification(sleep_interval=0))
    (claim,) = store.claim_due(owner="first", limit=1, lease=LEASE)
    store.apply(claim, create_everywhere, seen=SEEN)
    task = store.claim_task()
    store.complete_task(task.task, estimate=1.5, uncertainty=0.25)
    return network


def create_everywhere(fresh):
    return plan_of(fresh, create={state.key: [None] for state in fresh.transformations})


def kept(path):
    """All rows of a SQLite file, read by nobody but SQLite."""
    connection = sqlite3.connect(path)
    try:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {table: sorted(connection.execute(f"SELECT * FROM {table}"), key=repr) for table in tables}  # noqa: S608
    finally:
        connection.close()


def make_sqlite_file(path, *statements):
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


# Opening


def test_a_file_that_is_not_there_is_made(tmp_path):
    path = tmp_path / "new.db"
    with open_store(path) as store:
        assert list(store.list_strategies()) == []
    assert path.stat().st_size > 0


def test_an_empty_file_becomes_a_store(tmp_path):
    # mktemp and the like make one before they tell its name.
    path = tmp_path / "empty.db"
    path.touch()
    with open_store(path) as store:
        network = fill(store)
    with open_store(path) as store:
        assert store.get_strategy(network).health.iterations == 1


def test_a_path_may_be_text(tmp_path):
    path = tmp_path / "näme with blank.db"
    with open_store(str(path)) as store:
        fill(store)
    assert path.exists()


def test_a_file_opened_again_keeps_everything(tmp_path):
    path = tmp_path / "store.db"
    with open_store(path) as store:
        network = fill(store)
        before = [
            store.get_strategy(network),
            store.observe(network),
            store.inputs(network, "native"),
            store.iterations(network),
        ]
    rows = kept(path)
    with open_store(path) as store:
        assert [
            store.get_strategy(network),
            store.observe(network),
            store.inputs(network, "native"),
            store.iterations(network),
        ] == before
    assert kept(path) == rows


def test_nothing_lies_beside_a_file_that_was_closed(tmp_path):
    # One file can then be copied or moved as it is.
    with open_store(tmp_path / "store.db") as store:
        fill(store)
    assert [path.name for path in tmp_path.iterdir()] == ["store.db"]


def test_stores_in_memory_have_nothing_in_common(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_store(":memory:") as one, open_store(":memory:") as other:
        fill(one)
        assert list(other.list_strategies()) == []
    assert list(tmp_path.iterdir()) == []


def test_several_that_make_the_same_new_file_all_open_it(tmp_path):
    services = 6
    for n in range(8):
        path = tmp_path / f"store-{n}.db"
        barrier = threading.Barrier(services, timeout=PATIENCE)

        def open_together(path=path, barrier=barrier):
            barrier.wait()
            with open_store(path) as store:
                return store.add_network(NETWORK)

        with ThreadPoolExecutor(services) as pool:
            running = [pool.submit(open_together) for _ in range(services)]
            assert {future.result() for future in running} == {NETWORK.key}


def test_a_file_that_another_is_just_opening_is_waited_for(tmp_path, monkeypatch):
    """Between making the tables and turning on the write-ahead log somebody else begins to write."""
    path = tmp_path / "store.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    releases = []

    class Overtaken(sqlite3.Connection):
        def execute(self, statement, *values):
            if "journal_mode" in statement and not releases:
                other.execute("BEGIN IMMEDIATE")
                releases.append(threading.Timer(0.2, other.rollback))
                releases[0].start()
            return super().execute(statement, *values)

    monkeypatch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Overtaken))
    try:
        with open_store(path) as store:
            assert store._db.one("PRAGMA journal_mode") == ("wal",)
            fill(store)
        assert releases
    finally:
        for release in releases:
            release.join()
        other.close()


# Files that are refused; what is in them stays


@pytest.mark.parametrize(
    ("statements", "problem"),
    [
        (["CREATE TABLE address (name TEXT)", "INSERT INTO address VALUES ('x')"], "another program"),
        (["PRAGMA application_id = 42"], "another program"),
        (["PRAGMA user_version = 3"], "another program"),
        (["CREATE TABLE network (key TEXT)", f"PRAGMA user_version = {SCHEMA_VERSION}"], "another program"),
        (
            [f"PRAGMA application_id = {APPLICATION_ID}", f"PRAGMA user_version = {SCHEMA_VERSION + 1}"],
            f"schema version {SCHEMA_VERSION + 1}, this package reads version {SCHEMA_VERSION}",
        ),
        (
            [f"PRAGMA application_id = {APPLICATION_ID}", "PRAGMA user_version = 0"],
            f"schema version 0, this package reads version {SCHEMA_VERSION}",
        ),
    ],
    ids=["tables", "application_id", "user_version", "tables of the same name", "newer", "older"],
)
def test_a_sqlite_file_that_is_no_store_of_ours_is_refused(tmp_path, statements, problem):
    path = tmp_path / "other.db"
    make_sqlite_file(path, *statements)
    before = path.read_bytes()
    with pytest.raises(RejectedFileError, match=problem) as caught:
        open_store(path)
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["other.db"]


@pytest.mark.parametrize(
    "content",
    # SQLite itself takes a file of one byte for an empty one.
    [b"key,name\na,b\n" * 200, b"xy", b"SQLite format 3\0" + b"\xff" * 4096],
    ids=["text", "two bytes", "a header and rubbish"],
)
def test_a_file_that_is_not_sqlite_is_refused(tmp_path, content):
    path = tmp_path / "results.csv"
    path.write_bytes(content)
    with pytest.raises(RejectedFileError, match=r"results\.csv.*not a SQLite file") as caught:
        open_store(path)
    assert caught.value.remedy
    assert path.read_bytes() == content


def test_a_folder_that_is_missing_is_told(tmp_path):
    with pytest.raises(RejectedFileError, match=r"missing/store\.db") as caught:
        open_store(tmp_path / "missing" / "store.db")
    assert "folder" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(RejectedFileError) as caught:
        open_store(tmp_path)
    assert caught.value.remedy


@contextmanager
def without_privileges():
    """A folder that one may write to, as somebody who is not root: root may write to every file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if is_root:
                os.seteuid(0)
            folder.chmod(0o777)


def test_a_folder_that_may_not_be_written_to_is_told():
    with without_privileges() as folder:
        closed = folder / "closed"
        closed.mkdir(mode=0o555)
        with pytest.raises(RejectedFileError, match=r"store\.db") as caught:
            open_store(closed / "store.db")
        assert "write" in caught.value.remedy


def test_a_file_that_may_not_be_written_to_is_told():
    # Not a TransientError: another try with the same file fails just the same.
    with without_privileges() as folder:
        path = folder / "store.db"
        open_store(path).close()
        path.chmod(0o444)
        with pytest.raises(RejectedFileError, match=r"store\.db") as caught:
            open_store(path)
        assert "write" in caught.value.remedy


# Files that are busy or full


HOLD_THE_WRITE_LOCK = """
    import sqlite3, sys
    connection = sqlite3.connect(sys.argv[1], isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def child(script, *arguments):
    """A Python process that runs ``script``; killed at the end, or when the test has waited too long for it."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        watchdog = threading.Timer(PATIENCE, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()


WRITES = {
    "add_network": lambda store, _claim: store.add_network(star_network(1, name="other")),
    "add_results": lambda store, claim: store.add_results(claim.network, store.inputs(claim.network, "native").results),
    "claim_due": lambda store, _claim: store.claim_due(owner="second", limit=1, lease=LEASE),
    "apply": lambda store, claim: store.apply(claim, create_everywhere, seen=SEEN),
    "finish": lambda store, claim: store.finish(claim, Released()),
    "set_strategy": lambda store, claim: store.set_strategy(claim.network, STRATEGY, Specification()),
    "edit": lambda store, claim: store.edit_specification(claim.network, lambda old: old),
    "wake": lambda store, claim: store.wake(claim.network),
    "drop_strategy": lambda store, claim: store.drop_strategy(claim.network),
    "claim_task": lambda store, _claim: store.claim_task(),
}


@pytest.fixture
def filled(tmp_path):
    """A store in a file, with a claim, that waits for nobody."""
    with open_store(tmp_path / "store.db", busy_timeout=timedelta(milliseconds=20)) as store:
        fill(store)
        (claim,) = store.claim_due(owner="first", limit=1, lease=LEASE)
        yield store, claim


def test_a_busy_file_loses_nothing(filled):
    store, claim = filled
    before = kept(store.path)
    with child(HOLD_THE_WRITE_LOCK, store.path) as other:
        assert other.stdout.readline() == "held\n"
        for name, write in WRITES.items():
            with pytest.raises(TransientError, match=r"store\.db"):
                write(store, claim)
            assert kept(store.path) == before, name
        # Reading waits for nobody.
        assert store.get_strategy(claim.network).specification == claim.specification
        assert store.observe(claim.network).in_flight == 2
        other.communicate("")
        assert other.returncode == 0
    # The claim is as good as before.
    store.apply(claim, create_everywhere, seen=SEEN)
    assert store.get_strategy(claim.network).health.iterations == 2


def test_opening_a_busy_file_is_worth_another_try(filled):
    store, _ = filled
    with child(HOLD_THE_WRITE_LOCK, store.path) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(TransientError, match=r"store\.db"):
            open_store(store.path, busy_timeout=timedelta(milliseconds=20))
    open_store(store.path).close()


def test_a_busy_file_is_waited_for(filled):
    _, claim = filled
    path = filled[0].path
    with child(HOLD_THE_WRITE_LOCK, path) as other, open_store(path, busy_timeout=timedelta(seconds=PATIENCE)) as store:
        assert other.stdout.readline() == "held\n"
        with ThreadPoolExecutor(1) as pool:
            waking = pool.submit(store.wake, claim.network)
            # A store that does not wait fails at once.
            wait([waking], timeout=0.2)
            assert not waking.done()
            other.kill()
            waking.result()
        assert store.get_strategy(claim.network).generation > claim.generation


def test_a_full_disk_loses_nothing(filled):
    store, claim = filled
    before = kept(store.path)
    connection = store._db._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    for _ in range(2):
        with pytest.raises(TransientError, match=r"store\.db.*full"):
            store.apply(claim, lambda fresh: plan_of(fresh, create={claim_key(fresh): [None] * 2000}), seen=SEEN)
        assert kept(store.path) == before
    connection.execute("PRAGMA max_page_count = 1000000")
    store.apply(claim, create_everywhere, seen=SEEN)
    assert store.get_strategy(claim.network).health.iterations == 2


def claim_key(observation):
    return observation.transformations[0].key


class FailingConnection:
    """A connection on which one kind of statement fails once, as on a disk that is full or gone."""

    def __init__(self, connection, statement):
        self._connection = connection
        self._statement = statement

    def execute(self, statement, *values):
        if statement.startswith(self._statement):
            self._statement = "never again"
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        return self._connection.execute(statement, *values)

    def __getattr__(self, name):
        return getattr(self._connection, name)


@pytest.mark.parametrize("statement", ["COMMIT", "BEGIN", "INSERT INTO iteration", "UPDATE strategy"])
def test_a_statement_that_fails_leaves_nothing_behind(filled, monkeypatch, statement):
    store, claim = filled
    before = kept(store.path)
    monkeypatch.setattr(store._db, "_connection", FailingConnection(store._db._connection, statement))
    with pytest.raises(TransientError, match="disk I/O error"):
        store.apply(claim, create_everywhere, seen=SEEN)
    assert kept(store.path) == before
    # The next transaction is not the ruins of this one.
    store.apply(claim, create_everywhere, seen=SEEN)
    assert store.get_strategy(claim.network).health.iterations == 2


# Processes that are killed


APPLY_AND_BLOCK = """
    import sys
    from datetime import datetime, timedelta
    from alchemiscale_strategist.adapters.clock import ManualClock
    from alchemiscale_strategist.adapters.sqlite import SQLiteStore, schema
    from alchemiscale_strategist.planning.models import ResultsSeen
    from alchemiscale_strategist.ports import StrategyFailed
    from alchemiscale_strategist.errors import StrategyError
    from alchemiscale_strategist.testing import plan_of

    path, now, where = sys.argv[1:]

    def reached(place):
        if place == where:
            print(place, flush=True)
            sys.stdin.read()

    class Store(SQLiteStore):
        def _end_iteration(self, *values, **named):
            super()._end_iteration(*values, **named)
            reached("all written, nothing committed")

    def decide(fresh):
        reached("deciding")
        return plan_of(fresh, create={state.key: [None] * 1000 for state in fresh.transformations})

    store = Store(path, clock=ManualClock(datetime.fromisoformat(now)))
    # A small cache, so that pages go to the log before the transaction is committed.
    store._db._connection.execute("PRAGMA cache_size = 10")
    (claim,) = store.claim_due(owner="killed", limit=1, lease=timedelta(minutes=7))
    reached("claimed")
    if where == "failing":
        where = "all written, nothing committed"
        store.finish(claim, StrategyFailed(error=StrategyError("it raised"), seen=ResultsSeen()))
    store.apply(claim, decide, seen=ResultsSeen())
    reached("committed")
"""


def killed_at(where, path):
    """Run a pass in a process of its own and kill it there."""
    with child(APPLY_AND_BLOCK, path, START.isoformat(), where) as process:
        said = process.stdout.readline().strip()
        assert said == ("all written, nothing committed" if where == "failing" else where)
        log = Path(f"{path}-wal").stat().st_size
        process.kill()
        assert process.wait(PATIENCE) == -signal.SIGKILL
    return log


@pytest.fixture
def due_file(tmp_path):
    """A file with a network that is due, and nobody who has it open."""
    path = tmp_path / "store.db"
    with open_store(path) as store:
        fill(store)
    return path


@pytest.mark.parametrize("where", ["claimed", "deciding", "all written, nothing committed", "failing"])
def test_nothing_of_a_pass_that_was_killed_shows(due_file, where):
    before = kept(due_file)
    log = killed_at(where, due_file)
    if where == "all written, nothing committed":
        # Most of it had reached the disk.
        assert log > 100_000

    clock = ManualClock(START)
    with open_store(due_file, clock=clock) as store:
        # The claim itself was committed; the rest is as if the pass had never begun.
        after = kept(due_file)
        assert {name for name in after if after[name] != before[name]} == {"network"}
        clock.advance(LEASE - timedelta(microseconds=1))
        assert list(store.claim_due(owner="second", limit=1, lease=LEASE)) == []
        clock.advance(timedelta(microseconds=1))
        (claim,) = store.claim_due(owner="second", limit=1, lease=LEASE)
        store.apply(claim, create_everywhere, seen=SEEN)
        assert store.get_strategy(claim.network).health.iterations == 2
        assert [entry.fence for entry in store.iterations(claim.network)] == [claim.fence, claim.fence - 2]


def test_all_of_a_pass_that_was_committed_survives_the_kill(due_file):
    killed_at("committed", due_file)
    clock = ManualClock(START)
    with open_store(due_file, clock=clock) as store:
        (record,) = store.list_strategies()
        assert record.health.iterations == 2
        assert store.observe(record.network).in_flight == 2 + 3 * 1000
        assert store.iterations(record.network)[0].created == 3 * 1000
        # The claim ended with it.
        assert len(store.claim_due(owner="second", limit=1, lease=LEASE)) == 1


def test_a_store_that_others_use_survives_one_that_is_killed(due_file):
    with open_store(due_file) as store:
        killed_at("all written, nothing committed", due_file)
        (record,) = store.list_strategies()
        assert record.health.iterations == 1
        store.wake(record.network)
        assert len(store.claim_due(owner="second", limit=1, lease=LEASE)) == 1


# What another program, or a mistake, may have left in a row


@pytest.mark.parametrize(
    ("table", "column", "value", "told"),
    [
        ("strategy", "task_scaling", "cubic", "task_scaling: got 'cubic'"),
        ("strategy", "mode", "eager", "mode: got 'eager'"),
        ("strategy", "sleep_interval", -1, "sleep_interval"),
        ("strategy", "max_tasks_per_transformation", 0, "max_tasks_per_transformation: got 0"),
        ("strategy_text", "kind", "wasm", "kind: got 'wasm'"),
        ("strategy_text", "health", "{", "health"),
    ],
)
def test_a_row_that_cannot_be_read_is_told_and_keeps_nobody_waiting(tmp_path, table, column, value, told):
    path = tmp_path / "store.db"
    with open_store(path) as store:
        broken, healthy = (store.add_network(star_network(2, name=name)) for name in ("broken", "healthy"))
        for network in (broken, healthy):
            store.set_strategy(network, STRATEGY, Specification())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE network = ?", (value, broken))  # noqa: S608
    with open_store(path) as store:
        (claim,) = store.claim_due(owner="first", limit=10, lease=LEASE)
        assert claim.network == healthy
        records = {record.network_name: record for record in store.list_strategies()}
        assert records["healthy"].problems == ()
        # Health is the service's own: to tell of it is to write it anew.
        assert [told in problem for problem in records["broken"].problems] == ([] if column == "health" else [True])
        assert records["broken"].health.status == "error"
        assert told in records["broken"].health.error.message
        # Setting it again mends everything.
        store.set_strategy(broken, STRATEGY, Specification())
        (claim,) = store.claim_due(owner="first", limit=10, lease=LEASE)
        assert claim.network == broken
        assert store.get_strategy(broken).problems == ()


def test_results_from_elsewhere_are_stored_once(tmp_path):
    with open_store(tmp_path / "store.db") as store:
        network = store.add_network(star_network(2))
        keys = store.observe(network).keys
        one, two = sorted(keys)
        first = NetworkResults(transformations=(one, two), repeats={one: [Repeat(repeat=0, estimate=1.0)]})
        more = NetworkResults(
            transformations=(one, two),
            repeats={one: [Repeat(repeat=n, estimate=9.0) for n in (0, 1)], two: [Repeat(repeat=0, estimate=2.0)]},
        )
        assert [store.add_results(network, results) for results in (first, first, more, more)] == [1, 0, 2, 0]
        results = store.inputs(network, "native").results
        assert [repeat.estimate for repeat in results.of(one)] == [1.0, 9.0]
        elsewhere = NetworkResults(transformations=("T",), repeats={"T": [Repeat(repeat=0, estimate=1.0)]})
        with pytest.raises(RejectedInputError, match="'T'"):
            store.add_results(network, elsewhere)


def test_a_store_that_is_called_from_inside_itself_says_so(tmp_path):
    with open_store(tmp_path / "store.db") as store:
        network = store.add_network(star_network(2))
        store.set_strategy(network, STRATEGY, Specification())
        with pytest.raises(RuntimeError, match="inside one of its own"):
            store.edit_specification(network, lambda old: store.get_strategy(network).specification or old)
        assert store.get_strategy(network).generation == 1


@pytest.mark.parametrize("lease", [timedelta(0), timedelta(seconds=-1), timedelta(days=2), timedelta.max])
def test_a_lease_that_is_none_is_refused(tmp_path, lease):
    with open_store(tmp_path / "store.db") as store, pytest.raises(RejectedInputError, match="lease"):
        store.claim_due(owner="first", limit=1, lease=lease)


def test_a_plan_for_another_network_is_refused(tmp_path):
    with open_store(tmp_path / "store.db") as store:
        networks = [store.add_network(star_network(2, name=name)) for name in ("one", "two")]
        store.set_strategy(networks[0], STRATEGY, Specification())
        (claim,) = store.claim_due(owner="first", limit=1, lease=LEASE)
        elsewhere = Observation(network=networks[1], transformations=())
        with pytest.raises(RejectedInputError, match="plan"):
            store.apply(claim, lambda _fresh: plan_of(elsewhere), seen=SEEN)
        assert store.observe(networks[0]).in_flight == 0


def test_no_query_reads_all_tasks_results_or_actions(tmp_path):
    """What is scanned as a whole is what is few: Strategies, and the networks of a claim."""
    path = tmp_path / "store.db"
    open_store(path).close()
    numbers = {"now": 0, "minimum_interval": 0, "limit": 1, "lease": 1, "owner": "x", "every_network": 1}
    named = {**numbers, "networks": "[]", "claimed": "[]"}
    statements = {
        name: value
        for name, value in vars(schema).items()
        if isinstance(value, str) and value.strip().startswith(("SELECT", "UPDATE", "INSERT")) and "{" not in value
    }
    assert {"CLAIM_DUE", "CLAIMED_IN_ORDER", "TASKS", "SUCCESSES", "ESTIMATES", "CLAIMABLE_TASK"} <= set(statements)
    with closing(sqlite3.connect(path)) as connection:
        for name, statement in statements.items():
            values = named if ":" in statement else ("x",) * statement.count("?")
            details = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
            scanned = [line for line in details if line.startswith("SCAN") and "VIRTUAL TABLE" not in line]
            assert [line for line in scanned if line.split()[1] not in ("s", "network_transformation")] == [], name
            if "r.ok" in statement:
                assert any("ok=?" in line for line in details), name
