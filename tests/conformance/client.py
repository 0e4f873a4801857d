"""The client under test: a real hermesd on a home of its own, told what to do over its socket, never by the SDK.

The suite starts ``python -m tests.conformance.client URL`` with MCP_CONFORMANCE_SCENARIO,
MCP_CONFORMANCE_PROTOCOL_VERSION and, where a scenario hands out credentials, MCP_CONFORMANCE_CONTEXT (JSON). The exit
status is 0 when hermesd did what was asked, 1 when it refused or failed; which of them is right the scenario knows.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.servers.daemon import Daemon, Wire

NAME = "suite"
MODERN = "2026-07-28"
DOCUMENT = "https://conformance-test.local/client-metadata.json"
"""The client id metadata document that the suite knows; hermesd presents it where the server takes such."""
SIGN_IN_S = 20
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
        settings |= self._credentials()
        if auth:
            settings |= {"oauth.client_id": str(self.context.get("client_id") or DOCUMENT), "oauth.timeout": "10"}
        if "client_secret" in self.context:
            settings["oauth.client_secret"] = str(self.context["client_secret"])
        self._ctl("configure", NAME, *(word for key, value in settings.items() for word in ("--set", f"{key}={value}")))

    def _credentials(self) -> dict[str, str]:
        """Where no person signs in: the grant, and what the scenario hands out for it."""
        if self.scenario == "auth/wif-jwt-bearer":
            return {"oauth.grant": "jwt_bearer", "oauth.assertion_file": self._file("token", self.context["valid_jwt"])}
        if self.scenario == "auth/client-credentials-jwt":
            path = self._file("key.pem", self.context["private_key_pem"])
            return {"oauth.grant": "client_credentials", "oauth.private_key_file": path}
        if self.scenario == "auth/enterprise-managed-authorization":
            return {
                "oauth.grant": "id_jag",
                "oauth.id_token_file": self._file("id-token", self.context["idp_id_token"]),
                "oauth.idp_issuer": self.context["idp_issuer"],
                "oauth.idp_client_id": self.context["idp_client_id"],
            }
        if self.scenario == "auth/client-credentials-basic":
            return {"oauth.grant": "client_credentials"}
        return {}

    def _file(self, name: str, text: str) -> str:
        path = self.daemon.home.parent / name
        path.touch(mode=0o600)
        path.write_text(text)
        return str(path)

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
        """``mcp login``: the person opens the address it prints and agrees. Raises Failed."""
        if self.sign_ins == SIGN_INS:
            raise Failed("signed in often enough")
        self.sign_ins += 1
        argv = [sys.executable, "-m", "hermesctl", "mcp", "login", NAME]
        environment = {**os.environ, "HERMES_HOME": str(self.daemon.home)}
        with subprocess.Popen(
            argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("  http"):
                    visit(line.strip())
            _, errors = process.communicate(timeout=SIGN_IN_S)
        if process.returncode:
            raise Failed(f"hermesctl mcp login: {errors}")

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


def visit(url: str) -> None:
    """A browser: it follows redirects, the last of them to the listener of ``mcp login``."""
    with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(url, timeout=SIGN_IN_S) as answer:
        answer.read()


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


def use_given_calls(subject: Subject) -> None:
    """Make the calls that the scenario hands out, without the nulls: hermesd refuses what a schema does not allow."""
    subject.connect()
    for each in subject.context["toolCalls"]:
        subject.call(each["name"], {name: value for name, value in each["arguments"].items() if value is not None})


def echo_schema(subject: Subject) -> None:
    """Send back the schema that hermesd keeps of a tool; what it shows a model is bounded and resolved on purpose."""
    subject.connect()
    found = subject.daemon.call("mcp.definition", name=NAME, tool="json_schema_2020_12_tool")
    subject.call("json_schema_echo", {"schema": found["definition"]["inputSchema"]})


def use_in_chat(subject: Subject) -> None:
    """Have the model call each tool in a conversation, and answer what the server asks with its defaults."""
    subject.connect()
    with subject.daemon.connect() as wire:
        for tool in subject.tools():
            converse(wire, f"call {tool['name']} {{}}")


def converse(wire: Wire, text: str) -> None:
    """Say something, answer every question, and read on to the end of the turn. Raises Failed."""
    request = wire.send("chat.send", text=text)
    answers: set[int] = set()
    while True:
        frame = wire.read()
        if frame.get("id") == request and "method" not in frame:
            if "error" in frame or frame["result"]["state"] != "done":
                raise Failed(f"chat.send: {frame}")
            return
        if "error" in frame and frame.get("id") in answers:
            raise Failed(f"chat.answer: {frame}")
        question = frame.get("params", {}).get("question")
        if question:
            answers.add(wire.send("chat.answer", question=question["id"], answer=answer_to(question)))


def answer_to(question: dict[str, Any]) -> str:
    """``default`` where that is offered, else the first option."""
    return "default" if "`default`" in question["text"] else (question.get("options") or ["yes"])[0]


SPECIAL: dict[str, Callable[[Subject], None]] = {
    "initialize": Subject.connect,
    "request-metadata": Subject.connect,
    "json-schema-ref-no-deref": Subject.connect,
    "http-custom-headers": use_given_calls,
    "json-schema-2020-12-preservation": echo_schema,
    "elicitation-sep1034-client-defaults": use_in_chat,
    "sep-2322-client-request-state": use_in_chat,
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
