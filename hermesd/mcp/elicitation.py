"""A server's questions to the user: put through the turn that called it, on whichever surface its session has.

Spec: MCP 2025-11-25, client/elicitation. Where nobody can be asked the answer is ``cancel``, at once. An address is
shown, never opened.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

from hermesd.mcp.form import AnswerError, FormError, Value, fields_of
from hermesd.mcp.sanitize import clean, visible

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mcp_types import ElicitRequestParams, ElicitResult, ErrorData

    from hermesd.mcp.asking import CallsUnderWay, CallUnderWay
    from hermesd.mcp.form import Field

log = logging.getLogger("hermesd.mcp")

Action = Literal["accept", "decline", "cancel"]
MAX_MESSAGE = 2000  # characters
MAX_URL = 2000
TRIES = 3
RESERVED = frozenset({"", "decline", "cancel", "skip", "default"})
_PLAIN_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
"""A name or an IPv6 address. A browser ends a name at a backslash and reads %2e as a dot, and shows another host."""
NOTICE = "Never give passwords, keys or card numbers here."


class Answered(NamedTuple):
    """What became of a form; ``content`` only with accept."""

    action: Action
    content: dict[str, Value] | None = None


class Record(Protocol):
    """Keeps an event: its kind, and what happened."""

    async def __call__(self, kind: str, data: dict[str, object]) -> None:
        """Write it."""


class Elicitation:
    """The SDK's ``elicitation_callback`` for the server ``name``."""

    def __init__(self, name: str, calls: CallsUnderWay, record: Record) -> None:
        self._name = name
        self._calls = calls
        self._record = record

    async def __call__(self, _context: object, params: ElicitRequestParams) -> ElicitResult | ErrorData:
        """Ask; an error is only the answer to a request that makes no sense."""
        from mcp_types import INVALID_PARAMS, ElicitResult, ErrorData

        call = self._calls.concerned()
        found = Answered("cancel")
        try:
            questions = self._url(params.url) if params.mode == "url" else self._form(params.requested_schema)
        except FormError as error:
            return ErrorData(code=INVALID_PARAMS, message=f"this cannot be asked: {error}")
        if call is not None and call.attended:
            with call.asking() as turn:
                async with turn:
                    found = await questions(call, clean(params.message, MAX_MESSAGE, set(), ""))
        await self._record("mcp.elicitation", {"server": self._name, "mode": params.mode, "action": found.action})
        content = found.content if params.mode == "form" and found.action == "accept" else None
        return ElicitResult(action=found.action, content=content)

    def _marked(self, words: str) -> str:
        """The server's words, marked as such line by line."""
        quoted = "\n".join(f"> {line}" for line in words.strip().splitlines())
        return f"The MCP server {self._name} (not your assistant) asks:\n{quoted}\n"

    # -- form mode ---------------------------------------------------------------------------------------------------

    def _form(self, schema: Mapping[str, Any]) -> Callable[[CallUnderWay, str], Awaitable[Answered]]:
        fields = fields_of(schema)

        async def ask(call: CallUnderWay, message: str) -> Answered:
            if not fields:
                return Answered(await _confirm(call, f"{self._marked(message)}({NOTICE})", "accept"), {})
            content: dict[str, Value] = {}
            words = f"{message}\n"
            for number, field in enumerate(fields, 1):
                counted = f"{number} of {len(fields)}. " if len(fields) > 1 else ""
                hints = f"({counted}Answer with {field.wanted()}. {_ways_out(field)} {NOTICE})"
                action = await _fill(call, field, f"{self._marked(words + field.question())}{hints}", content)
                if action != "accept":
                    return Answered(action)
                words = ""
            return Answered("accept", content)

        return ask

    # -- url mode ----------------------------------------------------------------------------------------------------

    def _url(self, url: str) -> Callable[[CallUnderWay, str], Awaitable[Answered]]:
        host = _host_of(url)
        strange = " Its name holds foreign letters: make sure that it is the one you mean." if "xn--" in host else ""

        async def ask(call: CallUnderWay, message: str) -> Answered:
            text = f"{self._marked(message)}It wants you to open an address of {host}:\n{url}\n"
            text += f"Open it only if you know this server and trust {host}.{strange} Nothing has been opened for you."
            return Answered(await _confirm(call, text, "done"))

        return ask


def _host_of(url: str) -> str:
    """The host of an address that may be shown; raises FormError."""
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("http", "https") or len(url) > MAX_URL:
        raise FormError("its address is no http or https URL")
    is_plain = _PLAIN_HOST.fullmatch(host)
    if parts.username is not None or not is_plain or visible(url) != url or any(char.isspace() for char in url):
        raise FormError("its address could deceive whoever reads it")
    return host


async def _confirm(call: CallUnderWay, text: str, yes: str) -> Action:
    """A question with one good answer; anything unclear is asked again."""
    for _ in range(TRIES):
        answer = await call.ask(text, [yes, "decline"])
        word = _word(answer)
        if word in (yes, "yes", "ok", "done", "accept"):
            return "accept"
        if word in ("decline", "no"):
            return "decline"
        if answer is None or word == "cancel":
            return "cancel"
    return "cancel"


async def _fill(call: CallUnderWay, field: Field, question: str, content: dict[str, Value]) -> Action:
    """Ask for one field until the answer fits, three times at most."""
    options = [*field.options(), *([] if field.required else ["skip"]), "decline"] if field.options() else []
    complaint = ""
    for _ in range(TRIES):
        answer = await call.ask(f"{complaint}{question}", options)
        if answer is None:
            return "cancel"
        try:
            outcome = take(field, answer, content)
        except AnswerError as error:
            complaint = f"That does not fit: {error}.\n"
            continue
        return outcome
    return "cancel"


def take(field: Field, answer: str, content: dict[str, Value]) -> Action:
    """Put the answer into ``content``, or say that there is none; raises AnswerError."""
    word = _word(answer)
    titles = {option.casefold() for option in field.options()}
    if word in ("decline", "cancel") and word not in titles:
        return "decline" if word == "decline" else "cancel"
    if field.default is not None and word in ("", "default") and word not in titles:
        content[field.name] = field.default
    elif word in ("", "skip") and word not in titles:
        if field.required:
            raise AnswerError("this one must be answered")
    else:
        content[field.name] = field.read(_unquoted(answer))
    return "accept"


def _ways_out(field: Field) -> str:
    """What may be said instead of a value."""
    words = [] if field.required else ["`skip` leaves it out"]
    words += [f"`default` takes {field.shown_default()!r}"] if field.default is not None else []
    words += ["`decline` refuses", "`cancel` breaks off"]
    quoted = "; put a text that is one of these words in quotes" if field.kind == "string" else ""
    return f"{', '.join(words)}{quoted}."


def _word(answer: str | None) -> str:
    return (answer or "").strip().casefold().lstrip("/").rstrip(".!")


def _unquoted(answer: str) -> str:
    """A word that would have meant something else, in quotes, is meant as it is."""
    text = answer.strip()
    is_quoted = len(text) > 1 and text[0] == text[-1] == '"' and _word(text[1:-1]) in RESERVED
    return text[1:-1] if is_quoted else text
