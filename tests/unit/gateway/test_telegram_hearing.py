"""What an update means."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from hermesd.gateway.access import AccessList
from hermesd.gateway.platforms.telegram_hearing import NOT_READ, NOTHING, Heard, Hearing
from hermesd.gateway.platforms.telegram_types import Update, User

ME = User(id=42, is_bot=True, username="parrot_bot")
ADA = {"id": 7, "is_bot": False, "first_name": "Ada", "username": "ada_l"}
PRIVATE = {"id": 7, "type": "private"}
GROUP = {"id": -1001, "type": "supergroup"}


def hear(message: dict[str, Any] | None, **update: Any) -> Heard:
    """Judge a message of Ada's as it comes from the wire."""
    body = {"update_id": 1, **update}
    if message is not None:
        body["message"] = {"message_id": 5, "chat": PRIVATE, "from": ADA, "date": 1, **message}
    hearing = Hearing("default", ME, AccessList([7]))
    return hearing.judge(msgspec.json.decode(json.dumps(body), type=Update))


@pytest.mark.parametrize(
    "message",
    [
        {"text": "beep", "from": {"id": 42, "is_bot": True}},
        {"text": "boop", "from": {"id": 7, "is_bot": True, "username": "ada_l"}},
        {"text": "in the name of the channel", "from": None},
        {"new_chat_members": [ADA]},
        {"chat": GROUP, "text": "just talk"},
        {"chat": GROUP, "photo": []},
        {"chat": GROUP, "text": "/stop@other_bot"},
        None,
    ],
)
def test_what_is_not_for_us_is_nothing(message: dict[str, Any] | None) -> None:
    """Ourselves, other bots, channels, service messages, talk in groups, other kinds of update."""
    if message and message.get("from", ADA) is None:
        message = {**message, "sender_chat": {"id": -1002}}
    assert hear(message) == NOTHING


def test_edited_messages_are_not_answered_again() -> None:
    """An edit is another kind of update and moves the cursor only."""
    edited = {"message_id": 5, "chat": PRIVATE, "from": ADA, "date": 1, "text": "typo fixed"}
    assert hear(None, edited_message=edited) == NOTHING


@pytest.mark.parametrize(
    "message",
    [
        {"text": "hey @Parrot_Bot", "entities": [{"type": "mention", "offset": 4, "length": 11}]},
        {"text": "🦜🦜 @parrot_bot", "entities": [{"type": "mention", "offset": 5, "length": 11}]},
        {"text": "hey you", "entities": [{"type": "text_mention", "offset": 4, "length": 3, "user": {"id": 42}}]},
        {"caption": "@parrot_bot", "caption_entities": [{"type": "mention", "offset": 0, "length": 11}]},
        {"text": "yes", "reply_to_message": {"message_id": 4, "chat": GROUP, "from": {"id": 42, "is_bot": True}}},
        {"text": "/status"},
        {"text": "/frobnicate@parrot_bot"},
    ],
)
def test_in_a_group_a_mention_reply_or_command_is_addressed(message: dict[str, Any]) -> None:
    """Offsets count UTF-16 units, names have no case."""
    heard = hear({"chat": GROUP, **message})
    assert heard.event is not None
    assert heard.event.address.message == "5"


@pytest.mark.parametrize(
    ("message", "key"),
    [
        ({}, "agent:default:telegram:dm:7"),
        ({"message_thread_id": 3}, "agent:default:telegram:dm:7:3"),
        ({"chat": GROUP}, "agent:default:telegram:group:-1001:7"),
        ({"chat": GROUP, "message_thread_id": 9}, "agent:default:telegram:group:-1001:7"),
        ({"chat": GROUP, "message_thread_id": 9, "is_topic_message": True}, "agent:default:telegram:group:-1001:9"),
        ({"chat": {**GROUP, "is_forum": True}, "message_thread_id": 9}, "agent:default:telegram:group:-1001:9"),
    ],
)
def test_session_keys(message: dict[str, Any], key: str) -> None:
    """A topic is a session for all; a chain of replies is not a topic."""
    event = hear({"text": "/status", **message}).event
    assert event is not None
    assert event.session_key == key
    assert event.address.thread == (key.rpartition(":")[2] if key.endswith((":3", ":9")) else "")


def test_what_cannot_be_read_is_said_and_a_caption_is_taken() -> None:
    """Silence would look like deafness."""
    voice = hear({"voice": {"file_id": "x"}})
    assert voice.event is None
    assert voice.notice is not None
    assert voice.notice.text == NOT_READ
    photo = hear({"photo": [], "caption": "what is this?"})
    assert photo.event is not None
    assert photo.event.text.endswith("what is this?")


def test_a_stranger_in_a_group_is_refused_in_silence() -> None:
    """Only the log hears of it."""
    heard = hear({"chat": GROUP, "text": "/status", "from": {**ADA, "id": 8}})
    assert heard.event is None
    assert heard.notice is None
    assert "user 8" in heard.refused


def test_two_bots_do_not_share_delivery_ids() -> None:
    """A new bot for the same profile counts its updates from anywhere."""
    event = hear({"text": "hi"}).event
    assert event is not None
    assert event.delivery_id == "42:1"
