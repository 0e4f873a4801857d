"""The outlet ``github_comment:owner/repo#12``: an answer as a comment on an issue or a pull request.

GitHub's REST API, "Issue comments" (version 2022-11-28). The API knows no idempotency key, so every comment ends in a
hidden marker made from the message's key: whoever may be sending it a second time looks for the marker first.
"""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit

import msgspec
import trio

from hermesd.gateway.http_sending import MAX_RETRY_AFTER_S, retry_after_s, sending
from hermesd.gateway.outlets import refuse
from hermesd.gateway.platform import PlatformError, Sent
from hermesd.proxies import uses_environment_proxy
from hermesd.triggers.obstacles import github_obstacle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx2

    from hermesd.config.schema import GithubConfig
    from hermesd.store.records import OutboxRow

TIMEOUT_S = 30.0
MAX_COMMENT_CHARS = 65_536  # "Body is too long (maximum is 65536 characters)"
MAX_ANSWER_BYTES = 16 * 1024 * 1024
MAX_PAGES = 10
MAX_REDIRECTS = 3
PAUSE_S = 60.0
"""Where a secondary rate limit names no time: "wait for at least one minute before retrying"."""

LOOK_BACK_S = 86_400.0
"""A comment of ours may look this much older than its message: clocks differ."""

CUT = "\n\n… (cut: a comment can hold no more)"
_MOVED = frozenset({307, 308})


class GithubOutlet:
    """Comments with the settings that are in force when it does, one comment at a time."""

    def __init__(self, config: Callable[[], GithubConfig], *, now: Callable[[], float] = time.time) -> None:
        self._config = config
        self._now = now
        self._limiter = trio.CapacityLimiter(1)  # "make requests serially", or there are secondary rate limits

    async def send(self, row: OutboxRow, *, progress: Callable[[str], Awaitable[None]]) -> Sent:
        """Comment once. Raises PlatformError, permanent when trying again cannot help."""
        url = _comments_url(self._config(), row.address.chat)
        async with self._limiter, self._client() as client:
            github = _Github(client, self._now)
            marker = marker_of(row.idempotency_key)
            if row.repeat and (ref := await github.find(url, marker, since=row.created_at - LOOK_BACK_S)):
                return Sent(ref)
            return Sent(await github.comment(url, body_of(row.text, marker)))

    def _client(self) -> httpx2.AsyncClient:
        import httpx2

        headers = {
            "accept": "application/vnd.github+json",
            "authorization": f"Bearer {self._config().token}",
            "x-github-api-version": "2022-11-28",
            "user-agent": "hermesd",
        }
        return httpx2.AsyncClient(
            headers=headers, timeout=TIMEOUT_S, trust_env=uses_environment_proxy(self._config().base_url)
        )


