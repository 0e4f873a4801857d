"""The claim to a home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hermesd.errors import ConfigError, ConflictError
from hermesd.rpc.claim import claim_home

HOLD = """
import sys
from pathlib import Path
from hermesd.rpc.claim import claim_home
claim = claim_home(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def pid_path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "hermesd.pid"


def test_the_second_daemon_is_told_the_pid_of_the_first(pid_path: Path) -> None:
    """And when the first is killed, its file claims nothing."""
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(pid_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(ConflictError, match=f"pid {first.pid} ") as caught:
            claim_home(pid_path)
        assert caught.value.next_step
        first.kill()
        first.wait()
    assert pid_path.read_text() == f"{first.pid}\n"
    claim = claim_home(pid_path)
    assert pid_path.read_text() == f"{os.getpid()}\n"
    claim.release()
    assert not pid_path.exists()


def test_releasing_twice_does_nothing_more(pid_path: Path) -> None:
    """The second call must not close the descriptor that somebody else has got under the same number since."""
    claim = claim_home(pid_path)
    number = claim._fd
    claim.release()
    with open(os.devnull, "rb") as null:  # noqa: PTH123 - a device
        os.dup2(null.fileno(), number)
    try:
        claim.release()
        assert os.path.samestat(os.fstat(number), Path(os.devnull).stat()), "it is open, and what it was"
    finally:
        os.close(number)


def test_a_long_stale_number_is_overwritten_whole(pid_path: Path) -> None:
    """Nothing of what was there remains."""
    pid_path.write_text("123456789012345678901234567890\n" * 3)
    claim = claim_home(pid_path)
    assert pid_path.read_text() == f"{os.getpid()}\n"
    claim.release()


def test_children_do_not_inherit_the_claim(pid_path: Path) -> None:
    """A child that outlives the daemon must not keep its home."""
    claim = claim_home(pid_path)
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        try:
            os.close(claim._fd)  # as the kernel does for a daemon that is killed: the file stays
            assert child.poll() is None
            again = claim_home(pid_path)
            assert pid_path.read_text() == f"{os.getpid()}\n"
            again.release()
        finally:
            child.kill()


@pytest.mark.parametrize("kind", ["symlink", "hard link", "directory", "fifo"])
def test_what_is_not_a_file_of_its_own_is_refused(pid_path: Path, kind: str) -> None:
    """Nothing is written to where it leads."""
    target = pid_path.with_name("precious")
    target.write_text("precious")
    if kind == "symlink":
        pid_path.symlink_to(target)
    elif kind == "hard link":
        pid_path.hardlink_to(target)
    elif kind == "directory":
        pid_path.mkdir()
    else:
        os.mkfifo(pid_path)
    with pytest.raises(ConfigError) as caught:
        claim_home(pid_path)
    assert caught.value.where == str(pid_path)
    assert target.read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_another_owners_file_is_refused(pid_path: Path) -> None:
    """It could be unlocked or read by him."""
    pid_path.touch()
    os.chown(pid_path, 1, -1)
    with pytest.raises(ConfigError, match="owned by uid 1"):
        claim_home(pid_path)


def test_a_parent_that_others_may_write_to_is_refused(pid_path: Path) -> None:
    """They could replace the file under us."""
    pid_path.parent.chmod(0o777)
    with pytest.raises(ConfigError):
        claim_home(pid_path)
