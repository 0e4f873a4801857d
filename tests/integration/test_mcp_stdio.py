"""MCP servers as processes: real ones, made to misbehave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from hermesd.config.schema import McpServerConfig
from hermesd.mcp import sdk
from hermesd.mcp.errors import McpError
from hermesd.mcp.following import Following
from hermesd.mcp.server import McpServer
from hermesd.mcp.stdio import MESSAGES_A_SECOND, MESSAGES_BURST_S
from hermesd.tools.terminal.leftovers import Mark, find, reap_leftovers
from tests.servers import everything
from tests.servers.descriptors import open_descriptors
from tests.standing_clock import standing_still
from tests.waiting import until

MINIMAL = Path(__file__).parents[1] / "servers" / "mcp_minimal.py"
SOAK = bool(os.environ.get("HERMESD_SOAK"))
TOO_LONG_S = 900.0 if SOAK else 120.0


COUNT = 300 if SOAK else 10
"""How often something is killed."""


def minimal(*modes: str, **more: object) -> McpServerConfig:
    """The configuration of the minimal server in these modes."""
    return McpServerConfig(command=sys.executable, args=["-I", "-S", str(MINIMAL), *modes], **more)  # type: ignore[arg-type]  # as given


def server(config: McpServerConfig, name: str = "minimal") -> McpServer:
    return McpServer("default", name, config, tag="test:")


@asynccontextmanager
async def running(*servers: McpServer) -> AsyncIterator[None]:
    """The servers under their owners; all gone afterwards."""
    with trio.fail_after(TOO_LONG_S):
        async with trio.open_nursery() as nursery:
            for each in servers:
                await nursery.start(each.run)
            yield
            nursery.cancel_scope.cancel()


async def error_of(call: Callable[[], Awaitable[object]], into: list[McpError]) -> None:
    """Keep the error of a call that fails."""
    try:
        await call()
    except McpError as error:
        into.append(error)


def p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


async def is_dead(pid: int) -> None:
    """Return once the process has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    await trio.lowlevel.wait_readable(fd)
    os.close(fd)


async def state(subject: McpServer, *wanted: str) -> None:
    """Return once the server is in one of these states."""
    while subject.state not in wanted:
        await subject._changed.wait()


def words(answer: dict[str, list[dict[str, str]]]) -> str:
    return answer["content"][0]["text"]


async def test_a_call_reaches_the_server_and_its_answer_comes_back() -> None:
    """The shortest way through all of it."""
    subject = server(minimal())
    async with running(subject):
        assert await subject.wait_ready(30)
        assert words(await subject.call_tool("echo", {"text": "Grüße"})) == "Grüße"
        assert subject.server_info["name"] == "minimal"
        assert [tool["name"] for tool in subject.tools][:2] == ["echo", "pid"]
        assert subject.era == "2025-11-25"


async def test_a_call_under_way_is_told_at_once_when_the_server_dies(clock: MockClock) -> None:
    """S1: a structured error by the death itself, while no clock goes; 50 ms in the long form."""
    subject = server(minimal())
    took: list[float] = []
    errors: list[McpError] = []
    async with running(subject):
        for _ in range(300 if SOAK else 5):
            await subject.call_tool("pid")
            with standing_still(clock):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(error_of, lambda: subject.call_tool("sleep", {"seconds": 600}), errors)
                    await trio.testing.wait_all_tasks_blocked(0.05)
                    started = time.perf_counter()
                    os.kill(subject.pid, signal.SIGKILL)
            took.append(time.perf_counter() - started)
    assert {error.kind for error in errors} == {"down"}
    assert len(errors) == len(took)
    assert all("SIGKILL" in error.what for error in errors)
    if SOAK:
        assert p99(took) < 0.05


