"""Which file is the store, whose it is, and what is done with one that is damaged.

A database that another program made (hermes-agent's state.db has tables but not our application id) is never
opened, let alone written: ours is then ``hermesd.db`` beside it. A damaged file is renamed and reported. A new file
is built under a temporary name and renamed, so a half-made or empty one is never ours.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import stat
import time
from typing import TYPE_CHECKING, Literal

import apsw

from hermesd import failpoint
from hermesd.errors import StoreError
from hermesd.home import make_private_directory
from hermesd.store.sqlite import schema
from hermesd.store.sqlite.connection import open_writer, refusal

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger("hermesd.store")

BESIDE_NAME = "hermesd.db"
_MAGIC = b"SQLite format 3\x00"
_LOG_HEADER_BYTES = 32
_APPLICATION_ID_AT = 68  # https://sqlite.org/fileformat2.html#the_database_header
_PAGE_SIZE_AT = 16
_HEADER_BYTES = 100

Ownership = Literal["missing", "ours", "foreign", "damaged"]


def open_database(path: Path) -> tuple[Path, apsw.Connection]:
    """The store's file and its writing connection, made when there is none. Raises StoreError.

    ``path`` is the file to use unless it is somebody else's.
    """
    try:
        make_private_directory(path.parent)
        chosen, ownership = _choose(path)
        if ownership == "missing":
            _create(chosen)
        elif ownership == "damaged":
            raise _quarantine(chosen, "it does not begin as a database does, or is cut short")
        _check_private(chosen)
    except OSError as error:
        raise StoreError(
            f"the state file cannot be opened: {error.strerror}",
            where=str(error.filename or path),
            next_step="make the directory writable for this user, with space on its disk",
        ) from error
    return chosen, _connect(chosen)


def find(path: Path) -> tuple[Path, bool]:
    """Where the store of a home lies or would lie, and whether it is there. Raises StoreError, OSError."""
    chosen, ownership = _choose(path)
    return chosen, ownership != "missing"


def _choose(path: Path) -> tuple[Path, Ownership]:
    """``path`` when it is ours; a ``hermesd.db`` that is there; else whichever of the two nobody else owns."""
    found = _ownership(path)
    if found in ("ours", "damaged"):
        return path, found
    beside = path.with_name(BESIDE_NAME)
    other = _ownership(beside)
    if other == "foreign":
        raise StoreError("belongs to another program", where=str(beside), next_step="move it away")
    return (path, "missing") if (found, other) == ("missing", "missing") else (beside, other)


def _ownership(path: Path) -> Ownership:
    """Judged by the file's first bytes and its length: SQLite would touch, perhaps change, a file that it opens."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        if path.is_symlink():
            raise StoreError("is a symbolic link", where=str(path), next_step=f"remove it: rm {path}") from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise StoreError("is not a regular file", where=str(path), next_step=f"remove it: rm {path}")
        header = os.read(fd, _HEADER_BYTES)
        size = os.fstat(fd).st_size
    finally:
        os.close(fd)
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        return "damaged"
    page_bytes = int.from_bytes(header[_PAGE_SIZE_AT : _PAGE_SIZE_AT + 2], "big")
    if page_bytes > 1 and size % page_bytes and not _has_log(path):  # SQLite would take the missing end for zeros
        return "damaged"
    number = int.from_bytes(header[_APPLICATION_ID_AT : _APPLICATION_ID_AT + 4], "big")
    return "ours" if number == schema.APPLICATION_ID else "foreign"


def _has_log(path: Path) -> bool:
    """Whether a write-ahead log has frames in it, the file's last page perhaps among them."""
    try:
        return _files(path)[1].stat().st_size > _LOG_HEADER_BYTES
    except FileNotFoundError:
        return False


def _check_private(path: Path) -> None:
    """Nobody else's file, no second name for it, no link beside it; mode 0600."""
    found = path.lstat()
    if found.st_uid != os.geteuid():
        raise StoreError(f"owned by uid {found.st_uid}", where=str(path), next_step=f"chown {os.geteuid()} {path}")
    if found.st_nlink > 1:
        raise StoreError("has a second name (hard link)", where=str(path), next_step=f"copy {path} and remove it")
    for name in _files(path)[1:]:
        if name.is_symlink():
            raise StoreError("is a symbolic link", where=str(name), next_step=f"remove it: rm {name}")
    if stat.S_IMODE(found.st_mode) != 0o600:
        path.chmod(0o600)


def _files(path: Path) -> list[Path]:
    return [path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")]


def _create(path: Path) -> None:
    """Make an empty store, whole or not at all."""
    if _files(path)[1].exists():  # a write-ahead log without its file: somebody removed the one and not the other
        raise _quarantine(path, "its write-ahead log is there but the file itself is not")
    for left in path.parent.glob(f".{path.name}.*"):  # by a start that was killed here
        left.unlink()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    try:
        temporary.chmod(0o600)
        _fill(temporary)
        failpoint.hit("home.before_rename")
        temporary.rename(path)
        failpoint.hit("home.after_rename")
    except apsw.Error as error:
        raise refusal(error, path) from error
    finally:
        for name in _files(temporary):
            with contextlib.suppress(FileNotFoundError):
                name.unlink()
    fsync(path.parent)


def _fill(temporary: Path) -> None:
    """The schema, in one file without a log, synced once."""
    db = apsw.Connection(str(temporary), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        db.pragma("journal_mode", "off")
        db.pragma("synchronous", "off")
        schema.migrate(db, where=str(temporary))
        db.pragma("journal_mode", "wal")
    finally:
        db.close()
    fsync(temporary)


def fsync(path: Path) -> None:
    """Sync a file or a directory. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _connect(path: Path) -> apsw.Connection:
    """Open and bring up to date; a file that SQLite calls damaged is quarantined."""
    db: apsw.Connection | None = None
    try:
        db = open_writer(path)
        schema.migrate(db, where=str(path))
    except apsw.Error as error:
        if db is not None:
            db.close()
        if isinstance(error, apsw.CorruptError | apsw.NotADBError):
            raise _quarantine(path, str(error)) from error
        raise refusal(error, path) from error
    except BaseException:
        if db is not None:
            db.close()
        raise
    return db


def _quarantine(path: Path, why: str) -> StoreError:
    """Rename a damaged file (and its log) and say so; nothing is removed."""
    suffix = f".corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    kept = path.with_name(path.name + suffix)
    while kept.exists():
        kept = kept.with_name(f"{kept.name}-again")
    for name, target in zip(_files(path), _files(kept), strict=True):
        with contextlib.suppress(FileNotFoundError):
            name.rename(target)
    fsync(path.parent)
    log.error("the state file %s is damaged (%s); it was kept as %s", path, why, kept)
    return StoreError(
        f"the state file is damaged ({why}); it was kept as {kept.name}",
        where=str(path),
        next_step=f"restore a backup to {path}, or try sqlite3 {kept} .recover, or start again to begin empty",
    )
