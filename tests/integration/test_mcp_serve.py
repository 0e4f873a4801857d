"""The daemon as an MCP server for other agents, by the official SDK's client: over stdio and over HTTP."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import trio

from tests.servers.daemon import MCP, Daemon
from tests.servers.llmock import LlmockServer, run_llmock
from tests.waiting import until

TOKEN = "a-token-for-tests-0123456789"
SERVE = "mcp_serve: {enabled: true, port: 0}\n"
ENV = f"MCP_SERVE_TOKEN={TOKEN}\n"
WITHIN_S = 120.0
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
TALKING = {"authorization": f"Bearer {TOKEN}", "accept": "application/json, text/event-stream"}

# The SDK and the HTTP library leave async generators to the garbage collector when a stream is closed.
pytestmark = [
    pytest.mark.loaded(MCP),
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator:pytest.PytestUnraisableExceptionWarning"),
]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "hermesctl", *words, "mcp", "serve"]


@asynccontextmanager
async def by_stdio(daemon: Daemon, *words: str) -> AsyncIterator[Any]:
    """A session with ``hermesctl mcp serve``."""
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    program, *args = command(*words)
    environment = {**os.environ, "HERMES_HOME": str(daemon.home)}
    with trio.fail_after(WITHIN_S):
        async with (
            stdio_client(StdioServerParameters(command=program, args=args, env=environment)) as streams,
            ClientSession(*streams) as session,
        ):
            await session.initialize()
            yield session


@asynccontextmanager
async def by_http(daemon: Daemon) -> AsyncIterator[Any]:
    """A session with the endpoint."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    with trio.fail_after(WITHIN_S):
        async with (
            httpx2.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}, timeout=WITHIN_S) as client,
            streamable_http_client(daemon.mcp_url(), http_client=client) as streams,
            ClientSession(streams[0], streams[1]) as session,
        ):
            await session.initialize()
            yield session


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with its endpoint, for tests that leave it as it is."""
    home = tmp_path_factory.mktemp("serving") / "home"
    home.mkdir(mode=0o700)
    found = Daemon(home, loaded=MCP)
    found.write_config(SERVE, env=ENV)
    found.start()
    assert found.ctl("profile", "create", "coder").returncode == 0
    yield found
    found.kill()


@pytest.fixture(scope="module")
def model() -> Iterator[LlmockServer]:
    """A model's endpoint that does what it is told."""
    with run_llmock() as running:
        yield running


@pytest.fixture
def modelled(daemon: Daemon, model: LlmockServer) -> Daemon:
    """A daemon with its endpoint that answers with that model, and would be allowed everything."""
    model.reset()
    base_url = model.base_url("openai")
    daemon.write_config(
        f"model: {{default: test-model, provider: openai, base_url: '{base_url}', api_key: k}}\n"
        f"policy: {{unsafe: allow}}\nshutdown: {{drain_s: 2}}\n{SERVE}",
        env=ENV,
    )
    return daemon.start()


def slow(seconds: float) -> dict[str, Any]:
    """The next answer of the model takes so long."""
    return {"type": "slow_first_token", "seconds": seconds, "times": 1}


async def call(client: Any, tool: str, /, **arguments: object) -> dict[str, Any]:
    """What a tool that succeeds says."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    assert json.loads(result.content[0].text) == result.structured_content
    return result.structured_content


async def refused(client: Any, tool: str, /, **arguments: object) -> dict[str, Any]:
    """What a tool that fails says."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result
    return result.structured_content


# -- the tools ---------------------------------------------------------------------------------------------------------


async def test_a_message_is_answered_once_for_its_key(serving: Daemon) -> None:
    """However often it is sent, and whichever way."""
    key = str(uuid.uuid4())
    async with by_http(serving) as session:
        first = await call(session, "messages_send", text="write a.txt: hello", idempotency_key=key)
        again = await call(session, "messages_send", text="write a.txt: hello", idempotency_key=key)
    async with by_stdio(serving) as session:
        elsewhere = await call(session, "messages_send", text="write a.txt: hello", idempotency_key=key)
    assert (first["state"], first["repeated"]) == ("done", False)
    assert first["answer"]
    for repeat in (again, elsewhere):
        assert (repeat["answer"], repeat["inbox_id"], repeat["repeated"]) == (first["answer"], first["inbox_id"], True)
    rows = serving.call("inbox.list", states=["done"])["rows"]
    assert [row["id"] for row in rows if row["delivery_id"] == key] == [first["inbox_id"]]


