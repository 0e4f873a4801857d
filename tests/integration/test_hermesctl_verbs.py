"""hermesctl processes against a real RPC server over a real store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from hermesd.config.schema import RpcConfig
from hermesd.rpc.listen import open_listener
from hermesd.rpc.server import RpcServer
from hermesd.rpc.wire import ReloadResult
from hermesd.store.records import Address, NewEvent
from tests.servers.panel import Panel, service


@dataclass
class Ctl:
    """Runs hermesctl as its script does, against a served panel."""

    panel: Panel

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "HERMES_HOME": str(self.panel.home.root)}

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-c", "import sys, hermesctl.fast as f; sys.exit(f.run(sys.argv))"]

    async def __call__(self, *argv: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        with trio.fail_after(30):
            done = await trio.run_process(
                [*self.command, *argv],
                env=self.environment,
                stdin=stdin,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        return subprocess.CompletedProcess(argv, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
async def ctl(tmp_path: Path) -> AsyncIterator[Ctl]:
    """A panel with its RPC server, and hermesctl."""
    panel = Panel.open(tmp_path / "home")
    listener = open_listener(panel.home)
    settings = RpcConfig()
    server = RpcServer(panel, listener, rpc_settings=lambda: settings, audit=lambda _: None)
    async with trio.open_nursery() as nursery:
        await nursery.start(panel.store.run)
        await nursery.start(lambda task_status: server.run(task_status=task_status))
        yield Ctl(panel)
        nursery.cancel_scope.cancel(reason="the test is over")
    listener.close()
    panel.store.close()


async def test_read_only_verbs_are_rendered_by_the_daemon(ctl: Ctl) -> None:
    """Alike on the fast path and by the parser."""
    fast = await ctl("tree")
    assert fast.returncode == 0
    assert fast.stdout.splitlines()[0].startswith("hermesd")
    with trio.fail_after(30):
        command = [sys.executable, "-m", "hermesctl", "tree"]
        parsed = await trio.run_process(command, env=ctl.environment, capture_stdout=True)
    assert parsed.stdout.decode() == fast.stdout


async def test_errors_of_rendered_verbs_are_errors(ctl: Ctl) -> None:
    """Status and standard error."""
    done = await ctl("sessions", "show", "nope")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("hermesctl: ")


async def test_profiles_are_made_and_removed(ctl: Ctl) -> None:
    """Each change is one call; a clash is status 1 with a next step, a bad name status 2."""
    assert (await ctl("profile", "create", "coder", "--clone")).returncode == 0
    assert ctl.panel.done[-1] == ("create_profile", "coder", "default", "")
    assert "coder" in (await ctl("profile", "list")).stdout
    clash = await ctl("profile", "create", "coder")
    assert clash.returncode == 1
    assert "→ choose another name" in clash.stderr
    assert (await ctl("profile", "create", "../x")).returncode == 2
    assert (await ctl("profile", "use", "coder")).returncode == 0
    unsure = await ctl("profile", "delete", "coder")
    assert (unsure.returncode, "--yes" in unsure.stderr) == (2, True)
    assert (await ctl("profile", "delete", "coder", "--yes")).returncode == 0


async def test_gateways_and_services_are_started_and_stopped(ctl: Ctl) -> None:
    """By profile, by -p, all of them; by path."""
    ctl.panel.add_profile("coder")
    done = await ctl("gateway", "start", "coder")
    assert done.returncode == 0
    await ctl("-p", "coder", "gateway", "stop")
    await ctl("gateway", "restart", "--all")
    await ctl("service", "restart", "profile/coder/turns")
    assert ctl.panel.done[:2] == [("start_gateway", "coder"), ("stop_gateway", "coder")]
    assert {("restart_gateway", "default"), ("restart_gateway", "coder")} <= set(ctl.panel.done)
    assert ctl.panel.done[-1] == ("restart_service", "profile/coder/turns")
    assert (await ctl("service", "stop", "nothing")).returncode == 1


async def test_a_parked_message_is_dropped(ctl: Ctl) -> None:
    """The decision is one call, its result JSON if wanted."""
    event = NewEvent(
        profile="default",
        source="telegram",
        delivery_id="1",
        session_key="k",
        text="deploy",
        address=Address(platform="telegram"),
    )
    [accepted] = await ctl.panel.store.accept([event])
    session = await ctl.panel.store.open_session("default", "k", source="telegram")
    turn = (await ctl.panel.store.begin_turn(accepted.id, session_id=session.id)).turn
    await ctl.panel.store.finish_turn(turn.id, state="parked", inbox_state="parked")
    done = await ctl("inbox", "drop", str(accepted.id), "--json")
    assert done.returncode == 0
    assert "dropped" in json.loads(done.stdout)["message"]
    assert (await ctl("inbox", "drop", str(accepted.id))).returncode == 1


async def test_a_refused_reload_is_a_configuration_error(ctl: Ctl) -> None:
    """Status 78 and file:line; what was applied is told as well."""
    ctl.panel.reloaded = ReloadResult(applied=["profile/a"], refused=["config.yaml:3: unknown key 'modle'"])
    done = await ctl("reload")
    assert done.returncode == 78
    assert done.stdout == "restarted profile/a\n"
    assert "config.yaml:3: unknown key 'modle'" in done.stderr


async def test_rpc_methods_are_called_by_hand(ctl: Ctl) -> None:
    """With an object of parameters; anything else is a usage error."""
    done = await ctl("rpc", "call", "daemon.tree")
    assert json.loads(done.stdout)["root"]["name"] == "hermesd"
    done = await ctl("rpc", "call", "events.list", "-", stdin=b'{"limit": 1}')
    assert json.loads(done.stdout)["events"] == []
    assert (await ctl("rpc", "call", "daemon.tree", "[1]")).returncode == 2
    assert (await ctl("rpc", "call", "no.such")).returncode == 2
    assert json.loads((await ctl("rpc", "schema")).stdout)["openrpc"]


async def test_events_are_followed_until_the_reader_leaves(ctl: Ctl) -> None:
    """New ones appear as they happen; Ctrl-C ends the client with 130."""
    process = await trio.lowlevel.open_process(
        [*ctl.command, "events", "--follow", "--since", "0"], env=ctl.environment, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        seen = b""
        with trio.fail_after(60):
            await ctl.panel.store.record_event("service.ready", subject="first")
            while b"first" not in seen:
                seen += await process.stdout.receive_some()
            await ctl.panel.store.record_event("service.failed", subject="second", data={"error": "gone"})
            while b"second error=gone" not in seen:
                seen += await process.stdout.receive_some()
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
    finally:
        process.kill()


async def test_a_tree_of_a_thousand_services_is_printed_whole(ctl: Ctl) -> None:
    """Through the frame, the parser and the pipe."""
    ctl.panel.root = service("hermesd", "ready", *(service(f"s{number}") for number in range(1000)))
    assert (await ctl("tree")).stdout.count("\n") == 1001


@pytest.mark.parametrize("verb", ["status", "reload", "inbox retry 1", "events --follow", "stop", "rpc schema"])
async def test_without_a_daemon_the_next_step_is_said(verb: str, tmp_path: Path) -> None:
    """Status 69."""
    done = await trio.run_process(
        [sys.executable, "-m", "hermesctl", *verb.split()],
        env={**os.environ, "HERMES_HOME": str(tmp_path)},
        capture_stderr=True,
        check=False,
    )
    assert done.returncode == 69
    assert "hermesd" in done.stderr.decode().splitlines()[1]


async def test_doctor_and_version_work_without_a_daemon(tmp_path: Path) -> None:
    """And see a readable secret."""
    tmp_path.chmod(0o700)
    (tmp_path / ".env").write_text("TOKEN=x")
    (tmp_path / ".env").chmod(0o644)
    environment = {**os.environ, "HERMES_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "hermesctl"]
    done = await trio.run_process([*command, "doctor"], env=environment, capture_stdout=True, check=False)
    assert done.returncode == 1
    assert "chmod 600" in done.stdout.decode()
    done = await trio.run_process([*command, "version"], env=environment, capture_stdout=True)
    assert done.stdout.decode().splitlines()[1] == "hermesd is not running"
