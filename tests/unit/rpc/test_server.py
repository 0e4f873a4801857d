"""Requests, answers, errors: what one connection sees."""

from __future__ import annotations

import json
import os

import pytest
import trio

from hermesd.config.schema import RpcConfig
from hermesd.errors import ConflictError
from hermesd.rpc.methods import ROUTES
from hermesd.rpc.wire_methods import METHODS
from tests.servers.served import Served, Wire, pack
from tests.waiting import PATIENCE_S, until


def test_every_method_has_a_handler_and_every_handler_a_method() -> None:
    """Streams are those that have a type of update."""
    assert set(ROUTES) == {method.name for method in METHODS}
    for method in METHODS:
        assert (ROUTES[method.name].kind == "stream") is (method.update is not None)


async def test_both_encodings_give_the_same_answer(served: Served) -> None:
    """The first byte chooses."""
    text, packed = await served.connect(), await served.connect()
    request = {"jsonrpc": "2.0", "id": "a", "method": "rpc.hello"}
    await text.stream.send_all(json.dumps(request).encode() + b"\r\n")
    answer = await text.message()
    assert answer == await packed.packed(request)
    assert answer["id"] == "a"
    assert answer["result"]["role"] == "owner"


async def test_the_result_stands_last_for_clients_without_a_parser(served: Served) -> None:
    """And within it, the text of a rendered verb."""
    wire = await served.connect()
    params = {"argv": ["version"]}
    await wire.stream.send_all(pack({"jsonrpc": "2.0", "id": 1, "method": "console.run", "params": params}))
    answer = await wire.unpack()
    assert list(answer) == ["jsonrpc", "id", "result"]
    assert list(answer["result"]) == ["status", "text"]


async def test_pipelined_requests_are_all_answered_with_their_ids(wire: Wire) -> None:
    """Those that have to wait may come later than the others."""
    methods = ["rpc.ping", "daemon.status", "rpc.hello", "sessions.list"] * 50
    asked = [await wire.send(method) for method in methods]
    answered = [await wire.message() for _ in methods]
    assert sorted(message["id"] for message in answered) == asked
    assert all("result" in message for message in answered)


async def test_one_byte_at_a_time_is_a_request_too(served: Served) -> None:
    """In both encodings."""
    request = {"jsonrpc": "2.0", "id": 7, "method": "rpc.ping", "params": {}}
    for data in (json.dumps(request).encode() + b"\n", pack(request)):
        wire = await served.connect()
        for byte in data:
            await wire.stream.send_all(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked()
        answer = await (wire.message() if data[:1] == b"{" else wire.unpack())
        assert answer["id"] == 7


@pytest.mark.parametrize(
    ("method", "params", "named"),
    [
        ("rpc.ping", {"more": 1}, "more"),
        ("service.start", {}, "name"),
        ("service.start", {"name": 7}, "name"),
        ("events.list", {"since": "x"}, "since"),
        ("console.run", {"argv": ["a", 1]}, "argv[1]"),
        ("logs.tail", {"lines": 1e300}, "lines"),
    ],
)
async def test_bad_params_name_the_field_and_leave_the_connection_open(
    wire: Wire, method: str, params: dict[str, object], named: str
) -> None:
    """-32602 with the method as where."""
    error = await wire.error(method, params)
    assert error["code"] == -32602
    assert named in error["message"]
    assert error["data"]["where"] == method
    assert error["data"]["exit_status"] == 2
    assert await wire.result("rpc.ping") == {}


async def test_params_as_a_list_are_refused(wire: Wire) -> None:
    """They go by name only."""
    await wire.stream.send_all(b'{"jsonrpc":"2.0","id":1,"method":"service.start","params":["x"]}\n')
    assert (await wire.message())["error"]["code"] == -32602


async def test_an_unknown_method_leaves_the_connection_open(wire: Wire) -> None:
    """-32601, with no more of its name than is useful."""
    error = await wire.error("x" * 1000)
    assert error["code"] == -32601
    assert len(error["message"]) < 200
    assert await wire.result("rpc.ping") == {}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\0\0\0\0", -32600),
        (b"\xff\xff\xff\xff", -32600),
        (b"[]\n", -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":' + b'{"a":' * 10_000 + b"}" * 10_000 + b"}\n", -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"rpc.ping","params":{"a":' + b"[" * 70 + b"]" * 70 + b"}}\n", -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"service.start","params":{"name":"\xff"}}\n', -32700),
        (b'{"jsonrpc":"2.0","id":1e400,"method":"rpc.ping"}\n', -32600),
        (b"{nonsense}\n", -32700),
        (pack([{"jsonrpc": "2.0", "id": 1, "method": "rpc.ping"}]), -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * 2000 + b'"}\n', -32600),
    ],
    ids=[
        "length 0",
        "length 2^32-1",
        "batch",
        "10k nesting",
        "70 levels",
        "bad UTF-8",
        "1e400",
        "not JSON",
        "msgpack batch",
        "long method",
    ],
)
async def test_a_bad_frame_is_answered_and_the_connection_closed_and_nobody_else_notices(
    served: Served, data: bytes, code: int
) -> None:
    """The requests before it are answered as usual; those after it are not."""
    other, wire = await served.connect(), await served.connect()
    in_text = data[:1] in b"{["
    good = {"jsonrpc": "2.0", "id": 1, "method": "rpc.ping"}
    if data[:1] == b"{":
        await wire.stream.send_all(json.dumps(good).encode() + b"\n" + data + json.dumps(good).encode() + b"\n")
        assert (await wire.message())["result"] == {}
    else:
        await wire.stream.send_all(data)
    answer = await (wire.message() if in_text else wire.unpack())
    assert answer["id"] is None
    assert answer["error"]["code"] == code
    assert await wire.ended()
    assert await other.result("rpc.ping") == {}


