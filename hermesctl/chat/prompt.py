"""Reading a person's line: prompt_toolkit with history and completion, plain ``input`` on a dumb terminal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from hermesctl.chat.line import read_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings

MARK = "› "


class LineReader(Protocol):
    """Reads one message. EOFError: the person leaves (Ctrl-D). KeyboardInterrupt: Ctrl-C."""

    def read(self) -> str:
        """The next message, possibly of several lines."""


class PlainReader:
    """``input``, where the terminal cannot move its cursor."""

    def read(self) -> str:
        """One line."""
        return read_line(MARK)


class PromptReader:
    """prompt_toolkit: Enter sends, Alt-Enter breaks the line, Tab completes slash commands, Up finds old messages."""

    def __init__(self, history: Path, commands: Mapping[str, str]) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter

        completer = WordCompleter(list(commands), meta_dict=dict(commands), sentence=True)
        self._session: PromptSession[str] = PromptSession(
            history=_history(history),
            completer=completer,
            complete_while_typing=False,
            key_bindings=_bindings(),
            prompt_continuation="  ",
            multiline=False,
        )

    def read(self) -> str:
        """One message."""
        return self._session.prompt(MARK)


def line_reader(history: Path, commands: Mapping[str, str]) -> LineReader:
    """What this terminal can do."""
    if os.environ.get("TERM", "dumb") == "dumb":
        return PlainReader()
    return PromptReader(history, commands)


def _bindings() -> KeyBindings:
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    bindings = KeyBindings()

    def break_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    bindings.add("escape", "enter")(break_line)
    return bindings


def _history(path: Path) -> History:
    """A history file that only its owner may read; none where it cannot be written."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(path)
