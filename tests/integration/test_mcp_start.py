"""How many programs start at once: those that wait for us leave their place, those that work keep it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

from hermesd.config.schema import McpServerConfig
from hermesd.mcp import backoff, owner, sdk
from hermesd.mcp.process import ServerProcess, is_asleep, is_at_rest
from hermesd.mcp.server import McpServer
from hermesd.tools.terminal.leftovers import Mark, find
from hermesd.tools.terminal.local import Spawn
from tests.waiting import until

MINIMAL = str(Path(__file__).parents[1] / "servers" / "mcp_minimal.py")
BUSY = "while True: pass"
COUNT = 6


def server(name: str, *arguments: str) -> McpServer:
    config = McpServerConfig(command=sys.executable, args=["-I", "-S", *arguments])
    return McpServer("default", name, config, tag="start:")


@pytest.fixture
def loading(monkeypatch: pytest.MonkeyPatch) -> trio.Event:
    """The SDK's import, which lasts until this event; there are two places, and time gives none of them back."""
    sdk._import(sdk.MODULES)
    over, load = trio.Event(), sdk.load

    async def wait(*, http: bool) -> None:
        await over.wait()
        await load(http=http)

    monkeypatch.setattr(sdk, "load", wait)
    monkeypatch.setattr(sdk, "is_loaded", over.is_set)
    monkeypatch.setattr(backoff, "SLOT_S", 3600.0)
    monkeypatch.setattr(owner, "starts", backoff.StartLimit(2))
    return over


async def test_programs_start_while_the_sdk_is_imported_and_all_are_ready_after_it(loading: trio.Event) -> None:
    """One that waits for us leaves its place to the next; two by two they are greeted."""
    servers = [server(f"s{number}", MINIMAL) for number in range(COUNT)]
    async with trio.open_nursery() as nursery:
        for each in servers:
            await nursery.start(each.run)
        with trio.fail_after(60):
            await until(lambda: all(each.pid for each in servers))
            assert {each.state for each in servers} == {"connecting"}
            loading.set()
            assert all([await each.wait_ready(60) for each in servers])
        nursery.cancel_scope.cancel()


async def test_a_program_that_still_works_keeps_its_place(loading: trio.Event) -> None:
    """Two that never come to rest: none of the others is started beside them, meanwhile."""
    busy = [server(f"b{number}", "-c", BUSY) for number in range(2)]
    other = server("other", MINIMAL)
    async with trio.open_nursery() as nursery:
        for each in busy:
            await nursery.start(each.run)
        with trio.fail_after(60):
            await until(lambda: all(each.pid for each in busy))
        await nursery.start(other.run)
        with trio.move_on_after(10 * owner.LOOK_S):
            await until(lambda: other.pid != 0)
        assert other.pid == 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("program", "expected"), [("input()", True), (BUSY, False)])
async def test_a_process_is_asleep_when_it_waits(tmp_path: Path, program: str, expected: bool) -> None:
    """Looked at in /proc; a busy one is looked at in vain."""
    process = ServerProcess(Spawn([sys.executable, "-I", "-S", "-c", program], tmp_path, {}, "start:x"))
    try:
        with trio.move_on_after(60 if expected else 0.5):
            await until(lambda: is_asleep(process.pid))
        assert is_asleep(process.pid) is expected
    finally:
        await process.end(grace_s=0)
    assert is_asleep(process.pid)


async def test_the_import_itself_takes_a_place_where_there_are_several() -> None:
    """It keeps a processor busy; where there is one place, programs and the import share it."""
    for places, left in ((3, 2), (1, 1)):
        limit = backoff.StartLimit(places)
        async with trio.open_nursery() as nursery:
            with limit.one_less():
                for _ in range(left):
                    await limit.take(nursery)
                with trio.move_on_after(0.05) as waiting:
                    await limit.take(nursery)
            assert waiting.cancelled_caught
            if places > left:
                with trio.fail_after(60):
                    await limit.take(nursery)
            nursery.cancel_scope.cancel()