class _Github:
    """The two requests, and what their answers mean."""

    def __init__(self, client: httpx2.AsyncClient, now: Callable[[], float]) -> None:
        self._client = client
        self._now = now

    async def comment(self, url: str, body: str) -> str:
        """The comment's id."""
        status, headers, answer = await self._request("POST", url, msgspec.json.encode({"body": body}))
        if status != 201:
            raise self._refused(status, headers, answer, url)
        return str(answer.get("id", "")) if isinstance(answer, dict) else ""

    async def find(self, url: str, marker: str, *, since: float) -> str:
        """The id of the comment with this marker; '' when it is not there."""
        at = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for page in range(1, MAX_PAGES + 1):
            query = urlencode({"since": at, "per_page": 100, "page": page})
            status, headers, answer = await self._request("GET", f"{url}?{query}", None)
            if status != 200:
                raise self._refused(status, headers, answer, url)
            comments = answer if isinstance(answer, list) else []
            for each in comments:
                if isinstance(each, dict) and marker in str(each.get("body", "")):
                    return str(each.get("id", ""))
            if 'rel="next"' not in headers.get("link", ""):
                break
        return ""

    async def _request(self, method: str, url: str, content: bytes | None) -> tuple[int, httpx2.Headers, Any]:
        """Status, headers and JSON (None where there is none). A renamed repository's address is followed on the
        same host, with the same method."""
        where = urlsplit(url).hostname or ""
        with sending(where, unanswered="unknown" if content else "not_sent"):
            for _ in range(MAX_REDIRECTS):
                async with self._client.stream(method, url, content=content) as answer:
                    target = urljoin(url, answer.headers.get("location", ""))
                    if answer.status_code not in _MOVED or _origin(target) != _origin(url):
                        return answer.status_code, answer.headers, _json(await _bounded(answer))
                    url = target
        raise PlatformError("GitHub sends us around in circles", where=where, permanent=True)

    def _refused(self, status: int, headers: httpx2.Headers, answer: Any, url: str) -> PlatformError:  # noqa: ANN401 - JSON
        """What an answer that is no success means ("Rate limits for the REST API", "Troubleshooting")."""
        said = _message(answer)
        what = f"GitHub answered {status}{f': {said}' if said else ''}"
        where = urlsplit(url).path
        if status >= 500:
            return PlatformError(what, where=where, certainty="unknown")
        if status in (403, 429) and (pause := self._pause_s(status, headers, said)):
            return PlatformError(what, where=where, retry_after_s=pause)
        steps = {
            401: "put a token that is valid into .env as GITHUB_TOKEN",
            403: "give the token the right to write issues and pull requests of this repository",
            404: "check the repository and the number, and that the token may see them",
        }
        return PlatformError(what, where=where, permanent=status != 408, next_step=steps.get(status, ""))

    def _pause_s(self, status: int, headers: httpx2.Headers, said: str) -> float:
        """Seconds to wait for a rate limit; 0 when it is none."""
        now = self._now()
        if given := retry_after_s(headers.get("retry-after", ""), now):
            return given
        reset = headers.get("x-ratelimit-reset", "")
        if headers.get("x-ratelimit-remaining") == "0" and reset.isascii() and reset.isdigit():
            return min(max(1.0, float(reset[:12]) - now), MAX_RETRY_AFTER_S)
        return PAUSE_S if status == 429 or "rate limit" in said.lower() else 0.0


def marker_of(key: str) -> str:
    """What a comment ends in: not shown by GitHub, the same for every attempt at a message."""
    return f"<!-- hermesd:{hashlib.sha256(key.encode()).hexdigest()[:32]} -->"


def body_of(text: str, marker: str) -> str:
    """The comment, cut where it would be refused as too long."""
    room = MAX_COMMENT_CHARS - len(marker) - 2
    if len(text) > room:
        text = text[: room - len(CUT)] + CUT
    return f"{text}\n\n{marker}"


def _comments_url(config: GithubConfig, issue: str) -> str:
    """Where the comments of ``owner/repo#12`` are. Raises PlatformError."""
    from hermesd.triggers.deliver import ISSUE

    found = ISSUE.fullmatch(issue)
    if found is None or ".." in found.group(1).split("/") or "." in found.group(1).split("/"):
        raise PlatformError(f"{issue[:80]!r} names no issue", next_step="write owner/repo#12", permanent=True)
    refuse(github_obstacle(config))
    return f"{config.base_url.rstrip('/')}/repos/{found.group(1)}/issues/{found.group(2)}/comments"


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


async def _bounded(answer: httpx2.Response) -> bytes:
    found = bytearray()
    async for piece in answer.aiter_bytes():
        found += piece
        if len(found) > MAX_ANSWER_BYTES:
            break
    return bytes(found)


def _json(data: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return None


def _message(answer: Any) -> str:  # noqa: ANN401 - JSON
    said = answer.get("message") if isinstance(answer, dict) else ""
    return "".join(c for c in str(said or "")[:200] if c.isprintable())
