"""hermesd's own options, which are read before anything is imported."""

from __future__ import annotations

import os

import pytest

from hermesd.__main__ import main


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("--ready-fd ²", "'²' is not a descriptor"),
        ("--ready-fd 2", "'2' is not a descriptor"),
        ("--ready-fd 9999999999", "'9999999999' is not a descriptor"),
        (f"--ready-fd {'9' * 5000}", "is not a descriptor"),
        ("--stop-status 256", "'256' is not an exit status"),
        ("--stop-status -1", "'-1' is not an exit status"),
        (f"--stop-status {'9' * 5000}", "is not an exit status"),
        ("--log-level loud", "'loud' is not a log level"),
        ("--home", "--home needs a value"),
        ("--detach=1", "unknown option '--detach=1'"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_two_lines(
    words: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, what is wrong, and the next step; never a traceback."""
    assert main(words.split()) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert what in first
    assert len(first) < 120
    assert second.startswith("  → ")


def test_process_1_does_not_go_to_the_background(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The container, and the daemon with it, would end at once."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert main(["--detach"]) == 2
    assert "leave --detach out" in capsys.readouterr().err
