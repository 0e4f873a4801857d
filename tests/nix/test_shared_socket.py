"""addToSystemPackages natively: HERMES_HOME of other people is the directory of the socket, and holds nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.nix.evaluation import ROOT
from tests.servers.daemon import Daemon

MANAGED = "nixos\nrebuild=sudo nixos-rebuild switch\n"  # as nix/nixos.nix has it


def call(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """hermesctl of somebody who sees no more than that directory."""
    return subprocess.run(
        [sys.executable, "-m", "hermesctl", *words],
        cwd=ROOT,
        env=os.environ | {"HERMES_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_directory_of_the_socket_is_home_enough(daemon: Daemon, tmp_path: Path) -> None:
    """Fast verbs, parsed ones and a chat work; what is declared cannot be changed; nothing is written there."""
    assert MANAGED.encode("unicode_escape").decode() in (ROOT / "nix" / "nixos.nix").read_text()
    daemon.start()
    place = tmp_path / "run"
    place.mkdir()
    (place / "hermesd.sock").symlink_to(daemon.socket_path)
    (place / ".managed").write_text(MANAGED)
    assert call(place, "status").stdout.startswith("hermesd ")
    assert call(place, "chat", "-q", "hello").returncode == 0
    assert call(place, "sessions", "list").returncode == 0
    for words in (("config", "set", "timezone", "UTC"), ("setup",)):
        refused = call(place, *words)
        assert refused.returncode == 78
        assert "sudo nixos-rebuild switch" in refused.stderr
    assert sorted(path.name for path in place.iterdir()) == [".managed", "hermesd.sock"]
