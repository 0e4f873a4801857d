"""What one Telegram update means: an event, a refusal, a note that it was not understood, or nothing."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import msgspec

from hermesd.gateway.access import AccessList, Party
from hermesd.gateway.commands import NAMES, Command, parse_command
from hermesd.store.records import Address, NewEvent, NewOutbox

if TYPE_CHECKING:
    from hermesd.gateway.platforms.telegram_types import Message, Update, User

REFUSAL = (
    "I may not answer you: I do not know you. Your Telegram id is {id}; "
    "my owner can add it to platforms.telegram.allowed_users."
)
NOT_READ = "I can read text only, so I did not take that in."
_REFUSAL_PERIOD_S = 3600


class Heard(msgspec.Struct, frozen=True):
    """``event`` goes to the inbox, ``notice`` to the outbox, ``refused`` (who, where) to the log; any may be absent."""

    event: NewEvent | None = None
    notice: NewOutbox | None = None
    refused: str = ""


NOTHING = Heard()


class Hearing:
    """Judges the updates of one bot for one profile."""

    def __init__(self, profile: str, me: User, access: AccessList) -> None:
        self._profile = profile
        self._me = me
        self._access = access
        self._mention = f"@{me.username}".lower()
        self._leading_mention = re.compile(rf"\s*@{re.escape(me.username)}\b[,:]?\s*", re.IGNORECASE)

    def judge(self, update: Update) -> Heard:
        """Decide; pure but for the clock that counts refusals by the hour."""
        message = update.message
        if message is None or message.sender is None or message.sender.is_bot or message.is_service:
            return NOTHING
        text = message.text or message.caption
        command = parse_command(text, self._me.username)
        verdict = self._access.judge(
            Party(str(message.sender.id), message.sender.username),
            Party(str(message.chat.id), message.chat.username),
            group=not message.chat.is_private,
            addressed=self._is_addressed(message, command),
        )
        if verdict == "ignore":
            return NOTHING
        if verdict == "refuse":
            return self._refusal(message, message.sender)
        if not message.text and not message.caption:
            return Heard(notice=self._notice(message, NOT_READ, f"unread:{update.update_id}"))
        return Heard(event=self._event(update.update_id, message, message.sender, command))

    def _is_addressed(self, message: Message, command: Command | None) -> bool:
        """Mentioned, replied to, or given a command that is ours by name or by being known."""
        if command and (command.named_us or command.name in NAMES):
            return True
        replied_to = message.reply_to_message
        if replied_to and replied_to.sender and replied_to.sender.id == self._me.id:
            return True
        text, entities = message.text, message.entities
        if not text:
            text, entities = message.caption, message.caption_entities
        return any(
            (entity.type == "mention" and entity.text_in(text).lower() == self._mention)
            or (entity.type == "text_mention" and entity.user is not None and entity.user.id == self._me.id)
            for entity in entities
        )

    def _event(self, update_id: int, message: Message, sender: User, command: Command | None) -> NewEvent:
        text = message.text or f"[something was attached that I cannot read]\n{message.caption}"
        return NewEvent(
            profile=self._profile,
            source="telegram",
            # A successor bot numbers its updates anew, so its own id is part of the key.
            delivery_id=f"{self._me.id}:{update_id}",
            message_key=f"{self._me.id}:{message.chat.id}:{message.message_id}",
            session_key=self._session_key(message, sender),
            text=self._leading_mention.sub("", text, count=1) if text.lstrip().startswith("@") else text,
            address=self._address(message),
            sender=f"{sender.id} @{sender.username}" if sender.username else str(sender.id),
            meta={
                "user_id": str(sender.id),
                "chat_type": message.chat.type,
                "message_id": str(message.message_id),
                **({"user_name": sender.first_name} if sender.first_name else {}),
                **(command.meta if command else {}),
            },
        )

    def _session_key(self, message: Message, sender: User) -> str:
        kind = "dm" if message.chat.is_private else "group"
        key = f"agent:{self._profile}:telegram:{kind}:{message.chat.id}"
        if message.thread:
            return f"{key}:{message.thread}"
        return key if message.chat.is_private else f"{key}:{sender.id}"

    @staticmethod
    def _address(message: Message) -> Address:
        """In a group the answer quotes what it answers; in a direct message that would be noise."""
        quoted = "" if message.chat.is_private else str(message.message_id)
        return Address(platform="telegram", chat=str(message.chat.id), thread=message.thread, message=quoted)

    def _notice(self, message: Message, text: str, key: str) -> NewOutbox:
        return NewOutbox(
            profile=self._profile,
            address=self._address(message),
            text=text,
            idempotency_key=f"telegram:{self._me.id}:{key}",
            kind="notice",
        )

    def _refusal(self, message: Message, sender: User) -> Heard:
        refused = f"user {sender.id} in {message.chat.type} chat {message.chat.id}"
        if not message.chat.is_private:
            return Heard(refused=refused)
        hour = int(time.time() // _REFUSAL_PERIOD_S)
        notice = self._notice(message, REFUSAL.format(id=sender.id), f"refused:{self._profile}:{sender.id}:{hour}")
        return Heard(notice=notice, refused=refused)
