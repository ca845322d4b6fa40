"""The state machine over the SQLite store: services with connections of their own to a file, and all in memory."""

import hashlib
import itertools
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from alchemiscale_strategist.adapters.clock import ManualClock
from alchemiscale_strategist.adapters.sqlite import SQLiteStore
from alchemiscale_strategist.testing.machine import StateMachineContract

sys.path.append(str(Path(__file__).parent))
from test_sqlite_store import START, SQLiteWorld


class RepeatableWorld(SQLiteWorld):
    """The same steps give the same Task keys."""

    def __init__(self, path):
        self._task_numbers = itertools.count(1)
        super().__init__(path)

    def _open(self):
        store = super()._open()
        # A hash, so that keys are in another order than the Tasks were made in.
        store._new_task_id = lambda: hashlib.sha256(f"{next(self._task_numbers)} made".encode()).hexdigest()[:32]
        return store


@contextmanager
def opened(path):
    world = RepeatableWorld(path)
    try:
        yield world
    finally:
        world.close()


class TestOnFiles(StateMachineContract):
    @pytest.fixture
    def open_world(self, tmp_path):
        empty, numbers = tmp_path / "empty.db", itertools.count(1)
        SQLiteStore(empty, clock=ManualClock(START)).close()
        return lambda: opened(shutil.copy(empty, tmp_path / f"store_{next(numbers)}.db"))


class TestInMemory(StateMachineContract):
    @pytest.fixture
    def open_world(self):
        return lambda: opened(":memory:")
