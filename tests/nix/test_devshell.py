"""What `nix develop` does on entry: an environment that is made once, by a uv that notes its calls."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.nix.evaluation import NIX

SCRIPT = NIX / "devshell.sh"
UV = """#!/bin/sh
echo "$@" >>"$UV_LOG"
[ "$1" != venv ] || mkdir -p .venv/bin
[ "$1" = venv ] || exit "${UV_STATUS:-0}"
"""


class Shell:
    """A checkout that is entered again and again."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.log = place / "uv.log"
        self.log.touch()
        programs = place / "programs"
        programs.mkdir()
        (programs / "uv").write_text(UV)
        (programs / "uv").chmod(0o755)
        self.search = f"{programs}:/usr/local/bin:/usr/bin:/bin"

    def enter(self, **more: str) -> str:
        """PATH in the shell."""
        done = subprocess.run(
            ["bash", "-c", '. "$0"; printf %s "$PATH"', SCRIPT],
            cwd=self.place,
            env={"PATH": self.search, "UV_LOG": str(self.log), **more},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    @property
    def calls(self) -> int:
        """How often uv was called."""
        return len(self.log.read_text().splitlines())


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """One with a pyproject.toml."""
    if not shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin"):
        pytest.skip("there is no python3 of the system")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    return Shell(tmp_path)


def test_the_environment_is_made_once_for_each_pyproject(shell: Shell) -> None:
    """The stamp is of its contents."""
    assert shell.enter().startswith(f"{shell.place}/.venv/bin:")
    assert shell.calls == 2
    shell.enter()
    assert shell.calls == 2
    (shell.place / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    shell.enter()
    assert shell.calls == 4


def test_what_could_not_be_installed_is_tried_again(shell: Shell) -> None:
    """And the shell goes on, without it."""
    assert ".venv" not in shell.enter(UV_STATUS="1")
    assert shell.enter().startswith(f"{shell.place}/.venv/bin:")
    assert shell.calls == 4


def test_elsewhere_nothing_is_made(shell: Shell) -> None:
    """Not in a directory without a pyproject.toml."""
    (shell.place / "pyproject.toml").unlink()
    assert ".venv" not in shell.enter()
    assert shell.calls == 0
