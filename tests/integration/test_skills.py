"""``hermesctl skills`` at a real daemon: it is asked, and who may use its socket needs no right to its files."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.daemon import Daemon

TREE = Path(__file__).parents[2]
SKILL = "---\ndescription: {}\n---\nDo it.\n"
CALLS = (
    ("skills", "list", "--json"),
    ("skills", "show", "his", "-p", "coder", "--json"),
    ("completion", "--names", "skills"),
    ("completion", "--names", "profiles"),
    ("skills", "show", "nobodys"),
)
MEMBER = """\
import contextlib, io, json, os, sys
from hermesctl.__main__ import main
calls = json.loads(sys.argv[3])
def answer(words):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = main(words)
    return status, out.getvalue(), err.getvalue()
for words in calls:
    answer(words)  # what has to be imported is, before the interpreter's own files may be out of reach
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[1]))
print(json.dumps([answer(words) for words in calls]))
"""


def write(directory: Path, name: str) -> None:
    path = directory / name / "SKILL.md"
    path.parent.mkdir(parents=True)
    path.write_text(SKILL.format(name))


@pytest.fixture
def home(daemon: Daemon) -> Path:
    """With a skill of the home's, of a profile's, and one whose name is no UTF-8."""
    daemon.write_config("model: offline\n")
    daemon.write_config("model: offline\n", profile="coder")
    (daemon.home / "profiles").chmod(0o700)
    write(daemon.home / "skills", "mine")
    write(daemon.home / "profiles" / "coder" / "skills", "his")
    return daemon.home


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_member_of_the_sockets_group_reads_them_without_a_right_to_the_files(daemon: Daemon, home: Path) -> None:
    """The list, one skill of a profile, and the names that a shell completes; what is not there is said as ever."""
    user = pwd.getpwnam("daemon")
    daemon.write_config(f"model: offline\nrpc: {{group: {grp.getgrgid(user.pw_gid).gr_name}, roles: [read]}}\n")
    for directory in (home, *home.parents):
        if directory.stat().st_mode & 0o001 == 0:
            directory.chmod(0o711)
    (home / "skills").chmod(0o700)
    daemon.start()
    arguments = [str(user.pw_uid), str(user.pw_gid), json.dumps(CALLS)]
    done = subprocess.run(
        [sys.executable, "-c", MEMBER, *arguments],
        cwd=TREE,
        env={**os.environ, "HERMES_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    listed, shown, skills, profiles, unknown = json.loads(done.stdout)
    mine = next(row for row in json.loads(listed[1])["skills"] if row["name"] == "mine")
    assert (mine["origin"], mine["description"]) == ("home", "mine")
    assert json.loads(shown[1])["skill"]["text"] == "Do it."
    assert "mine" in skills[1].split()
    assert profiles == [0, "default\ncoder\n", ""]
    assert unknown[0] == 1
    assert "there is no skill 'nobodys'" in unknown[2]


def test_the_daemons_answer_counts_and_without_one_the_files(daemon: Daemon, home: Path, tmp_path: Path) -> None:
    """Its bundled skills are those that its agents get, whatever the caller's environment says."""
    write(tmp_path / "daemons", "ours")
    write(tmp_path / "callers", "theirs")
    (home / "skills" / os.fsdecode(b"b\xff")).mkdir()
    (home / "skills" / os.fsdecode(b"b\xff") / "SKILL.md").write_text("x")
    daemon.start(HERMES_BUNDLED_SKILLS=str(tmp_path / "daemons"))
    daemon.env["HERMES_BUNDLED_SKILLS"] = str(tmp_path / "callers")

    def names(*words: str) -> list[str]:
        found = daemon.ctl("skills", "list", "--json", *words)
        assert found.returncode == 0, found.stderr
        return [row["name"] for row in json.loads(found.stdout)["skills"]]

    assert names() == ["b\\xff", "mine", "ours"]
    assert names("-p", "coder") == ["b\\xff", "his", "mine", "ours"]
    daemon.write_config("agent: {max_turns: many}\n", profile="coder")
    assert names("-p", "coder") == ["b\\xff", "his", "mine", "ours"]
    daemon.stop()
    assert names() == ["b\\xff", "mine", "theirs"]
