"""Plugins in a real hermesd: found, enabled, called by a turn, and contained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hermesd.config.plain import tree_of
from tests.servers.daemon import Daemon
from tests.servers.plugin_home import GREET, enabling, write_plugin


def ask(daemon: Daemon, text: str) -> str:
    """One turn of the offline model; what it answers."""
    return str(daemon.call("chat.send", text=text)["text"])


def test_a_turn_calls_the_tool_of_an_enabled_plugin(daemon: Daemon) -> None:
    """A directory with plugin.yaml and register(ctx), named in config.yaml, is a tool of the model."""
    write_plugin(daemon.home, "greeter")
    daemon.write_config(enabling("greeter"))
    daemon.start()
    assert "hello Ada" in ask(daemon, 'call greet {"who": "Ada"}')


def rows(daemon: Daemon) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in daemon.call("plugins.list")["plugins"]}


def test_nothing_runs_that_is_not_enabled(daemon: Daemon, tmp_path: Path) -> None:
    """A plugin that only lies there is listed, and none of its code has run."""
    trace = tmp_path / "ran"
    write_plugin(daemon.home, "greeter", f"open({str(trace)!r}, 'w').close()\n{GREET}")
    daemon.start()
    assert rows(daemon)["greeter"]["state"] == "disabled"
    assert daemon.ctl("plugins", "show", "greeter").returncode == 0
    assert not trace.exists()
    assert "hello" not in ask(daemon, 'call greet {"who": "Ada"}')


def test_enable_and_disable_take_effect_at_once_and_keep_comments(daemon: Daemon) -> None:
    """The file says what was chosen, its comments stay, and the next turn has or lacks the tool."""
    write_plugin(daemon.home, "greeter")
    daemon.write_config("# mine\nagent: {max_turns: 5}  # few\n")
    daemon.start()
    done = daemon.ctl("plugins", "enable", "greeter")
    assert (done.returncode, done.stdout) == (0, "greeter is enabled; its tools: greet\n")
    assert "# mine" in (text := (daemon.home / "config.yaml").read_text())
    assert "# few" in text
    assert "hello Ada" in ask(daemon, 'call greet {"who": "Ada"}')
    shown = daemon.ctl("plugins", "show", "greeter").stdout
    assert all(words in shown for words in ("greet", "read only", "1.0.0"))
    assert daemon.ctl("plugins", "disable", "greeter").returncode == 0
    assert "hello" not in ask(daemon, 'call greet {"who": "Ada"}')
    again = daemon.ctl("plugins", "disable", "greeter")
    assert again.returncode == 1
    assert "is not enabled" in again.stderr


def test_enabling_again_loads_the_files_as_they_are_now(daemon: Daemon) -> None:
    """A plugin under work needs no restart of the daemon, nor does one that failed and was mended."""
    place = write_plugin(daemon.home, "greeter", "raise ValueError('not yet')\n")
    daemon.start()
    failed = daemon.ctl("plugins", "enable", "greeter")
    assert failed.returncode == 1
    assert "plugin greeter: cannot be imported: ValueError: not yet" in failed.stderr
    (place / "__init__.py").write_text(GREET)
    assert daemon.ctl("plugins", "enable", "greeter").returncode == 0
    (place / "__init__.py").write_text(GREET.replace("hello", "welcome"))
    assert daemon.ctl("plugins", "enable", "greeter").returncode == 0
    assert "welcome Ada" in ask(daemon, 'call greet {"who": "Ada"}')
    assert daemon.ctl("config", "set", "plugins.timeout", "5").returncode == 0
    daemon.call("daemon.reload")
    assert "welcome Ada" in ask(daemon, 'call greet {"who": "Ada"}')  # a turn waits until it is loaded again
    assert "read only  5 s" in daemon.ctl("plugins", "show", "greeter").stdout


def test_plugins_that_misbehave_leave_the_daemon_and_each_other_alone(daemon: Daemon) -> None:
    """One raises, one hangs, one exits, one registers nonsense; the last works, and all of it is told."""
    write_plugin(daemon.home, "raises", "raise RuntimeError('boom')\n")
    write_plugin(daemon.home, "hangs", "import threading\nthreading.Event().wait()\n")
    write_plugin(daemon.home, "exits", "import sys\ndef register(ctx):\n    sys.exit(3)\n")
    write_plugin(daemon.home, "shadows", GREET.replace('"greet"', '"read_file"'))
    write_plugin(daemon.home, "hooks", "def register(ctx):\n    ctx.register_hook('pre_tool_call', print)\n")
    write_plugin(daemon.home, "greeter")
    names = ["raises", "hangs", "exits", "shadows", "hooks", "absent", "greeter"]
    daemon.write_config(enabling(*names, load_timeout=1))
    daemon.start()
    assert "hello Ada" in ask(daemon, 'call greet {"who": "Ada"}')
    found = rows(daemon)
    assert [found[name]["state"] for name in names] == ["failed"] * 6 + ["ready"]
    expected = [
        "boom",
        "did not finish loading within 1 s",
        "SystemExit",
        "'read_file'",
        "ctx.register_hook",
        "not there",
    ]
    for name, words in zip(names, expected, strict=False):
        assert words in found[name]["error"]
    doctor = daemon.ctl("doctor")
    assert doctor.returncode == 1
    assert all(f"plugins/{name}" in doctor.stdout for name in names[:6])
    assert "plugin raises: cannot be imported: RuntimeError: boom" in daemon.output
    assert daemon.stop() == 0


MISBEHAVED = """
import asyncio, sys, threading
import trio

