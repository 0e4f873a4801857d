"""The client under test: a real hermesd on a home of its own, told what to do over its socket, never by the SDK.

The suite starts ``python -m tests.conformance.client URL`` with MCP_CONFORMANCE_SCENARIO,
MCP_CONFORMANCE_PROTOCOL_VERSION and, where a scenario hands out credentials, MCP_CONFORMANCE_CONTEXT (JSON). The exit
status is 0 when hermesd did what was asked, 1 when it refused or failed; which of them is right the scenario knows.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from hermesd.config.load import load_settings
from hermesd.home import Home
from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.login import Surface
from hermesd.mcp.oauth.manager import OAuthManager
from tests.servers.daemon import Daemon
from tests.servers.oidc import Browser, opening

NAME = "suite"
MODERN = "2026-07-28"
DOCUMENT = "https://conformance-test.local/client-metadata.json"
"""The client id metadata document that the suite knows; hermesd presents it where the server takes such."""
SIGN_INS = 3
"""How often the person at the keyboard signs in before they give up."""


class Failed(Exception):  # noqa: N818 - the end of the driver, not an error of it
    """hermesd did not get to where the scenario leads; the text is what it said."""


class Subject:
    """A daemon with the scenario's server configured, and the person who uses it."""

    def __init__(self, home: Path, url: str) -> None:
        self.scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
        self.version = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "")
        self.context: dict[str, Any] = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
        self.url = url
        self.daemon = Daemon(home)
        self.sign_ins = 0

    def configure(self) -> None:
        """``mcp add`` and ``mcp configure``, before the daemon is there."""
        self.daemon.home.mkdir(mode=0o700)
        auth = ["--auth", "oauth"] if self.scenario.startswith("auth/") else []
        self._ctl("add", NAME, "--url", self.url, "--connect-timeout", "10", *auth)
        settings = {"timeout": "15", "era": "modern" if self.version >= MODERN else "legacy"}
        if auth:
            settings |= {"oauth.client_id": str(self.context.get("client_id") or DOCUMENT), "oauth.timeout": "10"}
        if "client_secret" in self.context:
            settings["oauth.client_secret"] = str(self.context["client_secret"])
        self._ctl("configure", NAME, *(word for key, value in settings.items() for word in ("--set", f"{key}={value}")))

    def _ctl(self, *arguments: str) -> None:
        done = self.daemon.ctl("mcp", *arguments)
        if done.returncode:
            raise Failed(f"hermesctl mcp {arguments[0]}: {done.stderr}")

    def connect(self) -> None:
        """Have a session, signing in where the server wants that. Raises Failed."""
        while True:
            found = self.daemon.call("mcp.test", name=NAME)
            if found["ok"]:
                return
            if found["state"] != "auth":
                raise Failed(f"no session: {found}")
            self.sign_in()

    def sign_in(self) -> None:
        """``mcp login``: the person opens the URL, agrees, and the browser comes back. Raises Failed."""
        if self.sign_ins == SIGN_INS:
            raise Failed("signed in often enough")
        self.sign_ins += 1
        config = load_settings(Home(self.daemon.home).profile("default")).config.mcp_servers[NAME]
        manager = OAuthManager(self.daemon.home / "mcp-tokens")
        surface = Surface(lambda text: print(text, file=sys.stderr), opening(Browser()))
        try:
            trio.run(manager.login, NAME, self.url, config, surface)
        except McpError as error:
            raise Failed(f"sign-in: {error}") from None
        self.daemon.call("mcp.restart", name=NAME)

    def tools(self) -> list[dict[str, Any]]:
        """What the server offers, by its own names."""
        return [each for each in self.daemon.call("mcp.tools", name=NAME)["tools"] if each["kind"] == "tool"]

    def call(self, tool: str, arguments: dict[str, Any]) -> str:
        """``mcp.call``, once more after each sign-in that it leads to. Raises Failed."""
        while True:
            found = self.daemon.call("mcp.call", name=NAME, tool=tool, arguments=arguments)
            if not found.get("is_error"):
                return str(found["text"])
            if not found.get("needs_reauth"):
                raise Failed(f"{tool}: {found['text']}")
            self.sign_in()


def use(subject: Subject) -> None:
    """Connect, list the tools and call each of them."""
    subject.connect()
    for tool in subject.tools():
        subject.call(tool["tool"], arguments_for(tool["parameters"]))


def arguments_for(schema: dict[str, Any]) -> dict[str, Any]:
    """An object that fits a tool's schema, as a model would write one."""
    made = {"number": 2, "integer": 2, "string": "text", "boolean": True, "array": [], "object": {}}
    properties = schema.get("properties", {})
    return {name: made.get(str(each.get("type")), "text") for name, each in properties.items()}


SPECIAL: dict[str, Callable[[Subject], None]] = {
    "initialize": Subject.connect,
    "request-metadata": Subject.connect,
    "json-schema-ref-no-deref": Subject.connect,
}
"""Scenarios that want something other than ``use``."""


def main(url: str) -> int:
    """Run the scenario that the environment names."""
    with tempfile.TemporaryDirectory(prefix="h") as name:
        subject = Subject(Path(name) / "home", url)
        subject.configure()
        subject.daemon.start()
        try:
            SPECIAL.get(subject.scenario, use)(subject)
        except Failed as failed:
            print(failed, file=sys.stderr)
            print(subject.daemon.output[-4000:], file=sys.stderr)
            return 1
        finally:
            subject.daemon.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
