"""Case 28: where a home lies. On tmpfs and overlay everything holds; a network file system is told; one daemon a home.

The second daemon on a home is in test_rpc_claims.py.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermesd.home import Home
from hermesd.rpc import checks
from tests.faults.blackbox import inbox
from tests.servers.daemon import Daemon


@contextlib.contextmanager
def mounted(place: Path, kind: str) -> Iterator[Path]:
    """A real file system of this kind; skips where mounting is not permitted."""
    at = place / "at"
    options = "size=64m"
    if kind == "overlay":
        layers = [place / name for name in ("lower", "upper", "work")]
        for layer in layers:
            layer.mkdir()
        options = ",".join(f"{layer.name}dir={layer}" for layer in layers)
    at.mkdir()
    command = ["mount", "-t", kind, "-o", options, "hermesd-test", str(at)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip(f"mounting {kind} needs root and CAP_SYS_ADMIN")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", at], check=True)


@pytest.mark.parametrize("kind", ["tmpfs", "overlay"])
def test_what_is_accepted_in_such_a_home_survives_a_kill(tmp_path: Path, kind: str) -> None:
    """Its lock and its write-ahead log work there: a second daemon is refused, and after SIGKILL nothing is lost."""
    with mounted(tmp_path, kind) as place:
        home = place / "home"
        home.mkdir(mode=0o700)
        daemon = Daemon(home)
        try:
            daemon.start()
            answers = {
                name: daemon.call("chat.send", text=f"hello {name}", delivery_id=name, quiet=True)["text"]
                for name in ("a", "b", "c")
            }
            with daemon.connect() as wire:
                wire.send("chat.send", text="slow 300", delivery_id="cut")
                wire.until("chat.update", kind="text")
                second = Daemon(home)
                second.start(wait=False)
                assert second.wait() == 1
                assert f"a hermesd with pid {daemon.pid} already runs" in second.output
                daemon.kill()
            daemon.start()
            for name, text in answers.items():
                again = daemon.call("chat.send", text=f"hello {name}", delivery_id=name, quiet=True)
                assert (again["duplicate"], again["text"]) == (True, text)
            assert Counter(row["delivery_id"] for row in inbox(daemon)) == Counter([*answers, "cut"])
            said = daemon.ctl("--json", "doctor").stdout
            assert f'"detail": "{kind}"' in said or f'"detail":"{kind}"' in said
        finally:
            daemon.kill()


@pytest.mark.parametrize("kind", ["nfs4", "fuse.sshfs", "9p"])
def test_a_home_on_a_network_file_system_is_told_by_doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """SQLite's write-ahead log has no shared memory there. The kind of the mount is a stand-in."""
    (tmp_path / "home").mkdir(mode=0o700)
    monkeypatch.setattr(checks, "_filesystem_kind", lambda _root: kind)
    [found] = [check for check in checks.home_checks(Home(tmp_path / "home")) if check.name == "filesystem"]
    assert found.verdict == "warning"
    assert kind in found.detail
    assert "local disk" in found.next_step