async def sleepy(arguments):
    await trio.sleep_forever()

async def asyncs(arguments):
    await asyncio.sleep(0)
    return "from asyncio"

CASES = {
    "raises": lambda arguments: 1 / 0,
    "leaves": lambda arguments: sys.exit(3),
    "hangs": lambda arguments: threading.Event().wait(),
    "sleeps": sleepy,
    "mistyped": lambda arguments: object(),
    "on_trio": asyncs,
    "json": lambda arguments: {"a": [1, arguments["n"]]},
}

def register(ctx):
    for name, handler in CASES.items():
        ctx.register_tool(name, schema={"type": "object", "properties": {}}, handler=handler, effect="read_only")
    ctx.register_tool("on_asyncio", schema={"type": "object"}, handler=asyncs, is_async=True, effect="read_only")
"""


def test_calls_that_misbehave_are_answered_in_the_plugins_name(daemon: Daemon) -> None:
    """Whatever a handler does, the turn goes on with a sentence that names the plugin."""
    write_plugin(daemon.home, "odd", MISBEHAVED)
    daemon.write_config(enabling("odd", timeout=2))
    daemon.start()
    said = {
        "raises": "raises of the plugin 'odd' failed: ZeroDivisionError: division by zero.",
        "leaves": "leaves of the plugin 'odd' failed: SystemExit: 3.",
        "hangs": "hangs of the plugin 'odd' was given up after 2 s.",
        "sleeps": "sleeps of the plugin 'odd' was given up after 2 s.",
        "mistyped": "mistyped of the plugin 'odd' gave back object instead of text or JSON.",
        "on_trio": "it must be registered with is_async=True",
        "on_asyncio": "from asyncio",
        "json": '{"a":[1,2]}',
    }
    for name, words in said.items():
        assert words in ask(daemon, f'call {name} {{"n": 2}}'), name
    assert daemon.stop() == 0


def test_without_a_daemon_the_file_is_changed_and_no_code_runs(daemon: Daemon, tmp_path: Path) -> None:
    """What counts when one is started; a name that is nobody's is refused."""
    trace = tmp_path / "ran"
    write_plugin(daemon.home, "greeter", f"open({str(trace)!r}, 'w').close()\n{GREET}")
    done = daemon.ctl("plugins", "enable", "greeter")
    assert done.returncode == 0
    assert "no daemon is running" in done.stdout
    assert not trace.exists()
    unknown = daemon.ctl("plugins", "enable", "greter")
    assert unknown.returncode == 1
    assert "there is no plugin 'greter'\n  → did you mean 'greeter'?" in unknown.stderr
    daemon.start()
    assert "hello Ada" in ask(daemon, 'call greet {"who": "Ada"}')
    assert trace.exists()