async def test_an_idle_death_is_seen_without_traffic_and_the_next_call_works(clock: MockClock) -> None:
    """S2 and S3: noticed, and answered by a new process, while no clock goes: nothing polls or is waited out."""
    subject = server(minimal())
    noticed, answered = [], []
    async with running(subject):
        for _ in range(COUNT):
            before = int(words(await subject.call_tool("pid")))
            with standing_still(clock):
                started = time.perf_counter()
                os.kill(before, signal.SIGKILL)
                await state(subject, "connecting")
                noticed.append(time.perf_counter() - started)
                assert int(words(await subject.call_tool("pid"))) != before
                answered.append(time.perf_counter() - started)
    assert subject.restarts == COUNT
    if SOAK:
        assert p99(noticed) < 0.1
        assert sorted(answered)[COUNT // 2] < 0.15  # p99 on a machine that does nothing else: see the benchmarks


async def test_a_thousand_kills_would_leave_nothing_behind() -> None:
    """S4, thirty of them: descriptors, tasks and children, zombies among them, are as before; after all, memory too."""
    subject = server(minimal())

    async def cycles(count: int) -> tuple[int, int, int]:
        """Kill and call so often; descriptors, tasks and children (proc_pid_task(5)) afterwards."""
        for _ in range(count):
            os.kill(int(words(await subject.call_tool("pid"))), signal.SIGKILL)
            await state(subject, "connecting")
            await subject.call_tool("pid")
        await trio.testing.wait_all_tasks_blocked(0.01)
        children = sum(len(path.read_text().split()) for path in Path("/proc/self/task").glob("*/children"))
        tasks = trio.lowlevel.current_statistics().tasks_living
        return open_descriptors(), tasks, children

    def rss() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    async with running(subject):
        before = await cycles(100 if SOAK else 1)
        memory = rss()
        assert await cycles(1000 if SOAK else 30) == before
        if SOAK:
            print(f"1,000 cycles: {(rss() - memory) / 1e6:+.2f} MB")
            assert rss() - memory <= 2_000_000
        assert len(find(Mark(subject.tag, exact=True))) == 1


@pytest.mark.parametrize("mode", ["grandchild", "setsid", "stay", "deaf", "plain"])
async def test_nothing_is_alive_after_the_end(mode: str) -> None:
    """S5: whatever it started and whatever it ignores; within 5 s, by the long form."""
    subject = server(minimal(mode, "stay" if mode == "deaf" else mode))
    async with running(subject):
        assert await subject.wait_ready(30)
        assert len(find(Mark(subject.tag, exact=True))) == (2 if mode in ("grandchild", "setsid") else 1)
        started = time.perf_counter()
    assert find(Mark(subject.tag, exact=True)) == []
    if SOAK:
        assert time.perf_counter() - started < 5


async def test_a_connect_that_times_out_leaves_no_child() -> None:
    """S7: not before connect_timeout, by the long form 0.5 s after it at most, and the process is gone."""
    await sdk.load(http=False)  # once in a process's life, and not this server's time
    subject = server(minimal("hang", connect_timeout=1.0))
    started = time.perf_counter()
    async with running(subject):
        await until(lambda: bool(subject.last_error))
        took = time.perf_counter() - started
        assert took >= 1.0
        if SOAK:
            assert took < 1.5
        assert "no session within 1 s" in subject.last_error
    assert find(Mark(subject.tag, exact=True)) == []


async def test_a_cancelled_connect_leaves_no_child(clock: MockClock) -> None:
    """S7: the daemon may stop at any moment, and gives a server that has said nothing no time to end by itself."""
    subject = server(minimal("hang", "deaf"))
    with standing_still(clock):
        async with running(subject):
            await until(lambda: subject.pid != 0)
    assert find(Mark(subject.tag, exact=True)) == []


async def test_twenty_servers_start_and_stop_together_while_the_loop_stays_free() -> None:
    """S8 and S9 in small: some ignore everything, all are gone; within 5 s, by the long form."""
    modes = [("deaf", "stay") if number < 3 else () for number in range(20)]
    subjects = [server(minimal(*each), f"m{number}") for number, each in enumerate(modes)]
    async with running(*subjects):
        for subject in subjects:
            assert await subject.wait_ready(30)
        started = time.perf_counter()
    if SOAK:
        assert time.perf_counter() - started < 5
    assert [pid for subject in subjects for pid in find(Mark(subject.tag, exact=True))] == []


async def test_a_line_of_40_mb_is_taken_and_one_above_the_cap_recycles_this_server_only() -> None:
    """P2: and the next call works in both cases. (That its cost is linear: see the framing's unit tests.)"""
    subject, other = server(minimal(max_message_bytes=50_000_000)), server(minimal(), "other")
    async with running(subject, other):
        pid = words(await other.call_tool("pid"))
        assert len(words(await subject.call_tool("big", {"bytes": 40_000_000}))) == 40_000_000
        with pytest.raises(McpError, match="more than 50000000 bytes"):
            await subject.call_tool("big", {"bytes": 60_000_000})
        assert words(await subject.call_tool("echo", {"text": "again"})) == "again"
        assert words(await other.call_tool("pid")) == pid


async def test_a_call_costs_little_more_than_with_the_bare_sdk() -> None:
    """P1: processor time of this thread, in rounds taken in turn; 100 µs more, of which the benchmarks tell."""
    from mcp.client.session import ClientSession
    from mcp.client.stdio import StdioServerParameters, stdio_client

    async def cost_s(call: Callable[..., Awaitable[object]]) -> float:
        began = time.thread_time()
        for _ in range(100):
            await call("echo", {"text": "x"})
        return (time.thread_time() - began) / 100

    parameters = StdioServerParameters(command=sys.executable, args=["-I", "-S", str(MINIMAL)])
    subject = server(minimal())
    async with running(subject), stdio_client(parameters) as (read, write), ClientSession(read, write) as bare:
        await bare.initialize()
        rounds = [(await cost_s(subject.call_tool), await cost_s(bare.call_tool)) for _ in range(20 if SOAK else 5)]
    ours, theirs = map(min, zip(*rounds, strict=True))
    print(f"a call costs {1e6 * ours:.0f} µs, with the bare SDK {1e6 * theirs:.0f} µs")
    assert ours < 2 * theirs
    if SOAK:
        assert sorted(one - other for one, other in rounds)[len(rounds) // 2] < 200e-6


async def test_a_flood_on_stderr_costs_others_nothing_and_is_kept_short() -> None:
    """S10: the last lines are kept; the flood is read slowly."""
    subject = server(minimal("flood"))
    async with running(subject):
        assert words(await subject.call_tool("echo", {"text": "through"})) == "through"
        assert 0 < len(subject.stderr()) <= 100


async def test_a_flood_of_messages_is_heard_at_a_bounded_speed(
    clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S10: valid ones, so nothing is wrong with it, but each costs the loop; a call is answered among them."""
    heard = 0

    async def hear(self: Following, message: object) -> None:
        nonlocal heard
        heard += 1

    def bound() -> float:
        return MESSAGES_A_SECOND * (trio.current_time() - began + MESSAGES_BURST_S + 0.1)

    monkeypatch.setattr(Following, "hear", hear)
    subject = server(minimal("chatter"))
    began = trio.current_time()
    answers: list[str] = []

    async def call() -> None:
        answers.append(words(await subject.call_tool("echo", {"text": "through"})))

    async with running(subject):
        assert await subject.wait_ready(30)
        with standing_still(clock):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call)
                while not answers or heard < MESSAGES_A_SECOND * (MESSAGES_BURST_S + 1):
                    await trio.testing.wait_all_tasks_blocked(0.02)
                    assert 0 < heard <= bound()
                    clock.jump(0.2)
    assert answers == ["through"]


async def test_noise_on_stdout_ends_in_a_recycled_server() -> None:
    """A program that is no MCP server is not read for ever."""
    subject = server(minimal("noise"))
    async with running(subject):
        await state(subject, "backoff")
        assert "no messages" in subject.last_error


async def test_what_a_server_says_in_the_wrong_place_is_told_when_it_does_not_get_up() -> None:
    """A banner on its output instead of an answer: the most usual mistake of a server, and of a wrong command."""
    subject = server(minimal("hang", "banner", connect_timeout=1.0))
    async with running(subject):
        await state(subject, "backoff")
        assert subject.last_error == "no session within 1 s (no message on its output: Listening [31m on stdio)"


async def test_an_error_of_megabytes_is_short_and_has_no_controls() -> None:
    """It goes to logs, terminals and models, wherever the server has failed."""
    subject = server(minimal("refuse"))
    async with running(subject):
        await state(subject, "backoff")
        assert subject.last_error.startswith("the server answered: no [31m such line")
        assert len(subject.last_error) <= 1000
        assert subject.last_error.isprintable()
    subject = server(minimal("refuse-calls"))
    async with running(subject):
        with pytest.raises(McpError, match="the server answered: no ") as caught:
            await subject.call_tool("echo")
        assert caught.value.kind == "tool"  # whatever the code: -32000 is also the SDK's for a lost connection
        assert len(caught.value.what) < 5000
        assert "\x1b" not in caught.value.what


async def test_a_server_that_crashes_at_the_start_is_tried_again_with_its_words_kept() -> None:
    """The reason names the status and what it wrote last."""
    subject = server(minimal("crash"))
    began = time.time()
    async with running(subject):
        await state(subject, "backoff")
        assert "exited with status 3" in subject.last_error
        assert "cannot go on" in subject.last_error
        assert subject.next_try_at > began
        assert not await subject.wait_ready(0.1)


async def test_a_missing_program_is_an_error_that_names_it() -> None:
    """It is tried again, because it may be installed meanwhile."""
    subject = server(McpServerConfig(command="no-such-program-at-all"))
    async with running(subject):
        await state(subject, "backoff")
        assert "no-such-program-at-all" in subject.last_error
        with pytest.raises(McpError) as caught:
            await subject.call_tool("echo", timeout_s=0.1)
        assert caught.value.kind == "down"


async def test_a_server_without_command_and_url_has_failed() -> None:
    """Nothing is started, and nothing is tried again by itself."""
    subject = server(McpServerConfig())
    async with running(subject):
        await state(subject, "failed")
        assert "neither command nor url" in subject.last_error


async def test_a_call_that_takes_too_long_is_given_up_and_others_go_on() -> None:
    """The error is a timeout, and the server is still there."""
    subject = server(minimal())
    async with running(subject):
        pid = words(await subject.call_tool("pid"))
        with pytest.raises(McpError) as caught:
            await subject.call_tool("sleep", {"seconds": 600}, timeout_s=0.2)
        assert caught.value.kind == "timeout"
        assert words(await subject.call_tool("pid")) == pid


async def test_a_cancelled_call_returns_at_once_from_a_server_that_reads_nothing(clock: MockClock) -> None:
    """H2: a stopped process; the call does not wait for it at all, the teardown 3 s at most, by the long form."""
    subject = server(minimal())
    async with running(subject):
        await subject.call_tool("pid")
        os.kill(subject.pid, signal.SIGSTOP)
        with standing_still(clock):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(subject.call_tool, "echo", {"text": "x" * 1_000_000})
                await trio.testing.wait_all_tasks_blocked(0.05)
                nursery.cancel_scope.cancel()
        started = time.perf_counter()
    assert find(Mark(subject.tag, exact=True)) == []
    if SOAK:
        assert time.perf_counter() - started < 3


async def test_a_burst_of_list_changed_is_two_lists_at_most_and_one_event() -> None:
    """L1: the new tool is seen by itself."""
    events = []
    subject = McpServer(
        "default", "m", minimal(), on_change=lambda found, what: events.append((what, len(found.tools)))
    )
    async with running(subject):
        assert await subject.wait_ready(30)
        count = len(subject.tools)
        await subject.call_tool("more")
        while len(subject.tools) == count:
            await subject._changed.wait()
        assert [event for event in events if event[0] == "tools"] == [("tools", count), ("tools", count + 1)]


async def test_an_idle_server_is_ended_and_comes_back_for_the_next_call() -> None:
    """idle_timeout_seconds: its tools stay known meanwhile."""
    subject = server(minimal(idle_timeout_seconds=0.2))
    async with running(subject):
        assert await subject.wait_ready(30)
        await state(subject, "idle")
        assert subject.tools
        assert words(await subject.call_tool("echo", {"text": "back"})) == "back"
        assert subject.restarts == 0


async def test_a_lazy_server_with_known_tools_is_started_by_its_first_call() -> None:
    """lifecycle: lazy."""
    tools = [{"name": "echo", "inputSchema": {"type": "object"}}]
    subject = McpServer("default", "m", minimal(lifecycle="lazy"), cached_tools=tools)
    async with running(subject):
        await state(subject, "idle")
        assert subject.pid == 0
        assert words(await subject.call_tool("echo", {"text": "up"})) == "up"


async def test_reconnect_starts_another_process() -> None:
    """By hand, and it is no failure."""
    subject = server(minimal())
    async with running(subject):
        pid = words(await subject.call_tool("pid"))
        subject.reconnect()
        await state(subject, "connecting")
        assert words(await subject.call_tool("pid")) != pid
        assert subject.restarts == 0


async def test_a_child_has_the_allowed_environment_and_what_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 18: nothing of the daemon's own, and the tag by which the boot reaper finds it."""
    monkeypatch.setenv("SECRET_OF_THE_DAEMON", "x")
    subject = server(minimal(env={"TOKEN": "y", "LITERAL": "${MINE}"}))  # references are resolved with the settings
    async with running(subject):
        assert await subject.wait_ready(30)
        environ = dict(
            item.split("=", 1) for item in Path(f"/proc/{subject.pid}/environ").read_text().split("\0") if item
        )
    assert (environ["TOKEN"], environ["LITERAL"]) == ("y", "${MINE}")
    assert environ["HERMESD_PROCESS"] == subject.tag
    assert "SECRET_OF_THE_DAEMON" not in environ


async def test_the_reference_server_answers_and_comes_back_after_a_kill() -> None:
    """S3 with npm server-everything: tools, resources, prompts, a kill, the next call."""
    subject = server(McpServerConfig(command="node", args=[str(everything.program()), "stdio"]), "everything")
    async with running(subject):
        assert words(await subject.call_tool("echo", {"message": "hello"})) == "Echo: hello"
        assert len((await subject.list_resources())["resources"]) > 0
        assert len((await subject.list_prompts())["prompts"]) > 0
        uri = (await subject.list_resources())["resources"][0]["uri"]
        assert (await subject.read_resource(uri))["contents"]
        started = time.perf_counter()
        os.kill(subject.pid, signal.SIGKILL)
        await state(subject, "connecting")
        assert words(await subject.call_tool("echo", {"message": "again"})) == "Echo: again"
        if SOAK:
            assert time.perf_counter() - started < 5  # 700 ms on a machine that does nothing else


async def test_servers_of_a_killed_daemon_are_ended_by_the_next_one() -> None:
    """S6: five that outlive the end of their input bear the home's tag, and the boot reaper finds them by it."""
    prefix = f"{os.urandom(8).hex()}:"
    program = f"""
import sys, trio
from hermesd.config.schema import McpServerConfig
from hermesd.mcp.server import McpServer
async def main():
    config = McpServerConfig(command=sys.executable, args=["-I", "-S", {str(MINIMAL)!r}, "stay", "deaf"])
    async with trio.open_nursery() as nursery:
        servers = [McpServer("default", str(n), config, tag={prefix!r}) for n in range(5)]
        for each in servers:
            nursery.start_soon(each.run)
        for each in servers:
            await each.wait_ready(30)
        print("up", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""
    with trio.fail_after(TOO_LONG_S):
        async with trio.open_nursery() as nursery:
            daemon = await nursery.start(
                partial(trio.run_process, [sys.executable, "-c", program], stdout=subprocess.PIPE, check=False)
            )
            assert (await daemon.stdout.receive_some()).startswith(b"up")
            daemon.kill()
        assert len(find(Mark(prefix))) == 5
        started = time.perf_counter()
        assert await reap_leftovers(prefix, grace_s=0.5) == 5
    if SOAK:
        assert time.perf_counter() - started < 2
    assert find(Mark(prefix)) == []


def test_the_sdk_is_not_imported_before_the_first_server_starts() -> None:
    """P3: half a second and 55 MB."""
    check = "import sys, hermesd.mcp.server; sys.exit(bool({'mcp', 'httpx2', 'anyio'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
