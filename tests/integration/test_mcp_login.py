"""``hermesctl mcp login`` and its like, beside a real hermesd, with authorization servers and MCP servers of others."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from hermesd.mcp.oauth.metadata import Tokens
from hermesd.mcp.oauth.storage import TokenStorage
from tests.servers.daemon import Daemon
from tests.servers.mcp_auth import sdk_server
from tests.servers.oidc import AuthorizationServer, Browser


@pytest.fixture(scope="module")
def protected() -> Iterator[AuthorizationServer]:
    with sdk_server() as server:
        yield server


def configure(daemon: Daemon, server: AuthorizationServer, **more: Any) -> None:
    section = {"url": server.resource, "auth": "oauth", "connect_timeout": 10, "oauth": {"timeout": 20}, **more}
    daemon.write_config(json.dumps({"mcp_servers": {"srv": section}}) + "\n")


def storage_of(daemon: Daemon) -> TokenStorage:
    return TokenStorage(daemon.home / "mcp-tokens", "srv")


def tokens_of(daemon: Daemon) -> Tokens:
    found = storage_of(daemon).read_tokens()
    assert found is not None
    return found


def come_back(url: str) -> None:
    """The person's browser follows the redirect to the listener."""
    with httpx2.Client(trust_env=False, timeout=10) as client:
        client.get(Browser().visit(url))


def sign_in(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a verb without a terminal, read the address it prints, and be the person."""
    command = [sys.executable, "-m", "hermesctl", "mcp", *arguments]
    environment = {**os.environ, "HERMES_HOME": str(daemon.home)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        seen = ""
        for line in process.stdout:
            seen += line
            if found := re.fullmatch(r"  (https?://\S+)\n", line):
                come_back(found[1])
        _, errors = process.communicate(timeout=30)
        return subprocess.CompletedProcess(command, process.returncode, seen, errors)


def state(daemon: Daemon) -> str:
    [row] = daemon.call("mcp.list")["servers"]
    return str(row["state"])


def await_state(daemon: Daemon, wanted: str) -> None:
    """Wait for the server to be ready or to need a person; ``mcp.test`` returns when it is either."""
    assert daemon.call("mcp.test", name="srv")["state"] == wanted


def test_a_sign_in_is_used_by_the_daemon_at_once(daemon: Daemon, protected: AuthorizationServer) -> None:
    """O6: state auth with the command to run; after it the daemon has reconnected by itself within a second."""
    configure(daemon, protected)
    daemon.start()
    await_state(daemon, "auth")
    with daemon.connect() as wire:
        wire.send("events.watch")
        event = wire.until("events.event")["event"]
        while event["kind"] != "mcp.needs_reauth":
            event = wire.until("events.event")["event"]
    assert "hermesctl mcp login srv" in json.dumps(event["data"])
    done = sign_in(daemon, "login", "srv")
    assert done.returncode == 0, done.stderr
    assert "signed in to srv; it is ready, " in done.stdout
    result = daemon.call("mcp.call", name="srv", tool="add", arguments={"one": 1, "other": 2})
    assert "3" in result["text"]