async def test_half_a_frame_and_a_close_is_an_error_answer(served: Served) -> None:
    """For a client that closes only its own half."""
    wire = await served.connect()
    await wire.stream.send_all(b'{"jsonrpc":')
    await wire.stream.send_eof()
    assert (await wire.message())["error"]["code"] == -32700
    assert await wire.ended()


async def test_a_client_that_closes_its_half_still_gets_its_answers(served: Served) -> None:
    """Also those that take a task; then the connection is closed."""
    wire = await served.connect()
    await wire.send("daemon.status")
    await wire.send("rpc.ping")
    await wire.stream.send_eof()
    assert {(await wire.message())["id"], (await wire.message())["id"]} == {1, 2}
    assert await wire.ended()


async def test_a_stream_ends_when_its_half_closed_client_is_gone_altogether(served: Served) -> None:
    """No write has to fail for it: the hang-up is noticed."""
    wire = await served.connect()
    await wire.send("events.watch")
    await wire.stream.send_eof()
    await trio.testing.wait_all_tasks_blocked()
    assert served.server.connections == 1
    await wire.stream.aclose()
    await until(lambda: not served.server.connections)


async def test_an_error_of_the_daemon_keeps_its_code_place_and_next_step(served: Served, wire: Wire) -> None:
    """As the client needs them to show it as its own."""
    assert await wire.error("service.stop", {"name": "x"}) == {
        "code": -32001,
        "message": "no service 'x'",
        "data": {"where": "service.stop", "next_step": "see `hermesctl tree`", "exit_status": 1},
    }


