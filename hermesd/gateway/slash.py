"""What slash commands do. A new command is one new function in the table."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from hermesd.errors import ConflictError, NotFoundError
from hermesd.store.records import NewEvent, NewOutbox
from hermesd.turns.persist import persist
from hermesd.turns.suggestion import asked_here

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.gateway.lane import SessionLane
    from hermesd.store.protocol import Store
    from hermesd.store.records import InboxRow, TurnRow, TurnState
    from hermesd.turns.scope import Workbench

log = logging.getLogger(__name__)

HELP = """/new – start a fresh conversation
/stop – stop what I am doing
/retry – answer your last message again
/status – what is going on
/approve, /deny – answer a question of mine
/whoami – the id under which I know you
/help – this list"""


class Desk(msgspec.Struct, frozen=True):
    """What a command has before it. ``lane`` is its conversation's (an empty one when nothing is going on there)."""

    store: Store
    bench: Workbench
    row: InboxRow
    session_id: str
    lane: SessionLane
    running: int


async def carry_out(desk: Desk, turn: TurnRow) -> None:
    """Do the command and finish its turn with the reply."""
    name = desk.row.meta["command"]
    state: TurnState = "done"
    try:
        action = COMMANDS.get(name)
        text = await action(desk) if action else f"I do not know /{name}.\n{HELP}"
    except Exception:  # one command's bug must not end the turns under way: told to its user, traceback in the log
        log.exception("/%s failed", name)
        state, text = "failed", f"/{name} did not work. Why is in the daemon's log."
    outbox = NewOutbox(
        profile=desk.row.profile,
        address=desk.row.address,
        text=text,
        idempotency_key=f"turn:{turn.id}:reply",
        turn_id=turn.id,
    )
    rows = [outbox] if desk.row.address.platform and text else []
    await persist(lambda: desk.store.finish_turn(turn.id, state=state, inbox_state="done", outbox=rows))


# -- stopping and starting afresh ------------------------------------------------------------------------------------


async def _halt(desk: Desk) -> tuple[bool, int]:
    """Drop the chat's waiting messages, then stop its turn; whether one was stopped, and how many were dropped."""
    dropped = sum([await _drop(desk, row) for row in desk.lane.waiting])
    return await desk.lane.stop(), dropped


async def _drop(desk: Desk, row: InboxRow) -> bool:
    try:
        await persist(lambda: desk.store.resolve_inbox(row.id, action="drop", note="dropped by its sender"))
    except ConflictError:
        return False  # its turn has just begun, and is stopped next
    return True


def _dropped(count: int) -> str:
    return f"{count} waiting message{'' if count == 1 else 's'} dropped." if count else ""


async def _stop(desk: Desk) -> str:
    stopped, dropped = await _halt(desk)
    if stopped:
        return _dropped(dropped)  # the stopped turn says itself that it was
    return _dropped(dropped) or "There is nothing to stop."


async def _new(desk: Desk) -> str:
    _, dropped = await _halt(desk)
    row = desk.row
    await persist(lambda: desk.store.new_session(row.profile, row.session_key, source=row.source))
    return f"{_dropped(dropped)} A fresh conversation. What can I do?".lstrip()


async def _retry(desk: Desk) -> str:
    """Ask the last message again; one that still waits for the model is tried at once instead."""
    if not await desk.lane.stop() and desk.lane.waiting:
        desk.lane.wake.set()
        return "Your message is still waiting; I am trying it now."
    messages = await persist(lambda: desk.store.messages(desk.session_id))
    last = next((item for item in reversed(messages) if item.role == "user"), None)
    if last is None:
        return "There is no message to retry."
    row = desk.row
    event = NewEvent(
        profile=row.profile,
        source=row.source,
        delivery_id=f"retry:{row.id}",  # the same if this command is taken up again after a crash
        session_key=row.session_key,
        text=last.text,
        address=row.address,
        sender=row.sender,
    )
    await persist(lambda: desk.store.accept([event]))
    return ""


# -- looking ---------------------------------------------------------------------------------------------------------


async def _status(desk: Desk) -> str:
    config = desk.bench.settings.config
    session = await persist(lambda: desk.store.session(desk.session_id))
    waiting = await persist(lambda: desk.store.open_questions(session_id=desk.session_id))
    lines = [
        f"Profile {desk.row.profile}, model {config.model.default}",
        f"Session {session.id}, {session.messages} messages",
        f"{desk.running} turn(s) running in this profile, {len(desk.lane.waiting)} message(s) of this chat waiting",
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


# -- deciding --------------------------------------------------------------------------------------------------------


async def _decide(desk: Desk, answer: str, said: str) -> str:
    """Answer the running turn's request for approval, or the oldest one of the session."""
    waiting = await persist(lambda: desk.store.open_questions(session_id=desk.session_id))
    waiting.sort(key=lambda item: item.turn_id != desk.lane.turn_id)
    question = next((item for item in waiting if item.kind == "approve"), None)
    question = question or await asked_here(desk.store, desk.row, text=answer)
    if question is None:
        return f"I asked something else: {waiting[0].text}" if waiting else "I am not waiting for an answer."
    try:
        await persist(lambda: desk.bench.questions.answer(question.id, answer))
    except (ConflictError, NotFoundError):
        return "That question is no longer open."
    return said


async def _approve(desk: Desk) -> str:
    wanted = desk.row.meta.get("args", "").strip().lower()
    if wanted in ("always", "session"):
        return await _decide(desk, "always", "Allowed, also when I ask for exactly this again in this conversation.")
    return await _decide(desk, "yes", "Allowed.")


async def _deny(desk: Desk) -> str:
    return await _decide(desk, "no", "Denied.")


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
