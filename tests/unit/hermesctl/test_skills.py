"""``hermesctl skills`` reads files where no daemon answers, and what they hold cannot draw on the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hermesctl.__main__ import main
from hermesctl.client import remote_error
from hermesctl.context import Context


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    (home / "profiles" / "coder").mkdir(parents=True)
    monkeypatch.setenv("HERMES_HOME", str(home))
    monkeypatch.setenv("HERMES_BUNDLED_SKILLS", str(tmp_path / "bundled"))
    return home


def write(directory: Path, name: str, text: str) -> Path:
    path = directory / name / "SKILL.md"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_they_are_listed_with_where_they_are_from(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the profile that is named has them; a bad one with the reason."""
    write(home.parent / "bundled", "review", "Ours.")
    write(home / "skills", "notes", "---\nname: [\n---\nx")
    own = write(home / "profiles" / "coder" / "skills", "review", "---\ndescription: Mine.\n---\nRead.")
    assert main(["skills"]) == 0
    assert [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()] == [
        ["SKILL", "FROM", "DESCRIPTION"],
        ["notes", "home", "cannot be used: its front matter is not YAML: did not find expected node content"],
        ["review", "bundled", "Ours."],
    ]
    assert main(["skills", "list", "-p", "coder", "--json"]) == 0
    notes, review = json.loads(capsys.readouterr().out)["skills"]
    assert notes["error"]
    assert review == {"name": "review", "origin": "profile", "path": str(own), "description": "Mine."}


def test_one_is_shown_as_the_agent_is_given_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without control sequences; in JSON as it is."""
    path = write(home / "skills", "a", "---\ndescription: B.\n---\nDo \x1b[31mit\x1b[0m.")
    assert main(["skills", "show", "a"]) == 0
    assert capsys.readouterr().out == f"skill  a\nfrom   home\nfile   {path}\nis     B.\n\nDo it.\n"
    assert main(["skills", "show", "a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["skill"]["text"] == "Do \x1b[31mit\x1b[0m."


def test_none_and_an_unknown_one_are_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the next step; an unknown profile, too."""
    assert main(["skills", "list"]) == 0
    said = capsys.readouterr()
    assert "write one: skills/NAME/SKILL.md" in said.out
    assert "warning: HERMES_BUNDLED_SKILLS names no directory" in said.err
    (home.parent / "bundled").mkdir()
    assert main(["skills", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"skills": []}
    write(home / "skills", "review", "Read.")
    assert main(["skills", "show", "revew"]) == 1
    assert "did you mean 'review'?" in capsys.readouterr().err
    assert main(["skills", "list", "-p", "nobody"]) == 1
    assert "no profile 'nobody'" in capsys.readouterr().err


def test_a_daemon_of_an_earlier_release_is_done_without(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It does not know the method; any other refusal is the answer."""
    write(home / "skills", "a", "Do it.")
    refusal = {"code": -32601, "message": "there is no method 'skills.list'"}

    def call(_context: Context, _method: str, **_params: str) -> None:
        raise remote_error(refusal)

    monkeypatch.setattr(Context, "call", call)
    assert main(["skills", "list"]) == 0
    assert "Do it." in capsys.readouterr().out
    refusal["code"] = -32005
    assert main(["skills", "list"]) == 77


def test_their_names_are_completed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those a shell would not take apart."""
    write(home / "skills", "review", "Read.")
    write(home / "skills", "two words", "Read.")
    assert main(["completion", "--names", "skills"]) == 0
    assert capsys.readouterr().out == "review\n"
    assert main(["completion", "bash"]) == 0
    [case] = [line for line in capsys.readouterr().out.splitlines() if '"skills show")' in line]
    assert case.endswith("kind=skills ;;")
