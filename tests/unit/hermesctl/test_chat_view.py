"""What a person sees of a turn, and what a pipe does."""

from __future__ import annotations

import io
from typing import Any

import pytest

from hermesctl.chat import oneshot
from hermesctl.chat.oneshot import INTRODUCTION, QuietView, piped_question
from hermesctl.chat.view import TerminalView
from hermesd.rpc.render.page import Page


def show(*updates: dict[str, Any], result: dict[str, Any], verbose: bool = False) -> None:
    view = TerminalView(Page(width=60), verbose=verbose)
    for update in updates:
        view.update(update)
    view.finish({"state": "done", **result})


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_streamed_text_is_not_printed_again(capsys: pytest.CaptureFixture[str]) -> None:
    """The result's text ends what has been shown."""
    show({"kind": "text", "text": "Hel"}, {"kind": "text", "text": "lo."}, result={"text": "Hello."})
    assert shown(capsys) == "Hello.\n"


def test_an_answer_that_was_not_streamed_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """As after a reconnect."""
    show(result={"text": "Hello."})
    assert shown(capsys) == "Hello.\n"


def test_a_stopped_answer_is_not_printed_again(capsys: pytest.CaptureFixture[str]) -> None:
    """Only what follows it is; text that broke off within a word stands whole below."""
    show({"kind": "text", "text": "one two "}, result={"state": "cancelled", "text": "one two \n\nStopped."})
    assert shown(capsys) == "one two \nStopped.\n(cancelled)\n"
    show({"kind": "text", "text": "Hel"}, result={"text": "Hello."})
    assert shown(capsys) == "Hel\nHello.\n"


def test_a_notice_that_comes_again_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A model that stays away says so at every try; what differs is in brackets."""
    view = QuietView(yolo=False)
    for number in range(3):
        view.update({"kind": "notice", "text": f"The model is not reachable (attempt {number}). Kept."})
    view.update({"kind": "notice", "text": "something else"})
    assert capsys.readouterr().err.count("not reachable") == 1


def test_text_before_a_restart_is_not_taken_for_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """The provider began again; the answer stands whole below."""
    show({"kind": "text", "text": "Hel"}, {"kind": "restarted"}, result={"text": "Hello."})
    assert shown(capsys) == "Hel\n… starting this answer over\nHello.\n"


def test_tools_stand_on_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Names and arguments in one line that fits; errors of tools are shown."""
    show(
        {"kind": "text", "text": "Let me see."},
        {"kind": "tool", "name": "terminal", "text": '{"command":\n"ls"}' + "x" * 100},
        {"kind": "tool_result", "text": "no such file", "is_error": True},
        {"kind": "text", "text": "Done."},
        result={"text": "Done."},
    )
    lines = shown(capsys).splitlines()
    assert lines[0] == "Let me see."
    assert lines[1].startswith('⚙ terminal {"command": "ls"}x')
    assert len(lines[1]) == 60
    assert lines[2:] == ["  ✗ no such file", "Done."]


def test_sequences_cut_in_two_by_chunks_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """The filter holds its state over the stream."""
    show({"kind": "text", "text": "a\x1b]0;ti"}, {"kind": "text", "text": "tle\x07b\x1b"}, result={"text": "ab"})
    assert shown(capsys) == "ab\n"


def test_a_failed_turn_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """With its error, made safe."""
    show(result={"state": "failed", "text": "", "error": "refused\x1b[2J"})
    assert shown(capsys) == "(failed: refused)\n"


def test_reasoning_only_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """--verbose."""
    show({"kind": "reasoning", "text": "hm"}, result={"text": "x"})
    assert shown(capsys) == "x\n"
    show({"kind": "reasoning", "text": "hm"}, result={"text": "x"}, verbose=True)
    assert shown(capsys) == "hm\nx\n"


def test_an_approval_takes_yes_no_or_always_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The end of input is a no."""
    question = {"id": 1, "kind": "approve", "text": "run rm?\x1b[2J", "options": []}
    monkeypatch.setattr("sys.stdin", io.StringIO("perhaps\n\nA\n"))
    monkeypatch.setattr("hermesctl.chat.view._forget_typed_ahead", lambda: None)
    assert TerminalView(Page()).ask(question) == "always"
    assert TerminalView(Page()).ask(question) == "no"
    assert TerminalView(Page(), yolo=True).ask(question) == "yes"
    assert "\x1b" not in shown(capsys)


def test_a_choice_is_made_by_number_or_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers beyond the options are taken as words; the end of input is no answer, and not an empty one."""
    question = {"id": 1, "kind": "clarify", "text": "which?", "options": ["red", "blue"]}
    monkeypatch.setattr("sys.stdin", io.StringIO("2\ngreen\n7\n"))
    monkeypatch.setattr("hermesctl.chat.view._forget_typed_ahead", lambda: None)
    view = TerminalView(Page())
    assert [view.ask(question) for _ in range(4)] == ["blue", "green", "7", None]
    assert "  1. red\n  2. blue\n" in shown(capsys)


def test_without_a_person_approvals_are_declined_aloud(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error; --yolo allows. Nothing else is answered in a person's name."""
    question = {"id": 1, "kind": "approve", "text": "run rm?"}
    assert QuietView(yolo=False).ask(question) == "no"
    assert "declined: run rm?" in capsys.readouterr().err
    assert QuietView(yolo=True).ask(question) == "yes"
    assert "allowed (--yolo)" in capsys.readouterr().err
    assert QuietView(yolo=True).ask({**question, "kind": "clarify"}) is None
    assert "nobody is here to answer: run rm?" in capsys.readouterr().err


@pytest.mark.parametrize(("piped", "expected"), [("what is it?\n", "what is it?"), ("  \n", INTRODUCTION)])
def test_a_piped_question_is_all_of_standard_input(piped: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing piped means the introduction."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO(piped))
    assert piped_question() == expected


def test_ci_does_not_wait_for_input_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some runners keep standard input open."""
    import os

    reader, writer = os.pipe()
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(oneshot, "CI_PATIENCE_S", 0.0)
    with os.fdopen(reader) as silent:
        monkeypatch.setattr("sys.stdin", silent)
        assert piped_question() == INTRODUCTION
        os.write(writer, b"asked\n")
        os.close(writer)
        assert piped_question() == "asked"