async def test_a_bug_in_a_method_is_an_internal_error_and_is_logged(
    served: Served, wire: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection and its other calls go on, for both kinds of handlers."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(served.panel, "tree", broken)
    monkeypatch.setattr(served.panel, "tally", broken)
    for method in ("daemon.tree", "daemon.status"):
        error = await wire.error(method)
        assert (error["code"], error["message"]) == (-32603, "internal error")
    assert caplog.text.count("ZeroDivisionError: a bug") == 2
    assert await wire.result("rpc.ping") == {}


async def test_mutating_calls_are_audited_with_uid_and_pid_before_they_take_effect(served: Served, wire: Wire) -> None:
    """What they are about, and never what was written in them."""
    await wire.result("profile.create", {"name": "coder", "description": "private words"})
    await wire.error("service.stop", {"name": "x"})
    await wire.result("daemon.status")
    created, stopped, failed = served.audited
    assert (created.method, created.outcome, created.subject) == ("profile.create", "allowed", "name='coder'")
    assert (created.uid, created.pid, created.role) == (os.geteuid(), os.getpid(), "owner")
    assert (stopped.outcome, failed.outcome, failed.error) == ("allowed", "failed", "no service 'x'")


async def test_auditing_can_be_switched_off(served: Served, wire: Wire) -> None:
    """rpc.audit: false."""
    served.settings = RpcConfig(audit=False)
    await wire.result("profile.create", {"name": "coder"})
    assert served.audited == []


async def test_draining_ends_streams_with_a_word_and_refuses_slow_calls(served: Served, wire: Wire) -> None:
    """Nobody new is accepted; what is quick is still answered."""
    watching = await wire.send("events.watch")
    await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(PATIENCE_S):
        await served.server.drain()
    message = await wire.message()
    assert (message["id"], message["error"]["code"]) == (watching, -32004)
    assert message["error"]["data"]["exit_status"] == 75
    assert "watch again with since=" in message["error"]["data"]["next_step"]
    assert (await wire.error("daemon.status"))["code"] == -32004
    assert await wire.result("rpc.ping") == {}


async def test_draining_waits_for_calls_under_way(served: Served, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their answers are sent before it returns."""
    may_end, drained = trio.Event(), trio.Event()

    async def slow(_profile: str) -> None:
        await may_end.wait()

    async def drain() -> None:
        await served.server.drain()
        drained.set()

    monkeypatch.setattr(served.panel, "stop_gateway", slow)
    await wire.send("gateway.stop")
    await trio.testing.wait_all_tasks_blocked()
    served.nursery.start_soon(drain)
    await trio.testing.wait_all_tasks_blocked()
    assert not drained.is_set()
    may_end.set()
    assert (await wire.message())["result"] == {"message": "stopped: default"}
    with trio.fail_after(PATIENCE_S):
        await drained.wait()


async def test_a_server_can_be_run_again_after_it_was_drained(served: Served, wire: Wire) -> None:
    """service.restart of the RPC service itself: the same listener, a fresh start."""
    await served.server.drain()
    await served.nursery.start(lambda task_status: served.server.run(task_status=task_status))
    again = await served.connect()
    assert "pid" in await again.result("daemon.status")


async def test_gateways_are_all_acted_on_even_if_one_fails(
    served: Served, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure is the answer, after all have ended."""
    served.panel.add_profile("coder")
    done = []

    async def stop(profile: str) -> None:
        if profile == "default":
            raise ConflictError("it is busy")
        done.append(profile)

    monkeypatch.setattr(served.panel, "stop_gateway", stop)
    assert (await wire.error("gateway.stop", {"all": True}))["message"] == "it is busy"
    assert done == ["coder"]


@pytest.mark.parametrize("name", ["../x", "a/b", ".", "x" * 300, "a\0b", "-rf", "ｆｕｌｌ", "test", "A", ""])
async def test_names_that_no_profile_may_have_are_refused(served: Served, wire: Wire, name: str) -> None:
    """When made, renamed, named: nothing reaches the daemon."""
    assert (await wire.error("profile.create", {"name": name}))["code"] == -32602
    assert (await wire.error("profile.rename", {"name": "default", "new_name": name}))["code"] == -32602
    assert (await wire.error("profile.delete", {"name": name}))["code"] in (-32602, -32001)
    assert served.panel.done == []


async def test_the_schema_describes_every_method(wire: Wire) -> None:
    """As OpenRPC, whose references all lead somewhere."""
    openrpc = (await wire.result("rpc.schema"))["openrpc"]
    assert [method["name"] for method in openrpc["methods"]] == [method.name for method in METHODS]
    text = json.dumps(openrpc)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(openrpc["components"]["schemas"])
