"""Which file is opened, in which state, and what is never touched."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import apsw
import pytest

from hermesd.errors import ConfigError, StoreError
from hermesd.store.sqlite import SqliteStore, schema
from hermesd.store.sqlite.connection import open_writer
from tests.unit.store.samples import accept


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _made(path: Path) -> Path:
    SqliteStore.open(path).close()
    return path


def test_a_new_store_is_private_whatever_the_umask(path: Path) -> None:
    """File and log 0600, directory 0700."""
    before = os.umask(0)
    try:
        store = SqliteStore.open(path)
    finally:
        os.umask(before)
    assert (_mode(path), _mode(path.parent)) == (0o600, 0o700)
    assert all(_mode(found) == 0o600 for found in path.parent.iterdir())
    store.close()
    assert [found.name for found in path.parent.iterdir()] == ["state.db"]


def test_a_mode_that_became_too_wide_is_narrowed(path: Path) -> None:
    """At the next opening."""
    _made(path).chmod(0o644)
    _made(path)
    assert _mode(path) == 0o600


def test_commits_are_synced_and_only_the_writer_checkpoints(path: Path) -> None:
    """WAL, synchronous=FULL (2), no automatic checkpoint on either side."""
    store = SqliteStore.open(path)
    db = store._writer._db
    assert db is not None
    assert (db.pragma("journal_mode"), db.pragma("synchronous"), db.pragma("wal_autocheckpoint")) == ("wal", 2, 0)
    store.close()


async def test_a_reader_cannot_write(store: SqliteStore) -> None:
    """The refusal is SQLite's own."""
    with pytest.raises(StoreError, match="read-only"):
        await store._read.here(lambda view: view.all("DELETE FROM inbox"))


async def test_what_was_accepted_is_there_after_reopening(path: Path) -> None:
    """Closing and opening changes nothing."""
    store = SqliteStore.open(path)
    accepted = await accept(store)
    store.close()
    again = SqliteStore.open(path)
    assert (await again.inbox_row(accepted.id)).delivery_id == "1"
    assert (await accept(again)).duplicate
    assert await again.check() == []
    again.close()


async def test_a_closed_store_says_so(path: Path) -> None:
    """Reads and writes raise StoreError."""
    store = SqliteStore.open(path)
    store.close()
    with pytest.raises(StoreError, match="closed"):
        await accept(store)
    with pytest.raises(StoreError, match="closed"):
        await store.inbox_row(1)
    with pytest.raises(StoreError, match="closed"):
        await store.inbox()


async def test_somebody_elses_state_db_is_left_untouched(path: Path) -> None:
    """hermes-agent's file keeps its bytes; ours is hermesd.db beside it, also once theirs is gone."""
    path.parent.mkdir(mode=0o700)
    with sqlite3.connect(path) as theirs:
        theirs.execute("PRAGMA journal_mode=WAL")
        theirs.execute("CREATE TABLE sessions (id TEXT)")
    theirs.close()
    bytes_before, time_before = path.read_bytes(), path.stat().st_mtime_ns
    store = SqliteStore.open(path)
    await accept(store)
    store.close()
    assert store.path.name == "hermesd.db"
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (bytes_before, time_before)
    assert sorted(found.name for found in path.parent.iterdir()) == ["hermesd.db", "state.db"]
    path.unlink()
    again = SqliteStore.open(path)
    assert again.path.name == "hermesd.db"
    assert (await accept(again)).duplicate
    again.close()


def test_a_foreign_hermesd_db_is_refused(path: Path) -> None:
    """There is no third name."""
    path.parent.mkdir(mode=0o700)
    for name in ("state.db", "hermesd.db"):
        with sqlite3.connect(path.with_name(name)) as theirs:
            theirs.execute("CREATE TABLE t (a)")
        theirs.close()
    with pytest.raises(StoreError, match="another program"):
        SqliteStore.open(path)


@pytest.mark.parametrize("name", ["state.db", "state.db-wal", "state.db-shm"])
def test_a_symbolic_link_is_refused(path: Path, name: str, tmp_path: Path) -> None:
    """Wherever it points, nothing is written through it."""
    path.parent.mkdir(mode=0o700)
    if name != "state.db":
        _made(path)
    target = tmp_path / "target"
    path.with_name(name).symlink_to(target)
    with pytest.raises(StoreError, match="symbolic link"):
        SqliteStore.open(path)
    assert not target.exists()


def test_a_second_name_a_directory_and_a_shared_directory_are_refused(path: Path) -> None:
    """Hard links, things that are no files, and directories that others may write."""
    os.link(_made(path), path.with_name("other.db"))
    with pytest.raises(StoreError, match="hard link"):
        SqliteStore.open(path)
    path.with_name("other.db").unlink()
    path.parent.chmod(0o770)
    with pytest.raises(ConfigError, match="others may write"):
        SqliteStore.open(path)
    path.parent.chmod(0o700)
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError, match="regular file"):
        SqliteStore.open(path)


