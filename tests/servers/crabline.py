"""Crabline's Telegram server (npm ``@openclaw/crabline``): long polls, offsets, 409 for two pollers, the 4096 limit.

From a shell: ``python -m tests.servers.crabline DIRECTORY`` serves until interrupted and prints the manifest. npm
installs it into ``tests/servers/node`` when it is first needed; ``CRABLINE_NODE_MODULES`` names another place.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NODE = Path(__file__).parent / "node"
PROGRAM = "@openclaw/crabline/dist/src/index.js"
HOST = Path(__file__).with_name("crabline_host.mjs")
ANSWER_S = 60.0


@dataclass
class Crabline:
    """A running server. ``base_url`` is the API root, ``token`` the bot's."""

    manifest: dict[str, Any]
    recorder: Path

    @property
    def base_url(self) -> str:
        return str(self.manifest["endpoints"]["apiRoot"])

    @property
    def token(self) -> str:
        return str(self.manifest["botToken"])

    @property
    def port(self) -> int:
        return int(self.base_url.rpartition(":")[2])

    def say(
        self, text: str, *, chat: int = 7, user: int = 7, username: str = "ada_l", **more: object
    ) -> dict[str, Any]:
        """Let a person write to the bot; returns the update (empty for kinds that the server does not deliver)."""
        body = {"chatId": chat, "fromId": user, "fromUsername": username, "fromName": "Ada", "text": text, **more}
        request = urllib.request.Request(
            self.manifest["endpoints"]["adminInboundUrl"],
            data=json.dumps(body).encode(),
            headers={"content-type": "application/json", "X-Crabline-Admin-Token": self.manifest["adminToken"]},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer).get("update", {})  # type: ignore[no-any-return]  # JSON of a third party

    def calls(self, method: str = "") -> list[dict[str, Any]]:
        """The bodies of the bot's calls so far, each with ``method`` and ``accepted``."""
        return [
            {**event["body"], "method": name, "accepted": event.get("accepted")}
            for event in self._events()
            if event["type"] == "api" and ((name := event["path"].rpartition("/")[2]) == method or not method)
        ]

    def shown(self, chat: int = 7) -> list[str]:
        """What the bot's messages in a chat read now: sent in order, with edits and deletions applied.

        The server numbers a chat's messages from 1, those of people included.
        """
        messages: dict[int, str] = {}
        number = 0
        for event in self._events():
            body, method = event["body"], event["path"].rpartition("/")[2]
            if str(body.get("chat_id", body.get("chatId"))) != str(chat) or event.get("accepted") is False:
                continue
            if event["type"] == "admin" or method == "sendMessage":
                number += 1
            if method == "sendMessage":
                messages[number] = body["text"]
            elif method == "editMessageText":
                assert int(body["message_id"]) in messages, "the server takes edits of messages that never were"
                messages[int(body["message_id"])] = body["text"]
            elif method == "deleteMessage":
                del messages[int(body["message_id"])]
        return list(messages.values())

    def _events(self) -> Iterator[dict[str, Any]]:
        if self.recorder.exists():
            for line in self.recorder.read_text().splitlines():
                yield json.loads(line)


def program() -> Path:
    """Crabline's module; installs it when it is not there yet."""
    named = os.environ.get("CRABLINE_NODE_MODULES")
    path = Path(named or NODE / "node_modules") / PROGRAM
    if not path.exists():
        lock_path = Path(tempfile.gettempdir()) / "hermesd-crabline-install.lock"
        with lock_path.open("w") as lock:  # one of several test processes installs
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                npm = shutil.which("npm")
                assert npm, "npm is needed to install Crabline"
                subprocess.run(
                    [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"],
                    cwd=NODE,
                    check=True,
                )
    return path


def telegram(directory: Path) -> contextlib.AbstractContextManager[Crabline]:
    """A Telegram server that keeps its files in ``directory``."""
    return serving("telegram", directory)


@contextlib.contextmanager
def serving(platform: str, directory: Path) -> Iterator[Crabline]:
    """Crabline's server for a platform (``telegram``, ``slack``, ``discord``), with its record in ``directory``."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    recorder = directory / "calls.jsonl"
    host = _host()
    manifest = host.ask(start=platform, recorder=str(recorder))
    try:
        yield Crabline(manifest, recorder)
    finally:
        host.ask(stop=str(recorder))


class Host:
    """The process that all servers of this test process run in: each has a port, a state and a record of its own."""

    def __init__(self) -> None:
        self._files = tempfile.TemporaryDirectory(prefix="hermesd-crabline-")
        self._log = Path(self._files.name, "host.log")
        locks = Path(self._files.name, "locks")
        locks.mkdir(mode=0o700)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["node", str(HOST), str(program())],
                env={**os.environ, "CRABLINE_RECORDER_LOCK_DIR": str(locks)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout

    def ask(self, **request: str) -> dict[str, Any]:
        """One request and its answer; fails the test with what the process says."""
        self._requests.write(json.dumps(request).encode() + b"\n")
        self._requests.flush()
        ready, _, _ = select.select([self._answers], [], [], ANSWER_S)
        line = self._answers.readline() if ready else b""
        assert line, f"Crabline does not answer: {self._log.read_text()}"
        answer: dict[str, Any] = json.loads(line)
        assert "error" not in answer, f"Crabline: {answer['error']}"
        return answer

    def close(self) -> None:
        self._requests.close()
        self._answers.close()
        self._process.kill()
        self._process.wait()
        self._files.cleanup()


@functools.cache
def _host() -> Host:
    host = Host()
    atexit.register(host.close)
    return host


def main() -> None:
    """Serve until interrupted."""
    with telegram(Path(sys.argv[1])) as server, contextlib.suppress(KeyboardInterrupt):
        print(json.dumps(server.manifest, indent=2))
        signal.pause()


if __name__ == "__main__":
    main()
