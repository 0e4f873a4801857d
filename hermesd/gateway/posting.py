"""Posting to a service's HTTP API, in parts where a text is too long for one message."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from hermesd.gateway.http_sending import retry_after_s, sending
from hermesd.gateway.platform import PlatformError, Sent
from hermesd.gateway.text import clean, split
from hermesd.proxies import uses_environment_proxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from hermesd.gateway.platform import Certainty
    from hermesd.store.records import OutboxRow

TIMEOUT_S = 30.0
MAX_ANSWER_BYTES = 1024 * 1024
REPEAT_MARK = "(may be a repeat)\n"
UNAVAILABLE = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """What an API said. ``data`` is its JSON object, empty when it sent something else."""

    status: int
    data: Mapping[str, object]
    retry_after_s: float


async def post(
    url: str,
    *,
    where: str,
    headers: Mapping[str, str],
    json: object = None,
    form: Mapping[str, str] | None = None,
    login: tuple[str, str] | None = None,
) -> Answer:
    """Post JSON or a form once. Raises PlatformError: not sent without a connection, unknown without an answer."""
    import httpx2

    body = {"content": msgspec.json.encode(json)} if form is None else {"data": dict(form)}
    with sending(where):
        try:
            async with (
                httpx2.AsyncClient(timeout=TIMEOUT_S, trust_env=uses_environment_proxy(url)) as client,
                client.stream("POST", url, headers={"user-agent": "hermesd", **headers}, auth=login, **body) as answer,
            ):
                data, wait = await _read(answer), answer.headers.get("retry-after", "")
                return Answer(answer.status_code, data, retry_after_s(wait, time.time()))
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            step = f"correct platforms.{where}.base_url"
            raise PlatformError("its API has no usable URL", where=where, next_step=step, permanent=True) from error


async def send_parts(
    row: OutboxRow,
    limit: int,
    post_part: Callable[[str, int], Awaitable[str]],
    progress: Callable[[str], Awaitable[None]],
) -> Sent:
    """Send what of the text is not out yet. ``post_part(text, number)`` returns a message's id.

    ``limit`` is in UTF-16 units. A ref is the ids of the parts with commas between them.
    """
    out = [each for each in row.ref.split(",") if each]
    mark = REPEAT_MARK if row.repeat else ""
    parts = split(clean(row.text), limit - len(REPEAT_MARK))  # with and without the mark the parts keep their numbers
    for number, text in enumerate(parts[len(out) :], start=len(out)):
        out.append(await post_part(mark + text, number))
        mark = ""
        await progress(",".join(out))
    return Sent(",".join(out))


def unavailable(answer: Answer, where: str) -> PlatformError:
    """The service itself failed, or asked for patience."""
    certainty: Certainty = "unknown" if answer.status >= UNAVAILABLE else "not_sent"
    words = f"the service answered {answer.status}"
    return PlatformError(words, where=where, retry_after_s=answer.retry_after_s, certainty=certainty)


async def _read(answer: object) -> Mapping[str, object]:
    """The JSON object of an answer; no more of it than MAX_ANSWER_BYTES is read."""
    import httpx2

    assert isinstance(answer, httpx2.Response)
    body = b""
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            return {}
    try:
        data = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return data if isinstance(data, dict) else {}
