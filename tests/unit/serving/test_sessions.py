"""The endpoint with all its sessions taken, over HTTP."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import trio

from hermesd.config.schema import McpServeConfig
from hermesd.serving import endpoint
from hermesd.serving.endpoint import Endpoint

TOKEN = "a-token-for-tests-0123456789"
WITHIN_S = 60.0
HEADERS = {
    "authorization": f"Bearer {TOKEN}",
    "accept": "application/json, text/event-stream",
    "content-type": "application/json",
}
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator:pytest.PytestUnraisableExceptionWarning"),
]


class SlowBackend:
    """Answers when it is told to; ``asked`` is set by the first call."""

    def __init__(self) -> None:
        self.asked, self.go = trio.Event(), trio.Event()

    async def call(self, _method: str, _params: Any) -> dict[str, Any]:
        self.asked.set()
        await self.go.wait()
        return {"profiles": []}

    def stop(self) -> None:
        self.go.set()


class Client:
    """Asks the endpoint, a session at a time."""

    def __init__(self, http: httpx2.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url
        self._ids = itertools.count()

    async def post(self, method: str, params: Any = None, *, session: str = "", **fields: str) -> httpx2.Response:
        body = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params or {}}
        headers = {**HEADERS, **({"mcp-session-id": session} if session else {}), **fields}
        return await self._http.post(self._url, headers=headers, content=json.dumps(body))

    async def begin(self) -> str:
        """A new session's id, which it was given with the answer to initialize."""
        found = await self.post("initialize", INITIALIZE)
        assert found.status_code == 200, found.text
        return found.headers["mcp-session-id"]

    async def status(self, session: str) -> int:
        """What a request of a session is answered with."""
        return (await self.post("ping", session=session)).status_code

    async def delete(self, session: str) -> int:
        return (await self._http.delete(self._url, headers={**HEADERS, "mcp-session-id": session})).status_code

    @asynccontextmanager
    async def listening(self, session: str) -> AsyncIterator[httpx2.Response]:
        """With its stream of events open."""
        async with self._http.stream("GET", self._url, headers={**HEADERS, "mcp-session-id": session}) as stream:
            assert stream.status_code == 200
            yield stream


@asynccontextmanager
async def served(monkeypatch: pytest.MonkeyPatch, most: int) -> AsyncIterator[tuple[Client, SlowBackend]]:
    """An endpoint with so many places."""
    monkeypatch.setattr(endpoint, "MAX_SESSIONS", most)
    backend = SlowBackend()
    running = Endpoint(McpServeConfig(enabled=True, port=0, token=TOKEN), lambda: backend)
    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda *, task_status: running.run(task_status=task_status))
            url = f"http://127.0.0.1:{running.detail.split()[1].rstrip(',')}/mcp"
            async with httpx2.AsyncClient(timeout=WITHIN_S) as http:
                yield Client(http, url), backend
            nursery.cancel_scope.cancel()


async def test_a_new_session_takes_the_place_of_the_one_that_rested_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is answered 404 from then on; one that was used meanwhile stays."""
    async with served(monkeypatch, 3) as (client, _):
        first, second, third = [await client.begin() for _ in range(3)]
        assert await client.status(first) == 200
        fourth = await client.begin()
        assert [await client.status(each) for each in (first, second, third, fourth)] == [200, 404, 200, 200]


async def test_very_many_that_are_never_given_back_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times as many as there are places, several at once; as many as there are places are left."""
    async with served(monkeypatch, 4) as (client, _):
        found: list[str] = []

        async def begin() -> None:
            found.append(await client.begin())

        for _ in range(10):
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(begin)
        assert sorted([await client.status(each) for each in found]) == [200] * 4 + [404] * 36


async def test_what_is_under_way_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a call nor a stream of events; where nothing rests, a new client is told when to come again."""
    async with served(monkeypatch, 2) as (client, backend), trio.open_nursery() as nursery:
        calling, hearing = await client.begin(), await client.begin()
        answers: list[httpx2.Response] = []
        is_answered = trio.Event()

        async def call() -> None:
            answers.append(await client.post("tools/call", {"name": "profiles_list"}, session=calling))
            is_answered.set()

        nursery.start_soon(call)
        await backend.asked.wait()
        async with client.listening(hearing):
            refused = await client.post("initialize", INITIALIZE)
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 0
            assert "in use" in refused.text
            assert await client.status(calling) == 200
            newest = await client.post("server/discover", {}, **{"mcp-protocol-version": "2026-07-28"})
            assert newest.status_code != 503  # of a revision without sessions
        while (found := await client.post("initialize", INITIALIZE)).status_code == 503:
            pass  # until the end of the stream is noticed
        later = found.headers["mcp-session-id"]
        assert await client.status(hearing) == 404
        backend.go.set()
        await is_answered.wait()
        assert answers[0].status_code == 200
        assert "profiles" in answers[0].text
        assert [await client.status(each) for each in (calling, later)] == [200, 200]


async def test_a_session_that_is_given_back_leaves_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """So does a request that was no right beginning of one: nobody's session ends for those."""
    async with served(monkeypatch, 2) as (client, _):
        stays, goes = await client.begin(), await client.begin()
        assert await client.delete(goes) == 200
        for _ in range(3):
            assert (await client.post("ping")).status_code == 400
        comes = await client.begin()
        assert [await client.status(each) for each in (stays, goes, comes)] == [200, 404, 200]
