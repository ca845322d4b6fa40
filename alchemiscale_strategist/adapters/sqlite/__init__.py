"""The embedded store: one SQLite file, nothing to install, the same promises as a server's store."""

from alchemiscale_strategist.adapters.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
