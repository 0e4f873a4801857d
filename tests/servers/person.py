"""A person who signs in to an MCP server by ``hermesctl mcp …``, beside a real hermesd."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import httpx2
import msgspec

from hermesd.mcp.oauth.metadata import Tokens
from hermesd.mcp.oauth.storage import TokenStorage
from tests.servers.daemon import Daemon
from tests.servers.oidc import Browser

ADDRESS = re.compile(r"^  (https?://\S+)$", re.MULTILINE)


@dataclass
class Signing:
    """One server, ``srv``, of the default profile."""

    daemon: Daemon
    resource: str

    def section(self, **oauth: Any) -> dict[str, Any]:
        """Its settings."""
        return {"url": self.resource, "auth": "oauth", "connect_timeout": 15, "oauth": {"timeout": 20, **oauth}}

    def configure(self, **oauth: Any) -> None:
        """Write config.yaml."""
        self.daemon.write_config(json.dumps({"mcp_servers": {"srv": self.section(**oauth)}}) + "\n")

    @property
    def storage(self) -> TokenStorage:
        return TokenStorage(self.daemon.home / "mcp-tokens", "srv")

    @property
    def tokens(self) -> Tokens:
        found = self.storage.read_tokens()
        assert found is not None
        return found

    def write(self, **changes: Any) -> None:
        """Change the token file as another program might."""
        self.storage.write_tokens(msgspec.structs.replace(self.tokens, **changes))

    def expire(self) -> None:
        """The access token's life is over, as the file has it."""
        self.write(expires_at=time.time() - 5)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """``hermesctl mcp …`` without a terminal; every address that it prints is visited to the end."""
        command = [sys.executable, "-m", "hermesctl", "mcp", *arguments]
        with subprocess.Popen(
            command,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            seen = ""
            for line in process.stdout:
                seen += line
                if found := ADDRESS.match(line):
                    come_back(found[1])
            return subprocess.CompletedProcess(command, process.wait(30), seen, seen)

    def environment(self, **more: str) -> dict[str, str]:
        """Of hermesctl: no display, unless one is given."""
        kept = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
        return {**kept, "HERMES_HOME": str(self.daemon.home), **more}

    def state(self) -> str:
        """Of the server, once it is ready or needs somebody."""
        return str(self.daemon.call("mcp.test", name="srv")["state"])

    def call(self, tool: str, **arguments: Any) -> str:
        """A tool's text; it must succeed."""
        found = self.daemon.call("mcp.call", name="srv", tool=tool, arguments=arguments)
        assert not found.get("is_error"), found
        return str(found["text"])

    def add(self, one: int, other: int) -> str:
        """The tool that the servers of the tests have; the sum, however the server words it."""
        return re.sub(r"\D+", "", self.call("add", one=one, other=other))


def come_back(url: str) -> None:
    """The browser follows the redirect to the listener."""
    with httpx2.Client(trust_env=False, timeout=60) as client:
        client.get(Browser().visit(url))
