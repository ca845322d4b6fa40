"""A connection to a store's file: opening and checking it, transactions, and errors that say whose fault it is."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from alchemiscale_strategist.adapters.sqlite.schema import APPLICATION_ID, SCHEMA, SCHEMA_VERSION
from alchemiscale_strategist.errors import RejectedFileError, TransientError

__all__ = ["Database"]

_OLDEST_SQLITE = (3, 37, 0)  # STRICT tables; RETURNING came before them
_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
    }
)
"""What may be well again later; anything else is a mistake of ours and better seen than tried again."""
_REMEDY = "Name another file, or a path where none is yet: the store is made there."


class Database:
    """One SQLite connection, used by one thread at a time; every statement runs inside ``reading`` or ``writing``."""

    def __init__(self, path: Path | str, *, durable: bool, busy_timeout: timedelta) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._connection = _open(path, durable=durable, busy_timeout=busy_timeout)

    def close(self) -> None:
        """Close it for good."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """One snapshot for all the statements inside."""
        with self._transaction("BEGIN"):
            yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        """The write lock from the start, so that nothing read inside is out of date when it is acted upon."""
        with self._transaction("BEGIN IMMEDIATE"):
            yield

    def run(self, statement: str, *values: object, **named: object) -> int:
        """Execute a statement with positional or named values; return how many rows it touched."""
        return self._connection.execute(statement, named or values).rowcount

    def run_many(self, statement: str, values: Iterable[tuple[object, ...]]) -> None:
        """Execute a statement once for every tuple."""
        self._connection.executemany(statement, values)

    def one(self, statement: str, *values: object) -> Any:  # noqa: ANN401 - a row of any types
        """Return the first row as a tuple, or ``None``."""
        return self._connection.execute(statement, values).fetchone()

    def all(self, statement: str, *values: object, **named: object) -> list[Any]:
        """Return all rows as tuples."""
        return self._connection.execute(statement, named or values).fetchall()

    def one_named(self, statement: str, *values: object) -> dict[str, Any] | None:
        """Return the first row as a mapping of column to value, or ``None``."""
        return next(iter(self.all_named(statement, *values)), None)

    def all_named(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """Return all rows as mappings of column to value."""
        cursor = self._connection.execute(statement, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def insert(self, table: str, values: Mapping[str, object]) -> None:
        """Insert one row; table and columns are names of ours."""
        columns = ", ".join(values)
        marks = ", ".join(f":{column}" for column in values)
        self._connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)  # noqa: S608

    def update(self, table: str, values: Mapping[str, object], *, where: str, equals: object) -> None:
        """Update the rows whose column ``where`` equals a value; table and columns are names of ours."""
        settings = ", ".join(f"{column} = :{column}" for column in values)
        statement = f"UPDATE {table} SET {settings} WHERE {where} = :_equals"  # noqa: S608
        self._connection.execute(statement, {**values, "_equals": equals})

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        with self._lock, _told(self._path):
            if self._connection.in_transaction:
                raise RuntimeError("a store is called from inside one of its own transactions")
            self._connection.execute(begin)
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                # Still open when something failed, be it the COMMIT itself, unless SQLite has rolled back by itself.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")


@contextmanager
def _told(path: Path | str) -> Iterator[None]:
    """Errors of SQLite as ours: a file that is busy, full or away may be well again later, a damaged one will not."""
    try:
        yield
    except sqlite3.OperationalError as error:
        code = error.sqlite_errorcode & 0xFF
        if code == sqlite3.SQLITE_READONLY:
            remedy = "Give yourself the right to write to it."
            raise RejectedFileError("may not be written to", path=path, remedy=remedy) from error
        if code not in _PASSING:
            raise
        raise TransientError(f"the store {path} cannot be used right now: {error}") from error
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:
            raise
        problem = f"is not a SQLite file, or a damaged one ({error})"
        raise RejectedFileError(problem, path=path, remedy=_REMEDY) from error


def _open(path: Path | str, *, durable: bool, busy_timeout: timedelta) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        wanted = ".".join(map(str, _OLDEST_SQLITE))
        problem = f"needs SQLite {wanted} or newer, this Python has {sqlite3.sqlite_version}"
        raise RejectedFileError(problem, path=path, remedy="Use a newer Python.")
    try:
        # Without isolation_level Python leaves transactions to us.
        connection = sqlite3.connect(
            path, timeout=busy_timeout.total_seconds(), isolation_level=None, check_same_thread=False
        )
    except sqlite3.OperationalError as error:
        raise RejectedFileError(
            str(error), path=path, remedy="Name a file in a folder that you may write to."
        ) from error
    try:
        with _told(path):
            _prepare(connection, path, durable=durable, busy_timeout=busy_timeout)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path | str, *, durable: bool, busy_timeout: timedelta) -> None:
    """Check whose file it is before anything is changed; make the tables where it is new."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        _check_or_create(connection, path)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    _use_write_ahead_log(connection, busy_timeout=busy_timeout)
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
    connection.execute("PRAGMA foreign_keys = ON")


def _use_write_ahead_log(connection: sqlite3.Connection, *, busy_timeout: timedelta) -> None:
    """Switch over; this statement alone does not wait for others by itself, so the waiting is done here."""
    deadline = time.monotonic() + busy_timeout.total_seconds()
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _check_or_create(connection: sqlite3.Connection, path: Path | str) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application == 0 and version == 0 and tables == 0:
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        return
    if application != APPLICATION_ID:
        raise RejectedFileError("is a SQLite file of another program", path=path, remedy=_REMEDY)
    if version != SCHEMA_VERSION:
        problem = f"has schema version {version}, this package reads version {SCHEMA_VERSION}"
        raise RejectedFileError(problem, path=path, remedy="Use the version of alchemiscale-strategist that wrote it.")
    # SQLite opens a file that may not be written to without a word: better to hear it now than at the first pass.
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
