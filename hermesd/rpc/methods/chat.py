"""``chat.*``: a message by way of the inbox like any other, and its turn as it happens.

    accept (durable) ──► accepted ──► updates … ──► the row is decided ──► the stored answer ──► marked sent

The client's part ends with its connection; the turn does not. Whoever asks again with the same delivery id gets the
turn's further updates, or its answer from the store.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from hermesd.errors import DeniedError, NotFoundError, UsageError
from hermesd.rpc import queries
from hermesd.rpc.routes import slow, stream
from hermesd.rpc.turn_follower import TurnFollower
from hermesd.rpc.wire import (
    AnswerParams,
    ChatResult,
    ChatSendParams,
    Done,
    InterruptParams,
    OptionalProfileParams,
    QuestionsResult,
)
from hermesd.store.records import Address, NewEvent

if TYPE_CHECKING:
    from hermesd.rpc.calls import Caller, Stream

MAX_TEXT_CHARS = 1024 * 1024
MAX_DELIVERY_ID_CHARS = 200
REPEATS_LOOKED_AT = 200
SOURCE = "rpc"
AGENT_SOURCE = "mcp"


def local_session_key(profile: str, uid: int) -> str:
    """The conversation that a local user has with a profile when none is named."""
    return f"agent:{profile}:local:dm:{uid}"


def agent_session_key(profile: str, uid: int) -> str:
    """The conversation that a user's other agents have with a profile: theirs never mix with the user's own."""
    return f"agent:{profile}:{AGENT_SOURCE}:dm:{uid}"


@stream("chat.send")
async def send(caller: Caller, params: ChatSendParams, stream: Stream) -> ChatResult:
    """Accept a message and, unless ``wait`` is false, stay with its turn until it has ended."""
    daemon = caller.daemon
    event = await _event(caller, params)
    stream.resume = f"send it again with delivery_id={event.delivery_id!r}: it is processed once"
    await daemon.ensure_turns(event.profile)
    with TurnFollower(daemon, event.profile, stream, is_quiet=params.quiet) as follower:
        [accepted] = await daemon.store.accept([event])
        follower.follow(accepted, event.delivery_id)
        if not params.wait:
            return ChatResult(
                state="accepted",
                text="",
                session=event.meta.get("session", ""),
                inbox_id=accepted.id,
                duplicate=accepted.duplicate,
            )
        return await follower.result()


async def _event(caller: Caller, params: ChatSendParams) -> NewEvent:
    """The message as an event. Raises UsageError, NotFoundError, ConflictError and DeniedError (the session)."""
    if not params.text.strip():
        raise UsageError("text is empty", where="text", next_step="say something")
    if len(params.text) > MAX_TEXT_CHARS:
        raise UsageError(f"text is longer than {MAX_TEXT_CHARS} characters", where="text", next_step="send a file path")
    if len(params.delivery_id) > MAX_DELIVERY_ID_CHARS or not params.delivery_id.isprintable():
        raise UsageError(
            "delivery_id is not a short printable text", where="delivery_id", next_step="use a UUID, or leave it out"
        )
    profile = queries.profile(caller.daemon, params.profile).name
    key, session = await _conversation(caller, params, profile)
    return NewEvent(
        profile=profile,
        source=_source(params),
        delivery_id=params.delivery_id or secrets.token_hex(16),
        session_key=key,
        text=params.text,
        address=Address(platform=SOURCE, chat=str(caller.peer.uid)),
        sender=f"uid:{caller.peer.uid}",
        untrusted=params.agent,
        meta={"session": session} if session else {},
    )


async def _conversation(caller: Caller, params: ChatSendParams, profile: str) -> tuple[str, str]:
    """Session key, and the session's id if the message is meant for that one whatever the key is bound to later."""
    store = caller.daemon.store
    if params.session and params.new:
        raise UsageError("session and new exclude each other", where="new", next_step="give one of them")
    if params.session:
        found = await store.session(params.session, profile=profile)
        if params.agent and not found.key.startswith(f"agent:{profile}:{AGENT_SOURCE}:"):
            raise DeniedError(
                f"session {found.id} is not one that agents write into",
                where="session",
                next_step="leave session out, or name one whose source is mcp",
            )
        return found.key, found.id
    key = (agent_session_key if params.agent else local_session_key)(profile, caller.peer.uid)
    if params.new and not await _is_known(caller, profile, params):
        await store.new_session(profile, key, source=_source(params))
    return key, ""


async def _is_known(caller: Caller, profile: str, params: ChatSendParams) -> bool:
    """Whether one of the newest messages came with this id: a repeat must not open one more session."""
    if not params.delivery_id:
        return False
    newest = await caller.daemon.store.inbox(profile=profile, limit=REPEATS_LOOKED_AT)
    return any(row.source == _source(params) and row.delivery_id == params.delivery_id for row in newest)


def _source(params: ChatSendParams) -> str:
    return AGENT_SOURCE if params.agent else SOURCE


@slow("chat.interrupt")
async def interrupt(caller: Caller, params: InterruptParams) -> Done:
    """Stop the running turn of a session."""
    profile = queries.profile(caller.daemon, params.profile).name
    if params.session:
        session = await caller.daemon.store.session(params.session, profile=profile)
    else:
        key = local_session_key(profile, caller.peer.uid)
        session = await caller.daemon.store.open_session(profile, key, source=SOURCE)
    if not await caller.daemon.interrupt(profile, session.id):
        raise NotFoundError(f"no turn of session {session.id} is running", where="chat.interrupt")
    return Done(message="stopped")


@slow("chat.questions")
async def questions(caller: Caller, params: OptionalProfileParams) -> QuestionsResult:
    """Open questions, oldest first."""
    found = await caller.daemon.store.open_questions(profile=queries.scope(caller.daemon, params.profile))
    return QuestionsResult(questions=found[: max(params.limit, 1)])


@slow("chat.answer")
async def answer(caller: Caller, params: AnswerParams) -> Done:
    """Answer a question."""
    await caller.daemon.answer(params.question, params.answer)
    return Done(message="closed" if params.answer is None else "answered")