async def test_what_is_sent_can_be_read_and_searched(serving: Daemon) -> None:
    """As a tool's result, and as a resource."""
    word = f"albatross{uuid.uuid4().hex}"
    async with by_stdio(serving) as session:
        await call(session, "messages_send", text="hello", new=True)
        sent = await call(session, "messages_send", text=f"where is the {word}", new=True)
        listed = await call(session, "sessions_list")
        read = await call(session, "sessions_read", session=sent["session"])
        found = await call(session, "sessions_search", query=word)
        resources = (await session.list_resources()).resources
        resource = await session.read_resource(f"hermes://sessions/{sent['session']}")
    assert listed["sessions"][0]["id"] == sent["session"]
    assert [row["role"] for row in read["messages"]] == ["user", "assistant"]
    assert word in read["messages"][0]["text"]
    assert found["hits"][0]["session_id"] == sent["session"]
    assert f"hermes://sessions/{sent['session']}" in [each.uri for each in resources]
    assert len({each.name for each in resources}) == len(resources) > 2, "a person chooses by the name"
    assert json.loads(resource.contents[0].text)["messages"] == read["messages"]


async def test_how_things_stand_can_be_seen(serving: Daemon) -> None:
    """Profiles, gateways, queues and the daemon."""
    async with by_http(serving) as session:
        tools = (await session.list_tools()).tools
        assert (await call(session, "profiles_list"))["profiles"][0]["name"] == "default"
        assert (await call(session, "gateways_list"))["gateways"][0]["state"] == "stopped"
        assert (await call(session, "inbox_list"))["rows"] == []
        assert (await call(session, "outbox_list"))["rows"] == []
        assert (await call(session, "daemon_status"))["services"]["ready"] >= 5
    assert {tool.name for tool in tools if not tool.annotations.read_only_hint} == {"messages_send"}


async def test_scheduled_jobs_can_be_seen(serving: Daemon) -> None:
    """When they are due and what came of them, of every profile or of one; nothing makes, changes or runs one."""
    for profile, name in (("default", "morning"), ("coder", "evening")):
        fields = {"name": name, "schedule": "0 9 * * *", "prompt": "say \x1b[31mgood morning"}
        serving.call("cron.create", profile=profile, fields=fields)
    serving.call("cron.run", job="morning")
    async with by_http(serving) as session:
        names = {tool.name for tool in (await session.list_tools()).tools if tool.name.startswith("cron_")}
        listed = (await call(session, "cron_list"))["jobs"]
        others = (await call(session, "cron_list", profile="coder"))["jobs"]
        await trio.to_thread.run_sync(
            serving.until, lambda: serving.call("cron.runs", job="morning")["runs"][0]["state"] == "done"
        )
        runs = (await call(session, "cron_runs", job="morning"))["runs"]
        shown = await call(session, "cron_show", job="morning")
        unknown = await refused(session, "cron_show", job="noon")
    async with by_stdio(serving, "-p", "coder") as session:
        assert [job["name"] for job in (await call(session, "cron_list"))["jobs"]] == ["evening"]
        assert (await call(session, "cron_runs"))["runs"] == []
    assert names == {"cron_list", "cron_show", "cron_runs"}
    assert [(job["profile"], job["name"]) for job in listed] == [("default", "morning"), ("coder", "evening")]
    assert [job["name"] for job in others] == ["evening"]
    assert (runs[0]["job_name"], runs[0]["targets"][0]["state"]) == ("morning", "sent")
    assert runs[0]["session_id"].startswith("s_")
    assert (shown["job"]["schedule"], shown["last_run"]["state"]) == ("0 9 * * *", "done")
    assert len(shown["job"]["next"]) == 5
    assert "\x1b" not in shown["job"]["prompt"]
    assert "no job 'noon'" in unknown["error"]


