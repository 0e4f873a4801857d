"""Commands of the chat itself; a message that begins with a slash is said with two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermesctl.chat.interactive import Chat

COMMANDS = {
    "/help": "this list",
    "/new": "begin a fresh session with the next message",
    "/resume": "SESSION: go on with another session",
    "/sessions": "recent sessions",
    "/retry": "say the last message again",
    "/stop": "stop a turn that still runs in this session",
    "/status": "the daemon at a glance",
    "/quit": "leave (Ctrl-D does too)",
}


def carry_out(chat: Chat, line: str) -> bool:
    """Do a command; False when it ends the chat. Raises UsageError for an unknown one, and what the daemon raises."""
    name, _, rest = line.partition(" ")
    if name in ("/quit", "/exit"):
        return False
    action = _ACTIONS.get(name)
    if action is None:
        import difflib

        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else "see /help; two slashes say it as a message"
        raise UsageError(f"there is no command {name[:40]}", next_step=hint)
    action(chat, rest.strip())
    return True


def _help(chat: Chat, _rest: str) -> None:
    chat.note("\n".join(f"{name:<10} {text}" for name, text in COMMANDS.items()))
    chat.note("Enter sends, Alt-Enter breaks the line, Ctrl-C stops a running turn")


def _new(chat: Chat, _rest: str) -> None:
    chat.conversation.session, chat.conversation.new = "", True
    chat.note("a fresh session begins with your next message")


def _resume(chat: Chat, rest: str) -> None:
    if not rest:
        raise UsageError("/resume needs a session", next_step="see /sessions")
    found = chat.conversation.resume(rest)
    chat.note(f"session {chat.conversation.session}")
    chat.show_messages(found.get("messages", []))


def _retry(chat: Chat, _rest: str) -> None:
    if not chat.last:
        raise UsageError("nothing has been said yet")
    chat.say(chat.last)


def _stop(chat: Chat, _rest: str) -> None:
    chat.note(chat.conversation.interrupt() or "stopped")


def _rendered(*argv: str) -> Callable[[Chat, str], None]:
    """A command that shows what a read-only verb shows."""

    def show(chat: Chat, _rest: str) -> None:
        page = chat.page()
        call = [*argv, *(["-p", chat.conversation.context.profile] if chat.conversation.context.profile else [])]
        result = chat.conversation.context.call("console.run", argv=call, width=page.width, color=page.color)
        print(result["text"], end="")

    return show


_ACTIONS: dict[str, Callable[[Chat, str], None]] = {
    "/help": _help,
    "/new": _new,
    "/resume": _resume,
    "/sessions": _rendered("sessions", "list", "-n", "15"),
    "/retry": _retry,
    "/stop": _stop,
    "/status": _rendered("status"),
}
