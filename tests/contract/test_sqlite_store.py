"""The contract suites over the SQLite store: in a file, seen through a connection of our own, and in memory.

In memory there is one connection only: the world looks through the store's, and another store is the same object.
"""

import hashlib
import itertools
import json
import shutil
import sqlite3
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest

from alchemiscale_strategist.adapters.clock import ManualClock
from alchemiscale_strategist.adapters.sqlite import SQLiteStore
from alchemiscale_strategist.planning.models import TaskKey, TaskStatus
from alchemiscale_strategist.testing import (
    ComputeStoreContract,
    ReconcileStoreContract,
    ResultKey,
    ResultSourceContract,
    SpecificationStoreContract,
    StoredTask,
)

START = datetime(2025, 5, 30, 18, 24, 30, 540413, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SQLiteWorld:
    """Raw SQL on the file that the stores work on."""

    history_limit = 8

    def __init__(self, path):
        self.path = path
        self.clock = ManualClock(START)
        self._numbers = itertools.count(1)
        self._stores = []
        self.store = self.source = self.compute = self._open()
        if path == ":memory:":
            self._raw, self._lock = self.store._db._connection, self.store._db._lock
        else:
            self._raw, self._lock = sqlite3.connect(path, isolation_level=None, check_same_thread=False), nullcontext()
            self._raw.execute("PRAGMA synchronous = OFF")

    def _open(self):
        # Waiting for the disk tests the disk.
        store = SQLiteStore(self.path, clock=self.clock, history=self.history_limit, durable=False)
        self._stores.append(store)
        return store

    def close(self):
        if self.path != ":memory:":
            self._raw.close()
        for store in self._stores:
            store.close()

    def another_store(self):
        return self.store if self.path == ":memory:" else self._open()

    another_compute = another_store

    def add_network(self, graph):
        # A schema may keep a graph as it likes, and the round trip through the store is what the suite tests.
        return self.store.add_network(graph)

    def add_task(
        self,
        transformation,
        *,
        status=TaskStatus.WAITING,
        actioned_on=(),
        extends=None,
        created=None,
        claim_weight=0.5,
        priority=10,
    ):
        # A hash, so that keys are in another order than the Tasks were made in.
        number = hashlib.sha256(str(next(self._numbers)).encode()).hexdigest()[:32]
        key = TaskKey(f"Task-{number}-contract-suite-store")
        self._raw.execute(
            "INSERT INTO task (key, transformation, status, priority, created, extends) VALUES (?, ?, ?, ?, ?, ?)",
            (key, transformation, status.value, priority, self._micros(created), extends),
        )
        for network in actioned_on:
            self._raw.execute("INSERT INTO action VALUES (?, ?, ?)", (key, network, claim_weight))
        return key

    def set_status(self, task, status):
        assert self._raw.execute("UPDATE task SET status = ? WHERE key = ?", (status.value, task)).rowcount == 1

    def add_result(self, transformation, *, task=None, ok=True, created=None, estimate=0.0, uncertainty=None):
        # In memory it is the store's own connection, on which another thread may be in the middle of something.
        with self._lock:
            cursor = self._raw.execute(
                "INSERT INTO result (transformation, task, ok, estimate, uncertainty, created)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (transformation, task, ok, estimate, uncertainty, self._micros(created)),
            )
        return ResultKey(str(cursor.lastrowid))

    def remove_result(self, result):
        assert self._raw.execute("DELETE FROM result WHERE id = ?", (int(result),)).rowcount == 1

    def tasks(self, network):
        found = self._raw.execute(
            "SELECT t.key, t.transformation, t.status, t.priority, t.extends,"
            " (SELECT json_group_object(a.network, a.weight) FROM action AS a WHERE a.task = t.key)"
            " FROM task AS t WHERE t.transformation IN"
            " (SELECT transformation FROM network_transformation WHERE network = ?)",
            (network,),
        )
        return {
            key: StoredTask(
                transformation=transformation,
                status=TaskStatus(status),
                priority=priority,
                extends=extends,
                actioned_on=json.loads(weights),
            )
            for key, transformation, status, priority, extends, weights in found.fetchall()
        }

    def everything(self):
        tables = [row[0] for row in self._raw.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()]
        assert len(tables) >= 8
        rows = {table: self._raw.execute(f"SELECT * FROM {table}").fetchall() for table in tables}  # noqa: S608
        return {table: sorted(found, key=repr) for table, found in rows.items()}

    def _micros(self, time):
        return ((time or self.clock.now()) - EPOCH) // timedelta(microseconds=1)


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory):
    """A store without anything in it: making one waits for the disk, copying it does not."""
    path = tmp_path_factory.mktemp("sqlite") / "empty.db"
    SQLiteStore(path, clock=ManualClock(START)).close()
    return path


@pytest.fixture(params=["file", "memory"])
def sqlite_world(request, tmp_path, empty_file):
    if request.param == "file":
        world = SQLiteWorld(shutil.copy(empty_file, tmp_path / "store.db"))
    else:
        world = SQLiteWorld(":memory:")
    yield world
    world.close()


class TestReconcileStore(ReconcileStoreContract):
    @pytest.fixture
    def world(self, sqlite_world):
        return sqlite_world


class TestSpecificationStore(SpecificationStoreContract):
    @pytest.fixture
    def world(self, sqlite_world):
        return sqlite_world


class TestResultSource(ResultSourceContract):
    @pytest.fixture
    def world(self, sqlite_world):
        return sqlite_world


class TestComputeStore(ComputeStoreContract):
    @pytest.fixture
    def world(self, sqlite_world):
        return sqlite_world
