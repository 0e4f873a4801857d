"""The plugins' own environment, built by the real uv, and a real hermesd that finds its plugins there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from hermesd.activation.plugins import declared_plugins, link_plugins
from hermesd.activation.sidecar import Outcome, Sidecar, build_sidecar
from tests.servers.daemon import Daemon
from tests.servers.plugin_home import GREET, enabling, write_plugin
from tests.servers.uv_program import build_wheel, uv_directory, written_wheel

INDEX = "humanize==4.12.0"
"""A small package without dependencies."""

COUNT = """
import humanize

def register(ctx):
    ctx.register_tool(
        "commas", schema={"type": "object"}, effect="read_only", handler=lambda given: humanize.intcomma(given["n"])
    )
"""


@pytest.fixture
def home(daemon: Daemon) -> Iterator[int]:
    """The open home of a daemon that does not run yet."""
    fd = os.open(daemon.home, os.O_RDONLY)
    yield fd
    os.close(fd)


def build(home: int, daemon: Daemon, *specs: str | Path) -> Outcome:
    environ = {**os.environ, "PATH": f"{uv_directory()}:{os.environ['PATH']}"}
    return build_sidecar(home, Sidecar(specs=[str(spec) for spec in specs]), str(daemon.home), environ=environ)


def ask(daemon: Daemon, text: str) -> str:
    return str(daemon.call("chat.send", text=text)["text"])


def test_a_plugin_from_a_wheel_is_found_by_its_entry_point_and_called_by_a_turn(
    daemon: Daemon, home: int, tmp_path: Path
) -> None:
    """Built by hatchling, installed by uv; a spec that fails afterwards leaves it in force."""
    wheel = build_wheel(tmp_path, "greeter", GREET, name="hermes-greeter")
    outcome = build(home, daemon, wheel)
    assert (outcome.state, outcome.warning) == ("built", "")
    daemon.write_config(enabling("greeter"))
    daemon.start()
    shown = daemon.ctl("plugins", "show", "greeter").stdout
    assert "hermes-greeter 1.0 (greeter)" in shown
    assert "hello Ada" in ask(daemon, 'call greet {"who": "Ada"}')
    failed = build(home, daemon, tmp_path / "absent-1.0-py3-none-any.whl")
    assert (failed.state, failed.name) == ("kept", outcome.name)
    assert "the one before stays" in failed.warning
    assert daemon.stop() == 0
    daemon.start()
    assert "hello Ada" in ask(daemon, 'call greet {"who": "Ada"}')


def test_what_a_plugin_needs_comes_from_the_package_index(daemon: Daemon, home: int, tmp_path: Path) -> None:
    """uv resolves its dependency; where there is no index, this is skipped with uv's reason."""
    wheel = build_wheel(tmp_path, "counter", COUNT, needs=INDEX)
    outcome = build(home, daemon, wheel)
    if outcome.state == "kept" and "humanize" in outcome.warning:
        pytest.skip(outcome.warning)
    assert (outcome.state, outcome.warning) == ("built", "")
    daemon.write_config(enabling("counter"))
    daemon.start()
    assert "1,234,567" in ask(daemon, 'call commas {"n": 1234567}')


def test_packages_that_would_shadow_hermesds_own_are_refused(daemon: Daemon, home: int, tmp_path: Path) -> None:
    """A dependency in another version, and another package with a dependency's module; the old environment stays."""
    before = build(home, daemon, written_wheel(tmp_path, "harmless", "1.0", {"harmless/__init__.py": ""}))
    assert before.state == "built"
    other = build(home, daemon, written_wheel(tmp_path, "msgspec", "99.0", {"msgspec/__init__.py": ""}))
    assert (other.state, other.name) == ("kept", before.name)
    assert f"msgspec=={metadata.version('msgspec')}" in other.warning
    module = build(home, daemon, written_wheel(tmp_path, "evil", "1.0", {"trio/__init__.py": "", "evil.py": ""}))
    assert (module.state, module.name) == ("kept", before.name)
    assert "evil 1.0 brings the module 'trio', which is trio's" in module.warning


def test_a_name_that_a_directory_and_a_package_claim_is_nobodys(daemon: Daemon, home: int, tmp_path: Path) -> None:
    """Neither runs until one of them is removed."""
    point = "[hermes_agent.plugins]\ngreeter = greeter_package\n"
    wheel = written_wheel(tmp_path, "greeter-package", "1.0", {"greeter_package/__init__.py": GREET}, points=point)
    assert build(home, daemon, wheel).state == "built"
    write_plugin(daemon.home, "greeter")
    daemon.write_config(enabling("greeter"))
    daemon.start()
    ask(daemon, "hello")  # a turn waits until plugins are loaded or have failed
    [row] = daemon.call("plugins.list")["plugins"]
    assert row["state"] == "failed"
    assert "two plugins have this name" in row["error"]


def test_a_linked_directory_plugin_works_like_one_that_lies_there(daemon: Daemon, home: int, tmp_path: Path) -> None:
    """What activation links is found, its modules import each other, and two profiles do not share its globals."""
    source = write_plugin(tmp_path, "counted", COUNTED)
    (source / "state.py").write_text("count = 0\n")
    link_plugins(home, declared_plugins([str(source)], "manifest"), str(daemon.home))
    daemon.write_config(enabling("counted"))
    daemon.write_config(enabling("counted"), profile="other")
    daemon.start()
    assert "count 1" in ask(daemon, "call count {}")
    assert "count 2" in ask(daemon, "call count {}")
    assert "count 1" in str(daemon.call("chat.send", text="call count {}", profile="other")["text"])


COUNTED = """
from . import state

def count(arguments, context):
    state.count += 1
    return f"count {state.count} in {context.workspace.name}"

def register(ctx):
    ctx.register_tool("count", schema={"type": "object"}, handler=count, effect="read_only")
"""
