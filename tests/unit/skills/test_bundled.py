"""The skills that come with hermesd: small, described, and every command in them can be given."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from hermesd.home import Profile
from hermesd.skills.library import all_skills
from hermesd.skills.places import OWN
from hermesd.tools.terminal.readonly import parse
from tests.unit.hermesctl.test_parser import parser_of

NAMES = sorted(path.parent.name for path in OWN.glob("*/SKILL.md"))
BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
INSTALLED = ("df", "free", "uptime", "systemctl", "journalctl")
CHANGING = {"git commit --file message.txt"}


def text_of(name: str) -> str:
    return (OWN / name / "SKILL.md").read_text()


def commands(name: str) -> list[str]:
    return [line.strip() for block in BLOCK.findall(text_of(name)) for line in block.splitlines() if line.strip()]


def test_there_are_some_and_all_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each directory of the package has its SKILL.md."""
    monkeypatch.delenv("HERMES_BUNDLED_SKILLS", raising=False)
    found = all_skills(Profile("default", tmp_path))
    assert [(each.name, each.origin, each.error) for each in found] == [(name, "bundled", "") for name in NAMES]
    assert len(NAMES) >= 3
    assert {path.name for path in OWN.iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_skill_keeps_to_the_specification(name: str) -> None:
    """agentskills.io: the name is the directory's, a description of at most 1024 characters; and it is short."""
    front = yaml.safe_load(text_of(name).split("---\n")[1])
    assert front["name"] == name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert 20 < len(front["description"]) <= 1024
    assert set(front) <= {"name", "description", "license"}
    assert len(text_of(name).splitlines()) <= 60


@pytest.mark.parametrize("name", NAMES)
def test_hermesctl_takes_every_command_of_a_skill(name: str) -> None:
    """By its own parsers; the flags are those of today."""
    shown = [words for line in commands(name) if (words := shlex.split(line))[0] == "hermesctl"]
    for _, verb, *rest in shown:
        parser_of(verb).parse_args(rest)
    named = re.findall(r"`hermesctl ([a-z-]+)", text_of(name))
    assert all(parser_of(verb) for verb in named)


@pytest.mark.parametrize("name", NAMES)
def test_other_commands_of_a_skill_only_look(name: str) -> None:
    """Git's are run in a repository with something staged, all others are of programs that every system has."""
    for line in commands(name):
        program = shlex.split(line)[0]
        assert program in ("hermesctl", "git", *INSTALLED), line
        if program == "git" and line not in CHANGING:
            assert parse(line), line


def test_commands_of_git_work_in_a_repository(tmp_path: Path) -> None:
    """With a base, a head, and a change that is staged."""
    if not shutil.which("git"):
        pytest.skip("there is no git")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        **{f"GIT_{who}_{what}": "a@b.de" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    preparing = "git init -q; echo 1 >a; git add a; git commit -qm one; git tag BASE; echo 2 >a; git commit -qam two"
    staged = "git tag HEAD2; echo 3 >a; git add a; echo Say three >message.txt"
    shown = [line for name in NAMES for line in commands(name) if line.startswith("git ")]
    assert len(shown) >= 7
    script = "\n".join(["set -e", preparing, staged, *sorted(shown, key=CHANGING.__contains__)])
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Say three" in done.stdout