def test_changes_of_config_yaml_that_come_together_are_all_kept(daemon: Daemon) -> None:
    """Plugins and MCP servers are switched in the same file."""
    names = [f"p{number}" for number in range(3)]
    for name in names:
        write_plugin(daemon.home, name, "def register(ctx): pass")
    servers = {name: {"command": "true", "enabled": True} for name in names}
    daemon.write_config(json.dumps({"mcp_servers": servers}))
    daemon.start()
    with daemon.connect() as one, daemon.connect() as other:
        for name in names:
            requests = one.send("plugins.enable", name=name), other.send("mcp.disable", name=name)
            one.result(requests[0])
            other.result(requests[1])
    path = daemon.home / "config.yaml"
    found = tree_of(path.read_bytes(), str(path))
    assert found["plugins"]["enabled"] == names
    assert [found["mcp_servers"][name]["enabled"] for name in names] == [False] * 3


@pytest.mark.parametrize("running", [False, True])
def test_what_is_known_not_to_load_is_not_enabled(daemon: Daemon, running: bool) -> None:
    """With a daemon and without one: what is wrong, and config.yaml stays as it is."""
    write_plugin(daemon.home, "unnamed", manifest="- a list\n")
    if running:
        daemon.start()
    refused = daemon.ctl("plugins", "enable", "unnamed")
    assert refused.returncode == 1
    manifest = daemon.home / "plugins/unnamed/plugin.yaml"
    assert f"plugin unnamed: plugin.yaml:1: is not a mapping of keys\n  → correct {manifest}" in refused.stderr
    assert not (daemon.home / "config.yaml").exists()


@pytest.mark.parametrize("running", [False, True])
def test_where_plugins_are_declared_elsewhere_switching_is_refused(daemon: Daemon, running: bool) -> None:
    """Status 78, the manager's name and its command; other keys stay editable."""
    write_plugin(daemon.home, "greeter")
    (daemon.home / ".managed").write_text("NixOS\nrebuild=nixos-rebuild switch\nkeys=plugins.enabled\n")
    if running:
        daemon.start()
    done = daemon.ctl("plugins", "enable", "greeter")
    assert done.returncode == 78
    assert "cannot enable the plugin greeter: this installation is managed by NixOS" in done.stderr
    assert "nixos-rebuild switch" in done.stderr
    assert not (daemon.home / "config.yaml").exists()
    assert daemon.ctl("config", "set", "agent.max_turns", "5").returncode == 0


def test_a_variable_that_a_plugin_needs_is_asked_for_and_taken_up_once_it_is_there(daemon: Daemon) -> None:
    """``requires_env`` of plugin.yaml: the next step is the command that sets it, and then it loads by itself."""
    code = """
    def register(ctx):
        ctx.register_tool("key", schema={"type": "object"}, effect="read_only", handler=lambda _: ctx.env["GREET_MODE"])
    """
    write_plugin(daemon.home, "greeter", code, manifest="name: greeter\nrequires_env: [GREET_MODE]\n")
    daemon.start()
    refused = daemon.ctl("plugins", "enable", "greeter")
    assert refused.returncode == 1
    assert "needs GREET_MODE, which is not set" in refused.stderr
    assert "`hermesctl config set GREET_MODE -`" in refused.stderr
    assert daemon.ctl("config", "set", "GREET_MODE", "friendly").returncode == 0
    daemon.call("daemon.reload")
    assert "friendly" in ask(daemon, "call key {}")


def test_what_a_daemon_was_killed_in_the_middle_of_goes_on_with_the_plugins_tool(daemon: Daemon) -> None:
    """Turns that are taken up at the start wait until the plugins are loaded, so the model still has the tool."""
    write_plugin(daemon.home, "greeter", f"import time\ntime.sleep(1)\n{GREET}")
    daemon.write_config(enabling("greeter"))
    daemon.start()
    with daemon.connect() as wire:
        wire.send("chat.send", text='call greet {"who": "Ada"}')
        wire.until("chat.update", kind="accepted")
        daemon.kill()
    daemon.start()
    with daemon.connect() as wire:
        wire.send("events.watch")
        while wire.until("events.event")["event"]["kind"] != "turn.finished":
            pass
    [session] = daemon.call("sessions.list")["sessions"]
    messages = daemon.call("sessions.show", session=session["id"])["messages"]
    assert "hello Ada" in messages[-1]["text"]
