"""What slash commands do. A new command is one new function in the table."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermesd.errors import ConflictError, NotFoundError
from hermesd.store.records import Accepted, InboxRow, NewEvent, NewOutbox, TurnRow
from hermesd.turns.scope import persist

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.store.protocol import Store
    from hermesd.turns.scope import Workbench

STOPPING = frozenset({"stop", "new", "reset", "retry"})

HELP = """/new – start a fresh conversation
/stop – stop what I am doing
/retry – answer your last message again
/status – what is going on
/approve, /deny – answer a question of mine
/whoami – the id under which I know you
/help – this list"""


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command has before it. ``stopped`` says that the session's turn was just cancelled for it."""

    store: Store
    bench: Workbench
    row: InboxRow
    session_id: str
    stopped: bool
    queued: int
    running: int


async def carry_out(desk: Desk, turn: TurnRow) -> None:
    """Do the command and finish its turn with the reply."""
    name = desk.row.meta["command"]
    action = COMMANDS.get(name)
    text = await action(desk) if action else f"I do not know /{name}.\n{HELP}"
    outbox = NewOutbox(
        profile=desk.row.profile,
        address=desk.row.address,
        text=text,
        idempotency_key=f"turn:{turn.id}:reply",
        turn_id=turn.id,
    )
    rows = [outbox] if desk.row.address.platform and text else []
    await persist(lambda: desk.store.finish_turn(turn.id, state="done", inbox_state="done", outbox=rows))


async def _stop(desk: Desk) -> str:
    return "" if desk.stopped else "There is nothing to stop."  # the stopped turn says so itself


async def _new(desk: Desk) -> str:
    await desk.store.new_session(desk.row.profile, desk.row.session_key, source=desk.row.source)
    return "A fresh conversation. What can I do?"


async def _retry(desk: Desk) -> str:
    messages = await desk.store.messages(desk.session_id)
    last = next((item for item in reversed(messages) if item.role == "user"), None)
    if last is None:
        return "There is no message to retry."
    row = desk.row
    digest = hashlib.sha256(f"{row.source}:{row.delivery_id}".encode()).hexdigest()[:16]
    event = NewEvent(
        profile=row.profile,
        source=row.source,
        delivery_id=f"retry:{digest}",
        session_key=row.session_key,
        text=last.text,
        address=row.address,
        sender=row.sender,
    )
    accepted: list[Accepted] = await desk.store.accept([event])
    return "" if accepted else "That did not work."


async def _status(desk: Desk) -> str:
    config = desk.bench.settings.config
    session = await desk.store.session(desk.session_id)
    waiting = await desk.store.open_questions(session_id=desk.session_id)
    lines = [
        f"Profile {desk.row.profile}, model {config.model.default}",
        f"Session {session.id}, {session.messages} messages",
        f"{desk.running} turn(s) running in this profile, {desk.queued} message(s) of this chat waiting",
    ]
    if waiting:
        lines.append(f"I am waiting for your answer: {waiting[0].text.splitlines()[0]}")
    return "\n".join(lines)


async def _help(_desk: Desk) -> str:
    return HELP


async def _start(_desk: Desk) -> str:
    return f"Hello. Write to me as you would to a person.\n{HELP}"


async def _whoami(desk: Desk) -> str:
    return f"You are {desk.row.sender} on {desk.row.address.platform}, chat {desk.row.address.chat}."


async def _decide(desk: Desk, answer: str) -> str:
    waiting = await desk.store.open_questions(session_id=desk.session_id)
    if not waiting:
        return "I am not waiting for an answer."
    try:
        await desk.bench.questions.answer(waiting[0].id, answer)
    except (ConflictError, NotFoundError):
        return "That question is no longer open."
    return "Allowed." if answer != "no" else "Denied."


async def _approve(desk: Desk) -> str:
    wanted = desk.row.meta.get("args", "").strip().lower()
    return await _decide(desk, "always" if wanted in ("always", "session") else "yes")


async def _deny(desk: Desk) -> str:
    return await _decide(desk, "no")


COMMANDS: dict[str, Callable[[Desk], Awaitable[str]]] = {
    "stop": _stop,
    "new": _new,
    "reset": _new,
    "retry": _retry,
    "status": _status,
    "help": _help,
    "commands": _help,
    "start": _start,
    "whoami": _whoami,
    "approve": _approve,
    "deny": _deny,
}