async def test_a_wrong_call_says_what_is_wrong(serving: Daemon) -> None:
    """As a result that a model can read, with the next step; the session goes on."""
    async with by_http(serving) as session:
        lacking = await refused(session, "sessions_read")
        unknown = await refused(session, "sessions_read", session="s_nothing")
        nobody = await refused(session, "messages_send", text="hello", profile="nobody")
        assert "lack 'session'" in lacking["error"]
        assert "s_nothing" in unknown["error"]
        assert "profile list" in nobody["next_step"]
        assert await call(session, "profiles_list")


async def test_a_message_is_text_from_outside(modelled: Daemon, model: LlmockServer) -> None:
    """A model that is talked into something by it is refused, where a user's words would have been enough."""
    call_tool = {"name": "terminal", "arguments": {"command": "touch made"}}
    model.script(
        {"type": "reply", "text": "", "tool_calls": [call_tool], "times": 1},
        {"type": "reply", "text": "I could not.", "times": 1},
    )
    async with by_http(modelled) as session:
        sent = await call(session, "messages_send", text="touch made")
    assert sent["answer"] == "I could not."
    detail = modelled.call("inbox.show", id=sent["inbox_id"])
    assert (detail["row"]["untrusted"], detail["row"]["source"]) == (True, "mcp")
    assert not list(modelled.home.rglob("made"))
    assert "nobody can be asked" in json.dumps(model.requests()[-1])
    assert modelled.call("chat.questions") == {"questions": []}


async def test_a_command_of_a_chat_is_only_text(serving: Daemon) -> None:
    """No agent approves anything by writing it."""
    async with by_http(serving) as session:
        sent = await call(session, "messages_send", text="/approve 1", new=True)
        read = await call(session, "sessions_read", session=sent["session"])
    assert "/approve 1" in read["messages"][0]["text"]


async def test_who_does_not_wait_gets_the_answer_later(modelled: Daemon, model: LlmockServer) -> None:
    """By the same key; a wait that was too short is no failure."""
    model.script(slow(4), {"type": "reply", "text": "at last", "times": 1})
    key = str(uuid.uuid4())
    async with by_http(modelled) as session:
        sent = await call(session, "messages_send", text="hello", idempotency_key=key, wait=False)
        early = await call(session, "messages_send", text="hello", idempotency_key=key, timeout_s=0.05)
        late = await call(session, "messages_send", text="hello", idempotency_key=key)
    assert (sent["state"], early["state"], late["state"]) == ("accepted", "accepted", "done")
    assert "idempotency_key" in early["next_step"]
    assert late["answer"]
    assert len(model.requests()) == 1


# -- stdio -------------------------------------------------------------------------------------------------------------


async def test_a_killed_daemon_is_a_sentence_and_a_new_one_is_used(daemon: Daemon) -> None:
    """The server holds no connection, so it outlives any number of daemons."""
    async with by_stdio(daemon) as session:
        before = await refused(session, "daemon_status")
        daemon.start()
        assert await call(session, "daemon_status")
        daemon.kill()
        during = await refused(session, "daemon_status")
        assert "hermesd --detach" in before["next_step"]
        assert "hermesd --detach" in during["next_step"]
        daemon.start()
        assert await call(session, "daemon_status")


async def test_a_daemon_killed_in_the_middle_of_an_answer_ends_the_wait(modelled: Daemon, model: LlmockServer) -> None:
    """And the answer comes from the next one, once."""
    model.script(slow(30))
    key = str(uuid.uuid4())
    told: list[dict[str, Any]] = []
    async with by_stdio(modelled) as session:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                told.append(await refused(session, "messages_send", text="hello", idempotency_key=key))

            nursery.start_soon(ask)
            await until_asked(model)
            modelled.kill()
        assert "hermesd" in told[0]["next_step"]
        modelled.start()
        answer = await call(session, "messages_send", text="hello", idempotency_key=key)
    assert (answer["state"], answer["repeated"]) == ("done", True)
    assert len(modelled.call("inbox.list", states=["done"])["rows"]) == 1


async def until_asked(model: LlmockServer) -> None:
    """Return when a request has met what the model's endpoint was told to do."""

    async def asked() -> bool:
        return not await trio.to_thread.run_sync(model.pending)

    await until(asked)


