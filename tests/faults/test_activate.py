"""An activation that is killed or runs twice at once: every file is old or new, and the next run puts all right."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from hermesd import failpoint
from hermesd.activation.manifest import parse
from hermesd.activation.run import activate
from hermesd.config.env import parse_env
from hermesd.config.plain import tree_of

MINE = {"store": {"retain_days": 3}}
ONE: dict[str, Any] = {
    "config": {"value": {"agent": {"max_turns": 1}, "toolsets": ["files"]}},
    "env": {"values": {"A": "1", "GOES": "1"}},
    "files": [{"target": "SOUL.md", "text": "one\n"}],
    "documents": [{"target": "GOES.md", "text": "one\n"}],
    "profiles": {"coder": {"config": {"value": {"agent": {"max_turns": 1}}}}},
}
TWO: dict[str, Any] = {
    "config": {"value": {"agent": {"max_turns": 2}, "model": {"default": "x"}}},
    "env": {"values": {"A": "2", "COMES": "2"}},
    "files": [{"target": "SOUL.md", "text": "two\n"}],
    "documents": [{"target": "COMES.md", "text": "two\n"}],
    "cron": [{"name": "j", "schedule": "every 1h", "prompt": "p"}],
    "profiles": {"coder": {"config": {"value": {"agent": {"max_turns": 2}}}}},
}
WRITES = 30
"""More than an activation makes."""


def run(home: Path, manifest: dict[str, Any]) -> None:
    text = json.dumps({"schema": 1, "home": str(home), **manifest})
    activate(parse(text.encode(), "m.json"), "m.json")


def killed(home: Path, manifest: dict[str, Any], point: str, count: int) -> bool:
    """Run it in a process of its own that is killed at a point; whether it came that far."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            failpoint._armed[point] = count
            run(home, manifest)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def prepared(home: Path) -> Path:
    home.mkdir(mode=0o700)
    (home / "config.yaml").write_text("# mine\nstore: {retain_days: 3}\n")
    (home / ".env").write_text("MINE=1\n")
    run(home, ONE)
    return home


def contents(home: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(home)): path for path in home.rglob("*") if path.is_file()}
    return {name: path.read_bytes().replace(bytes(home), b"HOME") for name, path in found.items()}


def left_over(home: Path) -> list[str]:
    return [path.name for path in home.rglob(".hermes-activate-*")]


@pytest.mark.parametrize("point", failpoint.OF_FILES)
def test_killed_at_any_rename_every_file_is_old_or_new_and_the_next_run_completes(tmp_path: Path, point: str) -> None:
    """With the same result as of a run that was left alone, and without a trace of the one that was killed."""
    expected = prepared(tmp_path / "expected")
    before = contents(expected)
    run(expected, TWO)
    after = contents(expected)
    for count in range(1, WRITES):
        home = prepared(tmp_path / f"{point}-{count}")
        if not killed(home, TWO, point, count):
            assert count > 8
            break
        now = {name: data for name, data in contents(home).items() if ".hermes-activate-" not in name}
        torn = [name for name, data in now.items() if data not in (before.get(name), after.get(name))]
        assert [name for name in torn if name != ".activation/applied.json"] == []
        if point == "files.before_rename":
            assert len(left_over(home)) == 1
        run(home, TWO)
        assert contents(home) == after
        assert left_over(home) == []
    else:
        pytest.fail("it never came through")


@pytest.mark.parametrize("count", range(1, 10, 2))
def test_what_a_killed_run_had_begun_to_put_there_goes_when_it_is_not_declared_after_all(
    tmp_path: Path, count: int
) -> None:
    """It is not taken for the user's."""
    home = prepared(tmp_path / "home")
    assert killed(home, TWO, "files.after_rename", count)
    run(home, {})
    assert tree_of((home / "config.yaml").read_bytes(), "") == MINE
    assert parse_env((home / ".env").read_bytes(), ".env", []) == {"MINE": "1"}
    assert not [path for path in home.rglob("*.md") if path.is_file()]
    assert not (home / ".activation/routines.yaml").exists()


def test_two_runs_at_once_wait_for_each_other(tmp_path: Path) -> None:
    """Whichever comes last has its way, whole."""
    results = []
    for name, manifest in (("one", ONE), ("two", TWO)):
        run(prepared(tmp_path / name), manifest)
        results.append(contents(tmp_path / name))
    home = prepared(tmp_path / "home")
    children = []
    for number in range(8):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for _ in range(3):
                    run(home, (ONE, TWO)[number % 2])
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    assert [os.WEXITSTATUS(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 8
    assert tree_of((home / "config.yaml").read_bytes(), "")["store"] == MINE["store"]
    last = [tree_of(each["config.yaml"], "") for each in results]
    assert tree_of((home / "config.yaml").read_bytes(), "") in last
    assert contents(home)[".managed"] in [each[".managed"] for each in results]
    assert left_over(home) == []
