"""SQLite connections as the store needs them, and SQLite's refusals in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

from hermesd.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

_WAL_FILE_LIMIT_BYTES = 8 * 1024 * 1024


def open_writer(path: Path) -> apsw.Connection:
    """The one connection that writes: WAL, and every commit is synced (synchronous=FULL). Raises apsw.Error.

    Checkpoints are made by ``writer.Writer`` between batches, so that no commit waits for one.
    """
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=64)
    try:
        db.set_busy_timeout(5000)
        mode = db.pragma("journal_mode", "wal")
        if mode != "wal":
            raise StoreError(
                f"this file system cannot hold a write-ahead log (journal mode {mode})",
                where=str(path),
                next_step="put HERMES_HOME on a local file system",
            )
        db.pragma("synchronous", "full")
        db.pragma("wal_autocheckpoint", 0)
        db.pragma("journal_size_limit", _WAL_FILE_LIMIT_BYTES)
        db.pragma("cache_size", -1024)  # KiB
        db.pragma("temp_store", "memory")
    except BaseException:
        db.close()
        raise
    return db


def open_reader(path: Path) -> apsw.Connection:
    """A connection that cannot write and never checkpoints. Raises apsw.Error."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, statementcachesize=64)
    try:
        db.set_busy_timeout(100)
        db.pragma("wal_autocheckpoint", 0)
        db.pragma("query_only", 1)
        db.pragma("cache_size", -512)  # KiB
        db.pragma("temp_store", "memory")
    except BaseException:
        db.close()
        raise
    return db


def refusal(error: apsw.Error, path: Path) -> StoreError:
    """The StoreError that says what SQLite refused, and the next step."""
    for kind, what, next_step in _REFUSALS:
        if isinstance(error, kind):
            return StoreError(f"{what} ({error})", where=str(path), next_step=next_step)
    return StoreError(f"the database refused: {error}", where=str(path), next_step="see the log of hermesd")


_REFUSALS: tuple[tuple[type[apsw.Error], str, str], ...] = (
    (apsw.FullError, "the disk is full", "free some space: hermesd goes on by itself"),
    (apsw.ReadOnlyError, "the file or its file system is read-only", "make it writable: hermesd goes on by itself"),
    (apsw.IOError, "the disk refused a read or a write", "check space and health of the disk"),
    (apsw.CantOpenError, "the file cannot be opened", "check that this user may write file and directory"),
    (apsw.CorruptError, "the file is damaged", "stop hermesd and restore a backup, or run sqlite3 FILE .recover"),
    (apsw.NotADBError, "the file is damaged", "stop hermesd and restore a backup, or run sqlite3 FILE .recover"),
    (apsw.BusyError, "another process holds the file", "stop that process"),
)
