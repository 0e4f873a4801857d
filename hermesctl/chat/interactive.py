"""The chat loop: read a message, show its turn, until Ctrl-D."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermesctl.chat.prompt import line_reader
from hermesctl.chat.slash import COMMANDS, carry_out
from hermesctl.chat.view import TerminalView
from hermesctl.output import columns, use_color
from hermesd.errors import HermesError
from hermesd.rpc.render.page import Page
from hermesd.rpc.render.terminal import clean, one_line

if TYPE_CHECKING:
    from hermesctl.chat.conversation import Conversation


class Chat:
    """One chat at a terminal. ``last`` is the last message said, for /retry."""

    def __init__(self, conversation: Conversation, *, yolo: bool = False, verbose: bool = False) -> None:
        self.conversation = conversation
        self.last = ""
        self._yolo = yolo
        self._verbose = verbose

    def run(self, *, choose: bool = False) -> int:
        """Until Ctrl-D or /quit; returns 0. ``choose`` lets the person pick a session first."""
        reader = line_reader(self.conversation.context.home.root / "chat_history", COMMANDS)
        self._greet()
        if choose:
            carry_out(self, "/sessions")
            self.note("choose with /resume SESSION")
        hinted = False
        while True:
            try:
                line = reader.read().strip()
            except EOFError:
                return 0
            except KeyboardInterrupt:
                if not hinted:
                    self.note("Ctrl-D leaves")
                hinted = True
                continue
            hinted = False
            if not self._handle(line):
                return 0

    def _handle(self, line: str) -> bool:
        """Do one line; whether to go on. Errors are shown and end nothing."""
        try:
            if line.startswith("//"):
                self.say(line[1:])
            elif line.startswith("/"):
                return carry_out(self, line)
            elif line:
                self.say(line)
        except HermesError as error:
            self.note(str(error), "red")
        except KeyboardInterrupt:
            self.note("no longer waiting; the turn may go on: /stop stops it")
        return True

    def say(self, text: str) -> None:
        """Say something and show the turn."""
        self.last = text
        view = TerminalView(self.page(), yolo=self._yolo, verbose=self._verbose)
        view.finish(self.conversation.say(text, view))

    def page(self) -> Page:
        """The terminal as it is now."""
        return Page(width=columns(), color=use_color())

    def note(self, text: str, color: str = "dim") -> None:
        """A line of the client's own."""
        print(self.page().paint(clean(text), color))

    def show_messages(self, messages: list[dict[str, Any]]) -> None:  # MessageRows, as plain data
        """The end of a resumed session."""
        for message in messages:
            if message["role"] in ("user", "assistant") and message["text"]:
                mark = "› " if message["role"] == "user" else ""
                self.note(mark + str(message["text"]))

    def _greet(self) -> None:
        context = self.conversation.context
        profile = context.call("profile.show", name=context.profile)
        words = ["hermes", f"profile {profile['name']}", str(profile.get("model", "")), "/help"]
        self.note("  ".join(filter(None, map(one_line, words))))
        if self.conversation.session:
            self.show_messages(self.conversation.resume(self.conversation.session).get("messages", []))
