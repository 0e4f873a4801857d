"""What tests fork is as what they would execute."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.servers.daemon import HTTP, MCP, Daemon


def put(directory: Path, *, executed: bool, loaded: tuple[str, ...] = ()) -> Daemon:
    home = directory / f"home-{executed}-{len(loaded)}"
    home.mkdir(mode=0o700)
    return Daemon(home, executed=executed, loaded=loaded)


def described(daemon: Daemon) -> dict[str, object]:
    """Of the process: what its descriptors are, its directory, its mask, its signals."""
    process = Path(f"/proc/{daemon.pid}")
    kinds: Counter[str] = Counter()
    for number in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = str(number.readlink()).replace(daemon.home.name, "home")
            kinds[target.split(":")[0]] += not target.startswith("socket:")  # one may be a connection that ends
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    kept = ("Umask", "SigIgn", "SigBlk", "SigCgt")
    return {"descriptors": +kinds, "directory": (process / "cwd").readlink()} | {name: status[name] for name in kept}


@pytest.mark.parametrize("loaded", [(), HTTP, MCP], ids=["idle", "http", "mcp"])
def test_a_forked_daemon_is_as_an_executed_one(tmp_path: Path, loaded: tuple[str, ...]) -> None:
    """To the kernel: nothing of the server it was forked from is left in it."""
    daemons = [put(tmp_path, executed=True), put(tmp_path, executed=False, loaded=loaded)]
    try:
        for daemon in daemons:
            daemon.start()
            daemon.call("daemon.status")  # its readiness has been told, and that descriptor closed
        executed, forked = map(described, daemons)
        assert forked == executed
        assert [daemon.stop() for daemon in daemons] == [0, 0]
    finally:
        for daemon in daemons:
            daemon.kill()


def test_the_end_of_a_forked_daemon_is_told_as_of_a_child(daemon: Daemon) -> None:
    """Its status, negative for a signal; and that it has not ended."""
    daemon.start()
    assert daemon.process is not None
    assert daemon.process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        daemon.wait(0.01)
    daemon.kill()
    assert daemon.wait() == -signal.SIGKILL
    daemon.write_config("agent: {max_turn: 3}\n")
    daemon.start(wait=False)
    assert daemon.wait() == 78


def test_a_forked_hermesctl_says_what_an_executed_one_says(tmp_path: Path) -> None:
    """Status, output and errors, also for what it reads."""
    forked, executed = (put(tmp_path, executed=kind) for kind in (False, True))
    forked.start()
    executed.home = forked.home
    try:
        for words, text in [
            (["profile", "list"], None),
            (["no-verb"], None),
            (["config", "set", "model.api_key"], "käse\n"),
        ]:
            answers = [daemon.ctl(*words, stdin=text) for daemon in (forked, executed)]
            assert len({(done.returncode, done.stdout, done.stderr) for done in answers}) == 1, answers
    finally:
        forked.kill()


def test_another_interpreter_would_be_another(daemon: Daemon) -> None:
    """What the interpreter itself reads from the environment takes a new one."""
    daemon.env["PYTHONHASHSEED"] = "7"
    daemon.start()
    assert isinstance(daemon.process, subprocess.Popen)
