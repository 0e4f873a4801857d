"""Case 2: links planted where hermesd makes its files, and a home that others may write to: refused, nothing touched.

Here a whole daemon, as somebody starts it; each way of opening a file has its tests in tests/unit. The form for a state
directory that is shared with a container is in tests/deploy/test_container_host_docker.py.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.servers.daemon import Daemon, NotReadyError

PRECIOUS = "precious: 1\n"
SYMBOLIC, DANGLING, HARD = "a symbolic link", "a dangling link", "a hard link"
PLANTED = [
    ("hermesd.pid", SYMBOLIC),
    ("hermesd.pid", HARD),
    ("hermesd.sock", DANGLING),
    ("state.db", SYMBOLIC),
    ("logs/hermesd.log", DANGLING),
    ("logs/audit.log", HARD),
]


@pytest.mark.parametrize(("name", "plant"), PLANTED)
def test_a_planted_link_is_refused_by_its_path_and_its_target_stays(
    daemon: Daemon, tmp_path: Path, name: str, plant: str
) -> None:
    """Contents, mode and owner of the target are as before, and a dangling link makes no file."""
    precious, missing, place = tmp_path / "precious", tmp_path / "missing", daemon.home / name
    precious.write_text(PRECIOUS)
    precious.chmod(0o644)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    if plant == HARD:
        place.hardlink_to(precious)
    else:
        place.symlink_to(precious if plant == SYMBOLIC else missing)
    with pytest.raises(NotReadyError) as caught:
        daemon.start()
    assert str(place) in str(caught.value)
    found = precious.stat()
    assert precious.read_text() == PRECIOUS
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (os.geteuid(), 0o644)
    assert not missing.exists()


@pytest.mark.parametrize("mode", [0o770, 0o1777])
def test_a_home_that_others_may_write_to_is_refused(daemon: Daemon, mode: int) -> None:
    """They could put anything in the place of anything; nothing is made in it."""
    daemon.home.chmod(mode)
    with pytest.raises(NotReadyError) as caught:
        daemon.start()
    assert str(daemon.home) in str(caught.value)
    assert "chmod" in str(caught.value)
    assert list(daemon.home.iterdir()) == []
