"""flock(2) with a bound: between real processes, given up, and on files that are removed, replaced or no files."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from hermesd.errors import ConfigError
from hermesd.file_lock import WAITER, FileLock, open_lock
from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.storage import TokenStorage
from tests.servers.lock_holder import held

if TYPE_CHECKING:
    pass


DEADLINE_S = 30.0
SHORT_S = 0.05
TRIES = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".lock"


def attempt_at(path: Path) -> FileLock:
    return FileLock(open_lock(str(path), None, str(path)))


def is_free(path: Path) -> bool:
    """Whether another process can have it now."""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", TRIES, str(path)], capture_output=True, check=False)
    return done.returncode == 0


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def waiters() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == WAITER]


def test_a_lock_keeps_other_processes_away_until_it_is_let_go_of(path: Path) -> None:
    """And closing it twice lets go of nothing else that has got its number since."""
    attempt = attempt_at(path)
    assert attempt.take(0)
    assert not is_free(path)
    attempt.close()
    assert is_free(path)
    with path.open("rb") as other:
        attempt.close()
        os.fstat(other.fileno())


def test_a_holder_that_is_killed_makes_room_for_who_waits(path: Path) -> None:
    """The kernel lets go for it, and the wait ends with the lock."""
    with held(path) as holder:
        attempt = attempt_at(path)
        assert not attempt.is_taken
        assert attempt.holder() == holder.pid
        threading.Timer(SHORT_S, holder.kill).start()
        assert attempt.take(DEADLINE_S)
    assert not is_free(path)
    attempt.close()


def test_a_wait_that_is_given_up_ends_with_the_holder_and_keeps_nothing(path: Path) -> None:
    """No thread, no descriptor and no lock of it are left once the holder has let go."""
    before = open_files()
    with held(path) as holder:
        attempt = attempt_at(path)
        assert not attempt.take(SHORT_S)
        attempt.close()
        (waiter,) = waiters()
        holder.kill()
        holder.wait()
        waiter.join(DEADLINE_S)
        assert not waiter.is_alive()
    assert not attempt.is_taken
    assert open_files() == before
    assert is_free(path)


def test_a_wait_that_was_given_up_before_it_began_touches_no_file(path: Path) -> None:
    """Its descriptor was closed then, and may be another file's by now."""
    attempt = attempt_at(path)
    attempt.close()
    attempt.wait()
    assert not attempt.is_taken
    assert is_free(path)


async def test_a_task_that_is_cancelled_while_it_waits_leaves_the_lock_free(tmp_path: Path) -> None:
    """The tokens of a server: the cancel comes through at once, and the next one waits for nobody but the holder."""
    storage = TokenStorage(tmp_path / "mcp-tokens", "srv")
    storage.directory.mkdir(mode=0o700)
    lock_path = storage.directory / ".srv.lock"
    with held(lock_path) as holder:
        before = open_files()
        with trio.fail_after(DEADLINE_S), trio.move_on_after(SHORT_S) as scope:
            async with storage.lock():
                raise AssertionError("it is held")
        assert scope.cancelled_caught
        holder.kill()
        holder.wait()
        with trio.fail_after(DEADLINE_S):
            async with storage.lock():
                assert not is_free(lock_path)
    assert is_free(lock_path)
    assert open_files() <= before


async def test_a_lock_file_that_is_replaced_while_somebody_waits_is_taken_anew(tmp_path: Path) -> None:
    """Two that hold two files of one name would both present the refresh token."""
    storage = TokenStorage(tmp_path / "mcp-tokens", "srv")
    storage.directory.mkdir(mode=0o700)
    lock_path = storage.directory / ".srv.lock"
    with held(lock_path) as old:
        lock_path.unlink()
        with held(lock_path):
            with pytest.raises(McpError, match="another process"):
                async with storage.lock(timeout_s=SHORT_S):
                    raise AssertionError("it is held")
            assert old.poll() is None
    with trio.fail_after(DEADLINE_S):
        async with storage.lock():
            assert not is_free(lock_path)


async def test_a_wait_for_a_file_that_goes_goes_on_at_the_new_one(tmp_path: Path) -> None:
    """What was waited for is free, but nobody's lock any more: the one of the file's new holder counts."""
    storage = TokenStorage(tmp_path / "mcp-tokens", "srv")
    storage.directory.mkdir(mode=0o700)
    lock_path = storage.directory / ".srv.lock"
    with held(lock_path) as old:
        has_it = trio.Event()

        async def waits() -> None:
            async with storage.lock():
                has_it.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            await trio.testing.wait_all_tasks_blocked(0.05)
            lock_path.unlink()
            with held(lock_path) as new:
                old.kill()
                with trio.move_on_after(4 * SHORT_S):
                    await has_it.wait()
                assert not has_it.is_set()
                new.kill()
                with trio.fail_after(DEADLINE_S):
                    await has_it.wait()


def test_a_removed_lock_has_lost_its_name(path: Path) -> None:
    """Also when another file bears it."""
    attempt = attempt_at(path)
    assert attempt.is_still(str(path))
    path.unlink()
    assert not attempt.is_still(str(path))
    path.touch()
    assert not attempt.is_still(str(path))
    attempt.close()


def test_a_new_file_is_private_and_what_lies_there_is_opened_as_it_is(path: Path, tmp_path: Path) -> None:
    """0600 whatever the umask; the mode of a file that has another name too is not changed through this one."""
    for umask in (0, 0o777):
        before = os.umask(umask)
        try:
            attempt_at(path).close()
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.unlink()
    other = tmp_path / "other"
    other.touch(0o644)
    path.hardlink_to(other)
    attempt_at(path).close()
    assert stat.S_IMODE(other.stat().st_mode) == 0o644
    other.unlink()
    attempt_at(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
def test_root_makes_the_file_for_whose_directory_it_is(tmp_path: Path) -> None:
    """Otherwise the user could not take it. One that is there keeps its owner: it may be a link to anything."""
    tmp_path.chmod(0o755)
    os.chown(tmp_path, 10000, 10001)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        FileLock(open_lock("new", fd, "new")).close()
        (tmp_path / "old").touch()
        FileLock(open_lock("old", fd, "old")).close()
    finally:
        os.close(fd)
    assert [((tmp_path / name).stat().st_uid, (tmp_path / name).stat().st_gid) for name in ("new", "old")] == [
        (10000, 10001),
        (0, os.getegid()),
    ]


def test_what_is_no_file_is_refused_with_how_to_be_rid_of_it(path: Path, tmp_path: Path) -> None:
    """A link is not followed, a pipe not waited at."""
    for put in (lambda: path.symlink_to(tmp_path / "elsewhere"), path.mkdir, lambda: os.mkfifo(path)):
        put()
        with pytest.raises(ConfigError) as caught:
            attempt_at(path)
        assert (caught.value.where, caught.value.next_step) == (str(path), f"remove it: rm {path}")
        (path.rmdir if path.is_dir() else path.unlink)()
    assert not (tmp_path / "elsewhere").exists()
