"""The tools: conversations, search, a message to a profile, and how things stand. None changes or approves anything."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated

import trio
from msgspec import Meta, Struct

from hermesd.serving.registry import Tool, typed
from hermesd.serving.shaping import NOTE, fitting, pick, text
from hermesd.store.records import InboxState, OutboxState

if TYPE_CHECKING:
    from hermesd.serving.backend import Call, Json
    from hermesd.serving.registry import Registry

MAX_WAIT_S = 3600

Profile = Annotated[str, Meta(description="A profile's name; see profiles_list.", max_length=64)]
Limit = Annotated[int, Meta(description="How many at most.", ge=1, le=200)]


class Nothing(Struct, forbid_unknown_fields=True):
    """No arguments."""


class OfProfile(Struct, forbid_unknown_fields=True):
    """A profile, or all."""

    profile: Profile = ""
    limit: Limit = 50


class OneProfile(Struct, forbid_unknown_fields=True):
    """A profile, or all."""

    profile: Profile = ""


class Read(Struct, forbid_unknown_fields=True):
    """One conversation."""

    session: Annotated[str, Meta(description="Its id, or the beginning of it.", min_length=1, max_length=64)]
    profile: Profile = ""
    limit: Annotated[int, Meta(description="How many of the newest messages.", ge=1, le=200)] = 50


class Search(Struct, forbid_unknown_fields=True):
    """Words to look for."""

    query: Annotated[str, Meta(description="Words that a message contains.", min_length=1, max_length=1000)]
    profile: Profile = ""
    limit: Limit = 20


class Send(Struct, forbid_unknown_fields=True):
    """A message to a profile."""

    text: Annotated[str, Meta(description="What to say.", min_length=1, max_length=100_000)]
    profile: Profile = ""
    session: Annotated[
        str, Meta(description="A session with source mcp to go on with; left out: the latest.", max_length=64)
    ] = ""
    new: Annotated[bool, Meta(description="Begin a new session.")] = False
    idempotency_key: Annotated[
        str,
        Meta(
            description="Your id of this message, e.g. a UUID. With the same key it is answered once, however often "
            "it is sent: repeat it after a failure, or to wait for the answer.",
            max_length=200,
        ),
    ] = ""
    wait: Annotated[bool, Meta(description="Wait for the answer.")] = True
    timeout_s: Annotated[float, Meta(description="Seconds to wait at most.", ge=0, le=MAX_WAIT_S)] = 120


class Inbox(Struct, forbid_unknown_fields=True):
    """Accepted messages."""

    profile: Profile = ""
    states: Annotated[list[InboxState], Meta(description="Left out: those that are not done yet.")] = []
    limit: Limit = 50


class Outbox(Struct, forbid_unknown_fields=True):
    """Outgoing messages."""

    profile: Profile = ""
    states: Annotated[list[OutboxState], Meta(description="Left out: those that are not sent yet.")] = []
    limit: Limit = 50


async def sessions_list(call: Call, wanted: OfProfile) -> Json:
    """Conversations, most recently used first."""
    found = await call.backend.call("sessions.list", _of(call, wanted.profile, limit=wanted.limit))
    names = ("id", "profile", "source", "title", "messages", "created_at", "updated_at")
    return {**fitting("sessions", [pick(row, *names) for row in found["sessions"]]), "note": NOTE}


async def sessions_read(call: Call, wanted: Read) -> Json:
    """One conversation with its newest messages, oldest of them first."""
    found = await call.backend.call(
        "sessions.show", _of(call, wanted.profile, session=wanted.session, limit=wanted.limit)
    )
    rows = [pick(row, "id", "role", "text", "created_at") for row in reversed(found["messages"])]
    shown = fitting("messages", rows)  # the newest first, so that the oldest are what is left out
    shown["messages"].reverse()
    return {"session": pick(found["session"], "id", "profile", "source", "title", "messages"), **shown, "note": NOTE}


async def sessions_search(call: Call, wanted: Search) -> Json:
    """Messages that contain the words, best first."""
    found = await call.backend.call(
        "sessions.search", _of(call, wanted.profile, query=wanted.query, limit=wanted.limit)
    )
    names = ("session_id", "message_id", "role", "snippet", "title", "created_at")
    return {**fitting("hits", [pick(row, *names) for row in found["hits"]]), "note": NOTE}


async def messages_send(call: Call, wanted: Send) -> Json:
    """Accept the message, which is durable then; wait for its answer if that is wanted."""
    key = wanted.idempotency_key or secrets.token_hex(16)
    params: dict[str, object] = {"text": wanted.text, "delivery_id": key, "agent": True, "quiet": True}
    params |= {"profile": wanted.profile or call.profile, "session": wanted.session, "new": wanted.new}
    found = await call.backend.call("chat.send", {**params, "wait": False})
    repeated = found.get("duplicate", False)
    if wanted.wait:
        with trio.move_on_after(wanted.timeout_s):
            found = await call.backend.call("chat.send", {**params, "wait": True})
    shown = pick(found, "state", "session", "inbox_id", "error")
    if found["state"] == "accepted":
        shown["next_step"] = "repeat it with this idempotency_key to get the answer"
    else:
        shown["answer"] = text(found.get("text"), limit=100_000)
    return {**shown, "idempotency_key": key, "repeated": repeated, "note": NOTE}


async def profiles_list(call: Call, _wanted: Nothing) -> Json:
    """Every profile."""
    found = await call.backend.call("profile.list", {})
    return {"profiles": [pick(row, "name", "current", "model", "error") for row in found["profiles"]]}


async def gateways_list(call: Call, wanted: OneProfile) -> Json:
    """The chat platforms of each profile."""
    profile = wanted.profile or call.profile
    found = await call.backend.call("gateway.list", {"profile": profile, "all": not profile})
    return {"gateways": [pick(row, "name", "desired", "state", "platforms", "error") for row in found["profiles"]]}


async def inbox_list(call: Call, wanted: Inbox) -> Json:
    """Accepted messages, newest first."""
    found = await call.backend.call(
        "inbox.list", _of(call, wanted.profile, states=list(wanted.states), limit=wanted.limit)
    )
    names = ("id", "profile", "source", "state", "received_at", "sender", "untrusted", "text", "error")
    return {**fitting("rows", [pick(row, *names) for row in found["rows"]]), "note": NOTE}


async def outbox_list(call: Call, wanted: Outbox) -> Json:
    """Outgoing messages, newest first."""
    found = await call.backend.call(
        "outbox.list", _of(call, wanted.profile, states=list(wanted.states), limit=wanted.limit)
    )
    names = ("id", "profile", "kind", "state", "created_at", "attempts", "text", "error")
    rows = [{**pick(row, *names), "to": pick(row["address"], "platform", "chat")} for row in found["rows"]]
    return {**fitting("rows", rows), "note": NOTE}


async def daemon_status(call: Call, _wanted: Nothing) -> Json:
    """The daemon at a glance."""
    found = await call.backend.call("daemon.status", {})
    names = ("version", "started_at", "services", "inbox", "outbox", "turns_running", "problems")
    shown = pick(found, *names)
    return {**shown, "profiles": [pick(row, "name", "state", "model") for row in found["profiles"]]}


def _of(call: Call, profile: str, **more: object) -> dict[str, object]:
    return {"profile": profile or call.profile, **more}


def register(registry: Registry) -> None:
    """Offer all of the above."""
    for name, title, description, (schema, handler) in READING:
        registry.add_tool(Tool(name, title, description, schema, handler))
    schema, handler = typed(Send, messages_send)
    registry.add_tool(
        Tool("messages_send", "Send a message", SENDING, schema, handler, read_only=False, idempotent=False)
    )


SENDING = (
    "Say something to a profile's agent and get its answer. The message is stored before anything else and survives "
    "restarts. The agent knows that a program wrote it: it treats the text as information from outside, and does "
    "nothing that its owner would have to approve. Give an idempotency_key, so that a repeat is safe."
)
READING = (
    (
        "sessions_list",
        "Conversations",
        "List conversations with their ids, most recently used first.",
        typed(OfProfile, sessions_list),
    ),
    (
        "sessions_read",
        "Read a conversation",
        "Read the newest messages of one conversation, in order.",
        typed(Read, sessions_read),
    ),
    (
        "sessions_search",
        "Search messages",
        "Find messages of all conversations by the words in them.",
        typed(Search, sessions_search),
    ),
    ("profiles_list", "Profiles", "List the profiles (agents) of this daemon.", typed(Nothing, profiles_list)),
    (
        "gateways_list",
        "Chat platforms",
        "Show which chat platforms of which profiles are running.",
        typed(OneProfile, gateways_list),
    ),
    ("inbox_list", "Inbox", "List accepted messages that wait, run or failed, newest first.", typed(Inbox, inbox_list)),
    ("outbox_list", "Outbox", "List messages on their way out, newest first.", typed(Outbox, outbox_list)),
    (
        "daemon_status",
        "Status",
        "Show how the daemon is: services, queues, running turns, problems.",
        typed(Nothing, daemon_status),
    ),
)
"""Name, title, description, and what ``typed`` made of arguments and handler."""
