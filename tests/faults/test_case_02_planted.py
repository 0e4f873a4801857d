"""Case 2: a link, a pipe or a directory planted where the daemon keeps its files, and parents that others may write.

It is refused with the path and the next step, and what the link leads to is neither read into anything nor changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.daemon import Daemon

REFUSED, FAILED = 78, 1

PLANT: dict[str, Callable[[Path, Path], None]] = {
    "symbolic link": lambda path, victim: path.symlink_to(victim),
    "dangling link": lambda path, victim: path.symlink_to(victim.with_name("nothing")),
    "hard link": lambda path, victim: path.hardlink_to(victim),
    "pipe": lambda path, _victim: os.mkfifo(path),
    "directory": lambda path, _victim: path.mkdir(),
}

PLACES = [
    ("hermesd.sock", "symbolic link", REFUSED),
    ("hermesd.sock", "dangling link", REFUSED),
    ("hermesd.sock", "hard link", REFUSED),
    ("hermesd.pid", "symbolic link", REFUSED),
    ("hermesd.pid", "hard link", REFUSED),
    ("hermesd.pid", "pipe", REFUSED),
    ("logs/hermesd.log", "symbolic link", REFUSED),
    ("logs/hermesd.log", "hard link", REFUSED),
    ("logs/audit.log", "dangling link", REFUSED),
    ("logs/audit.log", "hard link", REFUSED),
    ("logs/audit.log", "pipe", REFUSED),
    (".env", "symbolic link", REFUSED),
    ("gateway_state.json", "symbolic link", REFUSED),
    ("gateway_state.json", "pipe", REFUSED),
    ("state.db", "symbolic link", FAILED),
    ("state.db", "directory", FAILED),
]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of the same user's that nobody is to touch, outside the home."""
    found = tmp_path / "precious"
    found.write_text("precious")
    found.chmod(0o644)
    return found


@pytest.mark.parametrize(("name", "kind", "status"), PLACES, ids=lambda value: str(value).replace(" ", "-"))
def test_what_is_planted_at_a_file_of_the_daemons_is_refused(
    daemon: Daemon, victim: Path, name: str, kind: str, status: int
) -> None:
    """With a sentence that names it, its exit status, and nothing changed at the other end."""
    (daemon.home / "logs").mkdir(mode=0o700)
    path = daemon.home / name
    PLANT[kind](path, victim)
    before = victim.stat()
    daemon.start(wait=False)
    assert daemon.wait() == status
    said = daemon.output.splitlines()
    assert f"hermesd: {path}: " in daemon.output
    assert said[-1].startswith("  → ")
    assert "Traceback" not in daemon.output
    assert "Too many levels" not in daemon.output  # the system's words for a link
    after = victim.stat()
    assert victim.read_text() == "precious"
    assert (after.st_mode, after.st_uid, after.st_mtime_ns) == (before.st_mode, before.st_uid, before.st_mtime_ns)
    assert not victim.with_name("nothing").exists()


@pytest.mark.parametrize("name", [".", "logs"])
def test_a_directory_that_others_may_write_is_refused(daemon: Daemon, name: str) -> None:
    """Whoever may write to the parent can replace what lies in it."""
    path = daemon.home / name
    path.mkdir(exist_ok=True)
    path.chmod(0o770)
    daemon.start(wait=False)
    assert daemon.wait() == REFUSED
    assert str(daemon.home if name == "." else path) in daemon.output
    assert daemon.output.splitlines()[-1].startswith("  → ")


def test_a_planted_runtime_directory_gets_no_socket(daemon: Daemon, tmp_path: Path) -> None:
    """Where the home's own path is too long for a socket, it would lie in the runtime directory."""
    runtime, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    for place in (runtime, elsewhere):
        place.mkdir(mode=0o700)
    (runtime / "hermesd").symlink_to(elsewhere)
    daemon.home = daemon.home / ("x" * 100)
    daemon.start(wait=False, XDG_RUNTIME_DIR=str(runtime))
    assert daemon.wait() == REFUSED
    assert str(runtime / "hermesd") in daemon.output
    assert list(elsewhere.iterdir()) == []
