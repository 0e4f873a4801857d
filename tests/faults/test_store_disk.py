"""Disks that refuse: full, broken, read-only, at every single write and sync (cases.md, 24)."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermesd.errors import StoreError
from hermesd.store.records import Address, NewEvent
from hermesd.store.sqlite import SqliteStore

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fault injection under SQLite: a preloaded library whose N-th pwrite, fsync or ftruncate fails."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build the fault injection library with")
    library = tmp_path_factory.mktemp("shim") / "refuse.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "refuse.c", "-ldl"], check=True)
    return library


def _child(shim: Path, *argv: object) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, HERE / "store_child.py", *map(str, argv)],
        env={**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("error", "stays"), [(errno.ENOSPC, 1), (errno.EIO, 0)], ids=["disk full from then on", "one I/O error"]
)
def test_a_refused_write_leaves_nothing_torn_and_the_next_succeeds(
    shim: Path, tmp_path: Path, error: int, stays: int
) -> None:
    """Fault injection: for N = 1, 2, 3 … the N-th write or sync of a turn's life is refused."""
    found = _child(shim, "refuse", tmp_path, error, stays)
    assert found["points"] > 40
    assert found["seen"] > 30


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_first_start_that_is_refused_leaves_no_half_made_file(shim: Path, tmp_path: Path, error: int) -> None:
    """Fault injection: the N-th write or sync of making the file is refused; the next start succeeds."""
    assert _child(shim, "open", tmp_path, error)["points"] > 5


def _event(number: int, size: int) -> NewEvent:
    return NewEvent(
        profile="default",
        source="test",
        delivery_id=str(number),
        session_key="k",
        text="x" * size,
        address=Address(platform="test"),
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of one megabyte."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "hermesd-test", mount]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root and CAP_SYS_ADMIN")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


async def test_a_full_disk_refuses_events_serves_reads_and_recovers_unaided(small_disk: Path) -> None:
    """Everything acknowledged is there, nothing refused is, and freed space is enough to go on."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 400_000)
    store = SqliteStore.open(small_disk / "home" / "state.db")
    accepted: list[str] = []
    with pytest.raises(StoreError, match="full") as caught:
        for number in range(1000):
            await store.accept([_event(number, 5000)])
            accepted.append(str(number))
    assert "free some space" in caught.value.next_step
    assert store.failure
    assert [row.delivery_id for row in reversed(await store.inbox(limit=2000))] == accepted
    with pytest.raises(StoreError, match="full"):
        await store.accept([_event(5000, 5000)])
    ballast.unlink()
    await store.accept([_event(5001, 5000)])
    assert not store.failure
    assert await store.check() == []
    store.close()
    again = SqliteStore.open(store.path)
    assert [row.delivery_id for row in reversed(await again.inbox(limit=2000))] == [*accepted, "5001"]
    again.close()


async def test_a_disk_that_is_full_at_the_start_is_a_store_error(small_disk: Path) -> None:
    """And nothing half-made is left for the next start."""
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"):
        ballast.write_bytes(b"x" * 2_000_000)
    with pytest.raises(StoreError):
        SqliteStore.open(small_disk / "home" / "state.db")
    ballast.unlink()
    store = SqliteStore.open(small_disk / "home" / "state.db")
    await store.accept([_event(1, 10)])
    store.close()


async def test_a_disk_made_read_only_under_way_refuses_writes_and_serves_reads(small_disk: Path) -> None:
    """And once it is writable again the same store goes on."""
    store = SqliteStore.open(small_disk / "home" / "state.db")
    await store.accept([_event(1, 10)])
    store.close()
    assert subprocess.run(["mount", "-o", "remount,ro", small_disk], check=False).returncode == 0
    with pytest.raises(StoreError):
        SqliteStore.open(store.path)
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    again = SqliteStore.open(store.path)
    assert len(await again.inbox()) == 1
    again.close()