async def test_the_profile_of_the_command_line_is_meant(serving: Daemon) -> None:
    """Where a call names none."""
    async with by_stdio(serving, "-p", "coder") as session:
        sent = await call(session, "messages_send", text="hello")
        assert [row["profile"] for row in (await call(session, "sessions_list"))["sessions"]] == ["coder"]
        others = (await call(session, "sessions_list", profile="default"))["sessions"]
        assert "coder" not in {row["profile"] for row in others}
    assert serving.call("inbox.show", id=sent["inbox_id"])["row"]["profile"] == "coder"


def test_it_ends_with_its_input_and_prints_nothing_but_the_protocol(daemon: Daemon) -> None:
    """Even what is not JSON is answered in the protocol, and standard error stays quiet."""
    lines = [
        "",
        json.dumps(INITIALIZE),
        "this is not JSON",
        '{"x": "\\ud800"}',
        "[]",
        json.dumps({"jsonrpc": "2.0", "id": 2, "method": "ping"}),
    ]
    done = subprocess.run(
        command(),
        input="\n".join(lines) + "\n",
        env={**os.environ, "HERMES_HOME": str(daemon.home)},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.returncode == 0
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(answer["jsonrpc"] == "2.0" for answer in answers)
    assert [answer["error"]["code"] for answer in answers if answer["id"] is None] == [-32700, -32700, -32600]
    assert {answer["id"]: answer for answer in answers}[1]["result"]["serverInfo"]["name"] == "hermesd"
    assert "Traceback" not in done.stderr


def test_what_was_asked_before_the_end_of_the_input_is_answered(modelled: Daemon, model: LlmockServer) -> None:
    """As a script does that writes its requests and closes the pipe; nobody is told only that the connection closed."""
    model.script(slow(0.5), {"type": "reply", "text": "at last", "times": 1})

    def calling(number: int, tool: str, **arguments: object) -> dict[str, Any]:
        params = {"name": tool, "arguments": arguments}
        return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}

    lines = [
        INITIALIZE,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        calling(2, "profiles_list"),
        calling(3, "messages_send", text="hello"),
    ]
    done = subprocess.run(
        command(),
        input="".join(json.dumps(line) + "\n" for line in lines),
        env={**os.environ, "HERMES_HOME": str(modelled.home)},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    answers = {answer["id"]: answer for answer in map(json.loads, done.stdout.splitlines())}
    assert (done.returncode, done.stderr, sorted(answers)) == (0, "", [1, 2, 3])
    assert answers[2]["result"]["structuredContent"]["profiles"]
    assert answers[3]["result"]["structuredContent"]["state"] == "done"


def test_without_an_input_it_says_what_is_wrong(daemon: Daemon) -> None:
    """A descriptor that was closed is no traceback."""
    line = f"exec {shlex.join(command())} <&-"
    environment = {**os.environ, "HERMES_HOME": str(daemon.home)}
    done = subprocess.run(["sh", "-c", line], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "standard input or output is closed" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_it_while_it_waits(daemon: Daemon) -> None:
    """A thread that waits for input does not keep it alive."""
    process = subprocess.Popen(
        command(),
        env={**os.environ, "HERMES_HOME": str(daemon.home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(WITHIN_S) == -signal.SIGINT


# -- HTTP --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": ""}, 401),
        ({"authorization": "Bearer a-token-for-tests-012345678"}, 401),
        ({"host": "evil.example.org"}, 421),
        ({"origin": "http://evil.example.org"}, 403),
        ({}, 200),
    ],
)
def test_only_the_token_from_a_right_place_gets_in(serving: Daemon, headers: dict[str, str], status: int) -> None:
    """And whoever does not is told why."""
    wanted = {name: value for name, value in {**TALKING, **headers}.items() if value}
    answer = httpx2.post(serving.mcp_url(), json=INITIALIZE, headers=wanted, timeout=WITHIN_S)
    assert answer.status_code == status, answer.text
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert TOKEN not in answer.text


def test_a_body_that_is_too_large_is_refused(serving: Daemon) -> None:
    """Whether it says so beforehand or not; without the token not even that is told."""
    large = b'"' + b"x" * (2 * 1024 * 1024) + b'"'
    fields = {**TALKING, "content-type": "application/json"}
    url = serving.mcp_url()
    assert httpx2.post(url, content=large, headers=fields, timeout=WITHIN_S).status_code == 413
    assert httpx2.post(url, content=iter([large]), headers=fields, timeout=WITHIN_S).status_code == 413
    del fields["authorization"]
    assert httpx2.post(url, content=b"", headers=fields, timeout=WITHIN_S).status_code == 401


def test_without_a_token_it_is_not_enabled(daemon: Daemon) -> None:
    """The refusal names the next step, and following it works."""
    daemon.start()
    refusal = daemon.ctl("config", "set", "mcp_serve.enabled", "true")
    assert refusal.returncode == 78
    assert "hermesctl config set mcp_serve.token" in refusal.stderr
    assert daemon.ctl("config", "set", "mcp_serve.token", TOKEN).returncode == 0
    assert daemon.ctl("config", "set", "mcp_serve.port", "0").returncode == 0
    assert daemon.ctl("config", "set", "mcp_serve.enabled", "true").returncode == 0
    assert TOKEN not in (daemon.home / "config.yaml").read_text()
    assert TOKEN not in daemon.ctl("config", "show").stdout


def test_a_reload_adds_it_changes_its_token_and_removes_it(daemon: Daemon) -> None:
    """Whoever has the old token is out at once."""
    daemon.start()
    assert "mcp-endpoint" not in daemon.ctl("tree").stdout
    daemon.write_config(SERVE, env=ENV)
    daemon.call("daemon.reload")
    assert status(daemon, TOKEN) == 200
    daemon.write_config(SERVE, env="MCP_SERVE_TOKEN=another-token-for-tests\n")
    daemon.call("daemon.reload")
    assert status(daemon, TOKEN) == 401
    assert status(daemon, "another-token-for-tests") == 200
    daemon.write_config("mcp_serve: {enabled: false}\n")
    daemon.call("daemon.reload")
    assert "mcp-endpoint" not in daemon.ctl("tree").stdout


def status(daemon: Daemon, token: str) -> int:
    """What a handshake with this token is answered."""
    fields = {**TALKING, "authorization": f"Bearer {token}"}
    return httpx2.post(daemon.mcp_url(), json=INITIALIZE, headers=fields, timeout=WITHIN_S).status_code


async def test_a_stop_answers_those_who_wait_and_does_not_wait_for_streams(
    modelled: Daemon, model: LlmockServer
) -> None:
    """The message is safe, and the sender is told how to get its answer."""
    model.script(slow(30))
    key = str(uuid.uuid4())
    told: list[dict[str, Any]] = []
    async with by_http(modelled) as session, trio.open_nursery() as nursery:

        async def ask() -> None:
            told.append(await refused(session, "messages_send", text="hello", idempotency_key=key))

        nursery.start_soon(ask)
        await until_asked(model)
        modelled.call("daemon.stop")
        assert await trio.to_thread.run_sync(modelled.wait) == 0
    assert key in told[0]["next_step"]


async def test_a_client_of_the_newest_revision_is_served_without_a_session(serving: Daemon) -> None:
    """2026-07-28 knows no handshake."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    with trio.fail_after(WITHIN_S):
        async with (
            httpx2.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}, timeout=WITHIN_S) as client,
            streamable_http_client(serving.mcp_url(), http_client=client) as streams,
            ClientSession(streams[0], streams[1]) as session,
        ):
            await session.discover()
            assert session.protocol_version == "2026-07-28"
            assert (await call(session, "messages_send", text="hello"))["state"] == "done"


def test_the_audit_log_has_the_message_and_not_its_text(serving: Daemon) -> None:
    """Who sent something, and that a program did."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    body["params"] = {"name": "messages_send", "arguments": {"text": "a secret word", "idempotency_key": "key-1"}}
    opened = httpx2.post(serving.mcp_url(), json=INITIALIZE, headers=TALKING, timeout=WITHIN_S)
    fields = {**TALKING, "mcp-session-id": opened.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
    answer = httpx2.post(serving.mcp_url(), json=body, headers=fields, timeout=WITHIN_S)
    assert answer.status_code == 200, answer.text
    logged = "".join(path.read_text() for path in (serving.home / "logs").glob("*audit*"))
    [line] = [line for line in logged.splitlines() if "key-1" in line and "wait" in line]
    assert "agent='True'" in line
    assert "a secret word" not in logged
