"""One question, one answer: standard output holds the answer and nothing else."""

from __future__ import annotations

import os
import select
import sys
from typing import TYPE_CHECKING, Any

from hermesd.rpc.render.terminal import clean, one_line

if TYPE_CHECKING:
    from hermesctl.chat.conversation import Conversation

INTRODUCTION = "Introduce yourself in one sentence, and say what you can do here."
CI_PATIENCE_S = 0.2


class QuietView:
    """Shows nothing. Nobody can be asked: calls that need an approval are declined, or allowed with ``--yolo``."""

    def __init__(self, *, yolo: bool) -> None:
        self._yolo = yolo
        self._told = ""

    def update(self, update: dict[str, Any]) -> None:  # a ChatUpdate, as plain data
        """Only notices are told, on standard error; the same one that comes again (a model that stays away) is not."""
        text = one_line(str(update.get("text", "")))
        if update["kind"] == "notice" and text.partition("(")[0] != self._told:
            self._told = text.partition("(")[0]
            _say(text)

    def ask(self, question: dict[str, Any]) -> str | None:  # a QuestionRow, as plain data
        """Decide alone about approvals, and say so; nothing else is answered in the name of a person."""
        text = one_line(str(question["text"]))
        if question["kind"] != "approve":
            _say(f"asked, and nobody is here to answer: {text}")
            return None
        if self._yolo:
            _say(f"allowed (--yolo): {text}")
            return "yes"
        _say(f"declined: {text}", "use --yolo to allow, or chat at a terminal")
        return "no"

    def lost(self) -> None:
        """Told, since it may take a while."""
        _say("hermesd is away; waiting for it to come back")

    def found(self) -> None:
        """Nothing to tell."""


def ask(conversation: Conversation, question: str, *, yolo: bool) -> int:
    """Print the answer; the exit status: 0 when the turn is done, 1 otherwise."""
    result = conversation.say(question, QuietView(yolo=yolo))
    context = conversation.context
    if context.json:
        context.show(result)
    elif result.get("text"):
        print(clean(str(result["text"])).rstrip("\n"))
    state = str(result["state"])
    if state == "done":
        return 0
    error = one_line(str(result.get("error", "")))
    _say(f"the turn is {state}{': ' + error if error else ''}", NEXT_STEPS.get(state, ""))
    return 1


NEXT_STEPS = {
    "parked": "decide with `hermesctl inbox`",
    "deferred": "it will be answered later: see `hermesctl sessions list`",
    "failed": "try it again with `hermesctl inbox retry ID`, see `hermesctl inbox`",
}


def piped_question() -> str:
    """All of standard input; the introduction when that is empty, or when CI keeps it open without writing."""
    if sys.stdin is None:  # closed by whoever started us
        return INTRODUCTION
    if sys.stdin.isatty():
        print("Question: ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip() or INTRODUCTION
    if os.environ.get("CI") and not select.select([sys.stdin], [], [], CI_PATIENCE_S)[0]:
        return INTRODUCTION
    return sys.stdin.read().strip() or INTRODUCTION


def _say(text: str, next_step: str = "") -> None:
    print(f"hermesctl: {text}", file=sys.stderr)
    if next_step:
        print(f"  → {next_step}", file=sys.stderr)
