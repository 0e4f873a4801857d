"""Who gets past the guard: decided by a request's head alone, before any of its body is read."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from hermesd.config.schema import McpServeConfig
from hermesd.serving.guard import BODY_S, TOLD_EVERY_S, Guard

TOKEN = "0123456789abcdef"
CONFIG = McpServeConfig(enabled=True, token=TOKEN, allowed_hosts=["agents.example.org"])


def scope(path: str = "/mcp", **fields: str | list[str]) -> dict[str, Any]:
    """A request that is let in, unless a field says otherwise; '' leaves a field out."""
    wanted: dict[str, str | list[str]] = {"host": "127.0.0.1:8765", "authorization": f"Bearer {TOKEN}", **fields}
    headers = [
        (name.encode(), value.encode("latin-1"))
        for name, given in wanted.items()
        for value in ([given] if isinstance(given, str) else given)
        if value
    ]
    return {"type": "http", "http_version": "1.1", "method": "POST", "path": path, "headers": headers}


async def never(*_: object) -> None:
    raise AssertionError("the application must not be reached")


def status_of(asked: dict[str, Any], config: McpServeConfig = CONFIG, port: int = 8765) -> int:
    refusal = Guard(never, config, port).refusal(asked)
    return refusal.status if refusal else 200


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "LOCALHOST:8765", "[::1]:8765"])
def test_the_names_of_loopback_are_served(host: str) -> None:
    """With the port that is listened on."""
    assert status_of(scope(host=host)) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example.org", "127.0.0.1", "127.0.0.1:80", "localhost.evil.org:8765", "127.0.0.1:8765.evil.org", "",
     "agents.example.org.evil.org"],
)  # fmt: skip
def test_another_host_name_is_refused(host: str) -> None:
    """A name that a foreign page made to lead here is not ours."""
    assert status_of(scope(host=host)) == 421


def test_two_host_fields_are_refused() -> None:
    """Nobody may choose which of them counts."""
    assert status_of(scope(host=["127.0.0.1:8765", "evil.example.org"])) == 421


@pytest.mark.parametrize("host", ["agents.example.org", "agents.example.org:8765"])
def test_a_host_of_the_configuration_is_served(host: str) -> None:
    """As a proxy in front passes it on."""
    assert status_of(scope(host=host)) == 200


def test_an_address_to_listen_on_is_a_host_but_every_interface_is_not() -> None:
    """0.0.0.0 is no name to be reached by."""
    assert status_of(scope(host="10.0.0.7:8765"), McpServeConfig(host="10.0.0.7", token=TOKEN)) == 200
    assert status_of(scope(host="0.0.0.0:8765"), McpServeConfig(host="0.0.0.0", token=TOKEN)) == 421
    assert status_of(scope(host="[fd00::7]:8765"), McpServeConfig(host="fd00::7", token=TOKEN)) == 200


@pytest.mark.parametrize("origin", ["http://evil.example.org", "null", "http://127.0.0.1:9999", "file://"])
def test_a_page_of_another_site_is_refused(origin: str) -> None:
    """Even with the token: a browser may have been told to send it."""
    assert status_of(scope(origin=origin)) == 403


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8765", "http://localhost:8765", "https://agents.example.org"])
def test_our_own_origin_is_served(origin: str) -> None:
    """A page from this very address is no other site."""
    assert status_of(scope(origin=origin)) == 200


@pytest.mark.parametrize(
    "given",
    ["", f"bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer", "Bearer ", "Bearer \xe9\xff",
     [f"Bearer {TOKEN}", f"Bearer {TOKEN}"]],
)  # fmt: skip
def test_anything_but_the_token_is_refused(given: str | list[str]) -> None:
    """Another one, a part of it, another scheme, two of them."""
    assert status_of(scope(authorization=given)) == 401


def test_the_scheme_may_be_written_in_any_case() -> None:
    """RFC 9110, section 11.1."""
    assert status_of(scope(authorization=f"bEARER {TOKEN}")) == 200


def test_an_empty_token_lets_nobody_in() -> None:
    """It would otherwise equal an empty one."""
    assert status_of(scope(authorization="Bearer "), McpServeConfig(token="")) == 401


@pytest.mark.parametrize("path", ["/", "/mcp/", "/mcp/x", "/MCP", "/health"])
def test_there_is_only_one_path(path: str) -> None:
    """And it is not told to someone with a foreign Host."""
    assert status_of(scope(path)) == 404
    assert status_of(scope(path, host="evil.example.org")) == 421


async def test_wrong_tokens_are_told_once_a_minute(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """With how many there were, and never what was tried; a request without any is no attempt."""
    guard = Guard(never, CONFIG, 8765)

    async def send(_message: Any) -> None:
        """Nobody reads it."""

    async def attempt(times: int, **fields: str) -> list[str]:
        caplog.clear()
        for _ in range(times):
            await guard({**scope(**fields), "client": ("10.0.0.7", 4711)}, never, send)
        return caplog.messages

    [first] = await attempt(5, authorization="Bearer guessed")
    assert "10.0.0.7" in first
    assert "(1 since" in first
    await trio.sleep(TOLD_EVERY_S)
    [second] = await attempt(2, authorization="Bearer guessed")
    assert "(5 since" in second
    await trio.sleep(TOLD_EVERY_S)
    assert await attempt(3, authorization="") == []
    assert "guessed" not in first + second


async def test_a_body_that_does_not_come_is_answered_408(autojump_clock: trio.testing.MockClock) -> None:
    """Bounded from its first byte to its last, so that trickling does not help."""
    sent: list[dict[str, Any]] = []

    async def reading(_scope: object, receive: Any, _send: object) -> None:
        while (await receive()).get("more_body"):
            pass

    async def trickle() -> dict[str, Any]:
        await trio.sleep(1)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    await Guard(reading, CONFIG, 8765)(scope(), trickle, send)
    assert sent[0]["status"] == 408
    assert trio.current_time() == pytest.approx(BODY_S, abs=1)


async def test_an_answer_may_take_longer_than_a_body(autojump_clock: trio.testing.MockClock) -> None:
    """Once the body is there, only the application decides how long it takes."""
    messages = [{"type": "http.request", "body": b"{}"}]
    done = False

    async def working(_scope: object, receive: Any, _send: object) -> None:
        nonlocal done
        await receive()
        with trio.move_on_after(BODY_S * 10):
            await receive()
        done = True

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await trio.sleep_forever()
        raise AssertionError

    await Guard(working, CONFIG, 8765)(scope(), receive, never)
    assert done


async def test_a_websocket_is_closed() -> None:
    """The protocol is spoken over HTTP only."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await Guard(never, CONFIG, 8765)({**scope(), "type": "websocket"}, never, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
