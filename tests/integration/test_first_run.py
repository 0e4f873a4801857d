"""``make run`` as somebody with a fresh copy and Python meets it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.terminal import at_terminal

ROOT = Path(__file__).parents[2]
NEEDED = ("Makefile", "pyproject.toml", "README.md", "LICENSE", "hermesd", "hermesctl", "scripts")
KEPT = ("PIP_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
ANSWER = "I am hermesd's offline stand-in"


def bare_environment(home: Path) -> dict[str, str]:
    """Python, make and the system's programs; nothing of the environment that runs the tests but how pip gets out."""
    programs = Path(sys.base_prefix) / "bin"
    kept = {name: value for name, value in os.environ.items() if name.upper().startswith(KEPT)}
    return {"HOME": str(home), "PATH": f"{programs}:/usr/bin:/bin", "TERM": "dumb", "LANG": "C.UTF-8", **kept}


def copy_of_the_tree(place: Path) -> Path:
    """What ``make run`` needs of it."""
    place.mkdir()
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, place / name)
    return place


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A fresh copy; its daemons are stopped at the end."""
    tree = copy_of_the_tree(tmp_path / "tree")
    yield tree
    for home in (tree / ".hermes-run", tmp_path / "mine"):
        if (tree / ".venv/bin/hermesctl").exists() and home.exists():
            environment = {**os.environ, "HERMES_HOME": str(home)}
            command = [tree / ".venv/bin/hermesctl", "stop", "--now"]
            subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60)


def make_run(tree: Path, environment: dict[str, str], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]  # options of run
        ["make", "run"], cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=300, **options
    )


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_run_makes_what_it_needs_and_answers(tree: Path, tmp_path: Path) -> None:
    """Without a terminal one question is answered; again at once; a piped one; in another home; and at a terminal."""
    environment = bare_environment(tmp_path)
    first = make_run(tree, environment, stdin=subprocess.DEVNULL)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith(ANSWER)
    assert not (tree / ".venv/bin/pytest").exists(), "running needs no tests"

    made = (tree / ".venv/.run").stat().st_mtime_ns
    reader, writer = os.pipe()  # as in CI: open, and nobody writes
    again = make_run(tree, environment, stdin=reader)  # in vain, if it waited for a question
    os.close(reader)
    os.close(writer)
    assert (again.returncode, again.stderr) == (0, "")
    assert (tree / ".venv/.run").stat().st_mtime_ns == made

    assert "hermesd's" not in make_run(tree, environment, input="write a.txt: hello\n").stdout
    assert (tree / ".hermes-run/workspace/a.txt").read_text() == "hello"

    assert make_run(tree, {**environment, "HERMES_HOME": str(tmp_path / "mine")}, input="list\n").returncode == 0
    assert (tmp_path / "mine/state.db").exists()

    stop = subprocess.run(["make", "stop"], cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert stop.stdout == "hermesd has stopped\n"
    with at_terminal(["make", "-C", str(tree), "run"], environment) as terminal:
        terminal.expect("› ")
        terminal.type("hello\n")
        terminal.expect(ANSWER)
        terminal.expect("› ")
        terminal.type("\x04")
        assert terminal.wait() == 0