async def test_a_program_that_ends_before_the_sdk_is_there_says_why(loading: trio.Event) -> None:
    """Its status and its last words, as of one that ends later."""
    subject = server("short", "-c", "import sys; print('no licence', file=sys.stderr); sys.exit(3)")
    async with trio.open_nursery() as nursery:
        await nursery.start(subject.run)
        with trio.fail_after(60):
            await until(lambda: subject.pid != 0)
            await until(lambda: is_asleep(subject.pid))
            loading.set()
            await until(lambda: bool(subject.last_error))
        assert subject.last_error == "the server exited with status 3 (stderr: no licence)"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:9/mcp"])
async def test_a_server_that_is_taken_away_while_the_sdk_is_imported_is_gone_at_once(
    loading: trio.Event, url: str
) -> None:
    """Disabled, reloaded or stopped: nothing waits for the import, and no program stays."""
    subject = McpServer("default", "http", McpServerConfig(url=url)) if url else server("stdio", MINIMAL, "deaf")
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(subject.run)
            if not url:
                await until(lambda: subject.pid != 0)
            nursery.cancel_scope.cancel()
    assert find(Mark(subject.tag, exact=True)) == []
    assert not loading.is_set()


ASLEEP = "input()"
BUSY_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-I', '-S', '-c', {BUSY!r}])"
BUSY_THREAD = "import threading\ndef work():\n    while True: pass\nthreading.Thread(target=work).start()\ninput()"
SLEEPING_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-I', '-S', '-c', {ASLEEP!r}])"


@pytest.mark.parametrize(
    ("program", "expected"),
    [(ASLEEP, True), (SLEEPING_CHILD, True), (BUSY, False), (BUSY_CHILD, False), (BUSY_THREAD, False)],
)
async def test_a_program_rests_when_all_that_it_has_started_waits(tmp_path: Path, program: str, expected: bool) -> None:
    """Its children and its threads: ``npx`` and ``uvx`` only wait for what they have started."""
    process = ServerProcess(Spawn([sys.executable, "-I", "-S", "-c", program], tmp_path, {}, "start:x"))
    try:
        with trio.fail_after(30):
            if expected:
                await until(lambda: is_at_rest(process.pid))
            elif program != BUSY:
                await until(lambda: is_asleep(process.pid))
        looks = 20 if not expected else 1
        for _ in range(looks):
            assert is_at_rest(process.pid) is expected
            await trio.sleep(0.01)
    finally:
        await process.end(grace_s=0)
    assert is_at_rest(process.pid)


@pytest.fixture
def one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the SDK there; time gives no place back."""
    sdk._import(sdk.MODULES)
    monkeypatch.setattr(backoff, "SLOT_S", 3600.0)
    monkeypatch.setattr(owner, "starts", backoff.StartLimit(1))


@pytest.mark.usefixtures("one_place")
async def test_programs_that_never_answer_leave_their_places() -> None:
    """Ten that hang, one place: all of them are started, and the healthy one behind them is ready."""
    hung = [server(f"h{number}", "-c", ASLEEP + ";" + ASLEEP) for number in range(10)]
    healthy = server("healthy", MINIMAL)
    async with trio.open_nursery() as nursery:
        for each in (*hung, healthy):
            await nursery.start(each.run)
        assert await healthy.wait_ready(60)
        assert all(each.pid for each in hung)
        assert {each.state for each in hung} == {"connecting"}
        nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("one_place")
async def test_a_program_whose_child_works_keeps_its_place() -> None:
    """Though it sleeps itself."""
    wrapper, other = server("wrapper", "-c", BUSY_CHILD), server("other", MINIMAL)
    async with trio.open_nursery() as nursery:
        await nursery.start(wrapper.run)
        with trio.fail_after(30):
            await until(lambda: wrapper.pid != 0)
        await nursery.start(other.run)
        with trio.move_on_after(8 * owner.REST_S):
            await until(lambda: other.pid != 0)
        assert other.pid == 0
        nursery.cancel_scope.cancel()
