"""What becomes of requests when the input of ``hermesctl mcp serve`` ends; in virtual time."""

from __future__ import annotations

from typing import Any

import anyio
import trio
import trio.testing
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from hermesctl.mcp_serve_end import ANSWERS_S, Unanswered


def message(inner: Any) -> SessionMessage:
    return SessionMessage(inner)


REQUEST = message(JSONRPCRequest(jsonrpc="2.0", id=7, method="tools/call"))
ANSWER = message(JSONRPCResponse(jsonrpc="2.0", id=7, result={}))
CANCELLED = message(JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params={"requestId": 7}))


async def ended_after(*items: SessionMessage, answer_after_s: float | None = None) -> float:
    """Seconds from the end of the input until the server is told of it."""
    put, received = anyio.create_memory_object_stream[SessionMessage | Exception](10)
    sent, _written = anyio.create_memory_object_stream[SessionMessage](10)
    requests = Unanswered(received, sent)
    with put, _written:
        for item in items:
            await put.send(item)
        put.close()
        began = trio.current_time()
        async with trio.open_nursery() as nursery, requests.reading, requests.writing:
            if answer_after_s is not None:

                async def answer() -> None:
                    await trio.sleep(answer_after_s)
                    await requests.writing.send(ANSWER)

                nursery.start_soon(answer)
            assert [item async for item in requests.reading] == list(items)
            return trio.current_time() - began


async def test_the_end_waits_for_answers_and_not_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    """Neither for what nobody asked or has given up."""
    assert await ended_after(REQUEST, answer_after_s=9) == 9
    assert await ended_after(REQUEST) == ANSWERS_S
    assert await ended_after(REQUEST, CANCELLED) == 0
    assert await ended_after() == 0