@pytest.mark.parametrize("length", [0, 1, 99, 100, 1000, 4096, 5000, 40_000])
async def test_a_truncated_file_is_kept_aside_and_reported(path: Path, length: int) -> None:
    """Never a silent reset: the first opening raises and names the kept file, the second begins empty."""
    store = SqliteStore.open(path)
    await accept(store)
    store.close()
    os.truncate(path, length)
    with pytest.raises(StoreError, match="damaged") as caught:
        SqliteStore.open(path)
    (kept,) = path.parent.iterdir()
    assert kept.name.startswith("state.db.corrupt-")
    assert kept.stat().st_size == length
    assert str(kept) in caught.value.next_step
    fresh = SqliteStore.open(path)
    assert await fresh.inbox() == []
    fresh.close()


def test_garbage_is_kept_aside_with_its_log(path: Path) -> None:
    """A file that is no database, with a write-ahead log beside it."""
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"not a database, " * 300)
    path.with_name("state.db-wal").write_bytes(b"log")
    with pytest.raises(StoreError, match="damaged"):
        SqliteStore.open(path)
    names = sorted(found.name for found in path.parent.iterdir())
    assert [name.partition(".corrupt-")[0] for name in names] == ["state.db", "state.db"]
    assert names[1].endswith("-wal")


def test_a_log_without_its_file_is_not_thrown_away(path: Path) -> None:
    """It may hold commits: it is kept aside and reported."""
    path.parent.mkdir(mode=0o700)
    path.with_name("state.db-wal").write_bytes(b"log")
    with pytest.raises(StoreError, match="write-ahead log"):
        SqliteStore.open(path)
    _made(path)


def test_every_damaged_file_is_kept(path: Path) -> None:
    """Also when two are found within one second."""
    path.parent.mkdir(mode=0o700)
    for content in (b"first", b"second"):
        path.write_bytes(content)
        with pytest.raises(StoreError, match="damaged"):
            SqliteStore.open(path)
    assert sorted(found.read_bytes() for found in path.parent.iterdir()) == [b"first", b"second"]


def test_what_a_killed_first_start_left_is_removed(path: Path) -> None:
    """The file is built under a temporary name."""
    path.parent.mkdir(mode=0o700)
    path.with_name(".state.db.0123456789ab").write_bytes(b"half")
    _made(path)
    assert [found.name for found in path.parent.iterdir()] == ["state.db"]


def test_a_directory_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    """With the operating system's reason."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened: File exists"):
        SqliteStore.open(tmp_path / "file" / "state.db")


# -- schema versions --------------------------------------------------------------------------------------------------

NOW = schema.MIGRATIONS[-1].version
ADD_COLUMN = schema.Migration(NOW + 1, 1, "ALTER TABLE inbox ADD COLUMN priority INTEGER NOT NULL DEFAULT 0")


def _versions(path: Path) -> tuple[int, int]:
    db = open_writer(path)
    found = db.pragma("user_version"), db.execute("SELECT oldest_reader FROM compatibility").get
    db.close()
    return found


def _migrate(path: Path, *more: schema.Migration) -> None:
    db = open_writer(path)
    try:
        schema.migrate(db, where=str(path), migrations=[*schema.MIGRATIONS, *more])
    finally:
        db.close()


async def test_a_newer_file_that_was_only_expanded_is_read_and_written(path: Path) -> None:
    """The previous release goes on, and leaves the version as it is."""
    _migrate(_made(path), ADD_COLUMN)
    assert _versions(path) == (NOW + 1, 1)
    store = SqliteStore.open(path)
    await accept(store)
    store.close()
    assert _versions(path) == (NOW + 1, 1)


def test_a_newer_file_that_was_contracted_is_refused(path: Path) -> None:
    """With both versions named; the file stays where it is."""
    _migrate(_made(path), ADD_COLUMN, schema.Migration(NOW + 2, NOW + 2, "ALTER TABLE inbox DROP COLUMN sender"))
    with pytest.raises(StoreError, match=f"schema {NOW + 2}, this release knows {NOW}"):
        SqliteStore.open(path)
    assert path.exists()


def test_a_failed_migration_leaves_the_file_as_it_was(path: Path) -> None:
    """The steps before the failing one are undone with it."""
    _made(path)
    before = sqlite3.connect(path).execute("SELECT sql FROM sqlite_schema").fetchall()
    broken = schema.Migration(NOW + 2, 1, "CREATE TABLE half (a); INSERT INTO nowhere VALUES (1)")
    with pytest.raises(apsw.SQLError):
        _migrate(path, ADD_COLUMN, broken)
    db = sqlite3.connect(path)
    assert db.execute("SELECT sql FROM sqlite_schema").fetchall() == before
    assert _versions(path) == (NOW, 1)
    db.close()


async def test_a_file_of_the_first_release_is_brought_up_to_date(path: Path) -> None:
    """What is in it stays; the new tables are there."""
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    db = open_writer(path)
    schema.migrate(db, where=str(path), migrations=schema.MIGRATIONS[:1])
    db.execute("INSERT INTO small_values VALUES ('kept', x'01')")
    db.close()
    store = SqliteStore.open(path)
    assert await store.get_value("kept") == b"\x01"
    assert await store.jobs.timetable() == []
    store.close()
    assert _versions(path) == (NOW, 1)


def test_migrations_are_numbered_and_only_expand_without_a_release_between() -> None:
    """Without a gap; a release is never locked out by the next one."""
    versions = [step.version for step in schema.MIGRATIONS]
    assert versions == list(range(1, len(versions) + 1))
    assert all(step.oldest_reader <= max(1, step.version - 1) for step in schema.MIGRATIONS)
