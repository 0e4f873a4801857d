"""The store on SQLite, by apsw."""

from hermesd.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
