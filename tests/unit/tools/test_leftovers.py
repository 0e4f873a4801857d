"""Finding and ending what a command left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermesd.tools.terminal.leftovers import TAG, Mark, find, kill_marked
from tests.waiting import wait_until

LOOKS = 300
RESTLESS = 'exec /bin/sh "$0"\n'


@pytest.fixture
def mark(tmp_path: Path) -> Mark:
    """Of this test alone."""
    return Mark(f"{tmp_path.name}-{os.getpid()}:1", exact=True)


@pytest.fixture
def restless(tmp_path: Path, mark: Mark) -> Iterator[subprocess.Popen[bytes]]:
    """A program that does nothing but execute itself, in a session of its own."""
    program = tmp_path / "restless"
    program.write_text(RESTLESS)
    environment = {"PATH": os.defpath, TAG: mark.prefix}
    process = subprocess.Popen(["/bin/sh", program], env=environment, start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_a_process_in_the_midst_of_execve_is_found(restless: subprocess.Popen[bytes], mark: Mark) -> None:
    """Its environment cannot be read then, and it would be left running."""
    wait_until(lambda: restless.pid in find(mark))
    assert [look for look in range(LOOKS) if restless.pid not in find(mark)] == []


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_a_process_that_executes_itself_all_the_time_is_ended(restless: subprocess.Popen[bytes], mark: Mark) -> None:
    """Whatever it is doing when it is looked at again."""
    wait_until(lambda: restless.pid in find(mark))
    assert kill_marked(mark) == 1
    assert restless.wait(60) == -signal.SIGKILL


def test_a_process_without_an_environment_is_nobodys(mark: Mark) -> None:
    """It rests, so it is not waited for."""
    process = subprocess.Popen(["/bin/sleep", "600"], env={})
    try:
        wait_until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].startswith("S"))
        assert mark.bears(process.pid) is False
    finally:
        process.kill()
        process.wait()
