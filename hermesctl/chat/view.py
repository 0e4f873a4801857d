"""A turn at a terminal: text as it comes, tools in dim lines, questions answered in place."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hermesctl.chat.line import read_line
from hermesd.rpc.render.page import Page
from hermesd.rpc.render.terminal import ControlFilter, clean, one_line

if TYPE_CHECKING:
    from collections.abc import Callable

CHOICES = {"y": "yes", "yes": "yes", "n": "no", "no": "no", "a": "always", "always": "always"}


class TerminalView:
    """Prints a turn. What the model or a tool says is filtered: it cannot move the cursor or set the title."""

    def __init__(self, page: Page, *, yolo: bool = False, verbose: bool = False) -> None:
        self._page = page
        self._yolo = yolo
        self._verbose = verbose
        self._filter = ControlFilter()
        self._shown = ""
        self._at_line_start = True

    def update(self, update: dict[str, Any]) -> None:  # a ChatUpdate, as plain data
        """Show what happened; kinds that mean nothing to a person are passed over."""
        show = self._kinds().get(update["kind"])
        if show is not None:
            show(update)

    def _kinds(self) -> dict[str, Callable[[dict[str, Any]], None]]:
        return {
            "text": lambda update: self._text(str(update.get("text", ""))),
            "reasoning": self._reasoning,
            "restarted": lambda _: self._aside("… starting this answer over"),
            "tool": lambda update: self._aside(f"⚙ {update.get('name', '')} {update.get('text', '')}"),
            "tool_result": self._tool_result,
            "notice": lambda update: self._aside(str(update.get("text", ""))),
        }

    def _text(self, chunk: str) -> None:
        text = self._filter.feed(chunk)
        if text:
            self._shown += text
            self._write(text)

    def _reasoning(self, update: dict[str, Any]) -> None:
        if self._verbose:
            self._aside(str(update.get("text", "")))

    def _tool_result(self, update: dict[str, Any]) -> None:
        text = str(update.get("text", ""))
        if self._verbose:
            self._line(clean(text).rstrip(), "dim")
        elif update.get("is_error"):
            self._line(self._page.fit(f"  ✗ {one_line(text)}"), "red")

    def _aside(self, text: str) -> None:
        """A dim line of its own; text shown so far is no longer the end of the answer."""
        if text.strip():
            self._line(self._page.fit(one_line(text)), "dim")

    def _line(self, text: str, color: str) -> None:
        if not self._at_line_start:
            self._write("\n")
        self._write(self._page.paint(text, color) + "\n")
        self._shown = ""
        self._filter = ControlFilter()

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
        self._at_line_start = text.endswith("\n")

    def ask(self, question: dict[str, Any]) -> str | None:  # a QuestionRow, as plain data
        """Put a question of the turn. Ctrl-D is a no, or no answer at all; Ctrl-C raises and stops the turn."""
        self._line(clean(str(question["text"])), "yellow")
        if question["kind"] != "approve":
            return self._choose([one_line(str(option)) for option in question.get("options", [])])
        if self._yolo:
            self._aside("allowed (--yolo)")
            return "yes"
        return _approve()

    def _choose(self, options: list[str]) -> str | None:
        for number, option in enumerate(options, 1):
            self._write(f"  {number}. {option}\n")
        _forget_typed_ahead()
        try:
            answer = read_line("answer: ").strip()
        except EOFError:
            self._write("\n")
            return None
        picked = answer.isascii() and answer.isdigit() and 1 <= int(answer) <= len(options)
        return options[int(answer) - 1] if picked else answer

    def lost(self) -> None:
        """Say that the daemon is away."""
        self._aside("hermesd is away; the message will be sent again when it is back (Ctrl-C twice stops waiting)")

    def found(self) -> None:
        """Say that it is back."""
        self._aside("hermesd is back")

    def finish(self, result: dict[str, Any]) -> None:  # a ChatResult, as plain data
        """Show what of the answer has not been shown, and how the turn ended unless it is simply done."""
        answer, shown = clean(str(result.get("text", ""))).strip(), self._shown.strip()
        if answer and not shown.endswith(answer):
            if not self._at_line_start:
                self._write("\n")
            self._write(_unseen(answer, shown))
        if not self._at_line_start:
            self._write("\n")
        state = str(result["state"])
        if state != "done":
            error = one_line(str(result.get("error", "")))
            self._line(f"({state}{': ' + error if error else ''})", "red" if state == "failed" else "yellow")


def _unseen(answer: str, shown: str) -> str:
    """What follows the paragraphs that have been shown; all of it when they are not its beginning, or end in a word."""
    rest = answer.removeprefix(shown)
    return rest.lstrip() if shown and rest != answer and rest.lstrip(" ").startswith("\n") else answer


def _approve() -> str:
    _forget_typed_ahead()
    while True:
        try:
            answer = read_line("allow? [y]es / [n]o / [a]lways in this session: ").strip().lower()
        except EOFError:
            print()
            return "no"
        if answer in CHOICES:
            return CHOICES[answer]


def _forget_typed_ahead() -> None:
    """What was typed before a question was seen is no answer to it."""
    import termios

    try:
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    except (termios.error, OSError):
        return
