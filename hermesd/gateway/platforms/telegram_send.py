"""Sending: parts, drafts that become the final text, and failures that say whether something may have been sent.

A ref is a comma-separated list of message ids in the order of the parts; ``d`` before an id marks a draft, whose text
is not final yet: ``17,d18``.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.gateway.platforms.telegram_api import TelegramError, decode
from hermesd.gateway.text import clean, split, to_html

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.gateway.platforms.telegram_api import TelegramApi
    from hermesd.store.records import Address, OutboxRow

MESSAGE_UNITS = 4096
REPEAT_MARK = "(may be a repeat)\n"
PART_UNITS = MESSAGE_UNITS - len(REPEAT_MARK)  # the same with and without the mark, so that parts keep their numbers
_PRIVATE_INTERVAL_S = 1.0
_GROUP_INTERVAL_S = 3.0  # a bot may send 20 messages a minute to a group (core.telegram.org/bots/faq)
_REMEMBERED = 500
_GONE = ("message to edit not found", "message can't be edited", "message_id_invalid")


class _MessageId(msgspec.Struct, frozen=True):
    message_id: int


class Part(msgspec.Struct, frozen=True):
    """A message that is out: final, or a draft."""

    id: str
    draft: bool = False


def parse_ref(ref: str) -> list[Part]:
    """The messages a ref names."""
    return [Part(item.removeprefix("d"), item.startswith("d")) for item in ref.split(",") if item]


def format_ref(parts: list[Part]) -> str:
    """The ref that names these messages."""
    return ",".join(f"d{part.id}" if part.draft else part.id for part in parts)


class Sender:
    """Everything one bot says."""

    def __init__(self, api: TelegramApi) -> None:
        self._api = api
        self._shown: dict[tuple[str, str], tuple[str, str]] = {}  # (chat, message) → (text, parse mode)
        self._next_edit: dict[str, float] = {}

    async def send(self, row: OutboxRow, *, progress: Callable[[str], Awaitable[None]]) -> str:
        """Send what of ``row.text`` is not out yet and return the whole ref; raises TelegramError."""
        try:
            return await self._send(row, row.address, progress)
        except TelegramError as error:
            if not error.moved_to:
                raise
            moved = msgspec.structs.replace(row.address, chat=error.moved_to, message="")
            return await self._send(msgspec.structs.replace(row, ref=""), moved, progress)

    async def _send(self, row: OutboxRow, address: Address, progress: Callable[[str], Awaitable[None]]) -> str:
        texts = split(clean(row.text), PART_UNITS)
        out = parse_ref(row.ref)
        mark = REPEAT_MARK if row.repeat else ""
        for number, text in enumerate(texts):
            if number < len(out) and not out[number].draft:
                continue
            if number < len(out) and await self._edit(address, out[number].id, text, formatted=True):
                out[number] = msgspec.structs.replace(out[number], draft=False)
            else:
                sent = Part(await self._post(address, mark + text, quote=number == 0, formatted=True))
                out[number : number + 1] = [sent]
                mark = ""
            await progress(format_ref(out))
        for surplus in out[len(texts) :]:
            if surplus.draft:
                await self._delete(address, surplus.id)
        return format_ref([part for part in out if not part.draft])

    async def show_draft(self, address: Address, text: str, ref: str) -> str:
        """Bring the draft named by ``ref`` up to ``text``; returns its ref.

        Raises TelegramError with ``retry_after_s`` when it is too early for another edit in this chat.
        """
        self._check_pace(address.chat)
        out = parse_ref(ref)
        known = len(out)
        try:
            for number, part in enumerate(split(clean(text), PART_UNITS)):
                if number >= len(out):
                    new = await self._post(address, part, quote=number == 0, formatted=False)
                    out.append(Part(new, draft=True))
                elif number == known - 1 or (address.chat, out[number].id) in self._shown:
                    await self._edit(address, out[number].id, part, formatted=False)
        except TelegramError as error:
            if error.retry_after_s:
                self._next_edit[address.chat] = trio.current_time() + error.retry_after_s
            if len(out) == known:
                raise
        return format_ref(out)

    async def typing(self, address: Address) -> None:
        """Show "typing…" for the next five seconds; raises TelegramError."""
        await self._api.call("sendChatAction", {**_where(address), "action": "typing"})

    # -- single calls --------------------------------------------------------------------------------------------------

    async def _post(self, address: Address, text: str, *, quote: bool, formatted: bool) -> str:
        params = _where(address)
        if quote and address.message.isdecimal():
            params["reply_parameters"] = {
                "message_id": int(address.message),
                "allow_sending_without_reply": True,
            }
        result, payload = await self._call_formatted("sendMessage", params, text, formatted=formatted)
        message_id = str(decode(result, _MessageId).message_id)
        self._remember(address.chat, message_id, payload)
        return message_id

    async def _edit(self, address: Address, message_id: str, text: str, *, formatted: bool) -> bool:
        """Make the message read ``text``; False when there is no such message any more."""
        if self._shown.get((address.chat, message_id)) == _payload(text, formatted=formatted):
            return True
        params: dict[str, object] = {"chat_id": address.chat, "message_id": int(message_id)}
        payload = _payload(text, formatted=formatted)
        try:
            _, payload = await self._call_formatted("editMessageText", params, text, formatted=formatted)
        except TelegramError as error:
            words = error.what.lower()
            if any(gone in words for gone in _GONE):
                return False
            if "message is not modified" not in words:
                error.certainty = "not_sent"  # an edit may be done twice and is seen once
                raise
        self._remember(address.chat, message_id, payload)
        return True

    async def _call_formatted(
        self, method: str, params: dict[str, object], text: str, *, formatted: bool
    ) -> tuple[msgspec.Raw, tuple[str, str]]:
        """Call with HTML where that differs from plain text, and plainly when Telegram cannot parse it."""
        payload = _payload(text, formatted=formatted)
        if payload[1]:
            try:
                return await self._api.call(method, {**params, "text": payload[0], "parse_mode": payload[1]}), payload
            except TelegramError as error:
                if "can't parse entities" not in error.what:
                    raise
        return await self._api.call(method, {**params, "text": text}), (text, "")

    async def _delete(self, address: Address, message_id: str) -> None:
        """Remove a draft that nothing became of; when that fails it stays, and nothing is lost."""
        try:
            await self._api.call("deleteMessage", {"chat_id": address.chat, "message_id": int(message_id)})
        except TelegramError:
            return

    # -- memory --------------------------------------------------------------------------------------------------------

    def _check_pace(self, chat: str) -> None:
        now = trio.current_time()
        wait_s = self._next_edit.get(chat, 0.0) - now
        if wait_s > 0:
            raise TelegramError("too early for another edit", retry_after_s=wait_s)
        if len(self._next_edit) > _REMEMBERED:
            self._next_edit = {key: at for key, at in self._next_edit.items() if at > now}
        self._next_edit[chat] = now + (_GROUP_INTERVAL_S if chat.startswith(("-", "@")) else _PRIVATE_INTERVAL_S)

    def _remember(self, chat: str, message_id: str, payload: tuple[str, str]) -> None:
        self._shown.pop((chat, message_id), None)
        self._shown[chat, message_id] = payload
        if len(self._shown) > _REMEMBERED:
            del self._shown[next(iter(self._shown))]


def _where(address: Address) -> dict[str, object]:
    params: dict[str, object] = {"chat_id": address.chat}
    if address.thread.isdecimal():
        params["message_thread_id"] = int(address.thread)
    return params


def _payload(text: str, *, formatted: bool) -> tuple[str, str]:
    if formatted and (marked := to_html(text)) != html.escape(text, quote=False):
        return marked, "HTML"
    return text, ""
