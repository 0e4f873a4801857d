"""The Twilio API of PyPI's ``mockpost``, a message emulator of other people; none of its other servers is started.

Installed on first use into ``hermesd-tests/mockpost`` of the user's cache directory, because it needs other versions of
libraries than we do; ``twilio`` raises SkipTest where it cannot be had.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import time
import unittest
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = "mockpost==0.3.0"
INSTALL_S = 300
START_S = 30.0
PROGRAM = """
import contextlib, sys, uvicorn
from fastapi import FastAPI
from mockpost import db
from mockpost.routers import api_messages, twilio

@contextlib.asynccontextmanager
async def lifespan(app):
    await db.init_db()
    yield
    await db.close_db()

app = FastAPI(lifespan=lifespan)
app.include_router(twilio.router)
app.include_router(api_messages.router)
uvicorn.run(app, fd=int(sys.argv[1]), log_level="warning")
"""


@dataclass
class Mockpost:
    """A running server; ``url`` is the root of its Twilio API."""

    url: str
    root: str

    def messages(self) -> list[dict[str, Any]]:
        """What it has taken, oldest first."""
        with urllib.request.urlopen(f"{self.root}/api/messages", timeout=60) as answer:
            found = json.load(answer)
        return sorted(found, key=lambda message: str(message.get("created_at", "")))


def _python() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hermesd-tests/mockpost"
    cache.parent.mkdir(parents=True, exist_ok=True)
    with (cache.parent / "mockpost.lock").open("w") as lock:  # one of several test processes installs
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / ".done").exists():
            try:
                subprocess.run([sys.executable, "-m", "venv", "--clear", cache], check=True, capture_output=True)
                install = [cache / "bin/python", "-m", "pip", "install", "-q", PACKAGE]
                subprocess.run(install, check=True, capture_output=True, timeout=INSTALL_S)
            except (OSError, subprocess.SubprocessError) as error:
                raise unittest.SkipTest(f"mockpost cannot be installed: {error}") from error
            (cache / ".done").touch()
    return cache / "bin/python"


@contextlib.contextmanager
def twilio(directory: Path) -> Iterator[Mockpost]:
    """A server on loopback that keeps its files in ``directory``, and asks for a login."""
    python = _python()
    with (directory / "mockpost.log").open("wb") as log, socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        root = f"http://127.0.0.1:{listening.getsockname()[1]}"
        process = subprocess.Popen(
            [python, "-c", PROGRAM, str(listening.fileno())],
            cwd=directory,
            env={"PATH": os.environ["PATH"], "MOCKPOST_DB_PATH": str(directory / "m.db"), "MOCKPOST_STRICT_AUTH": "1"},
            pass_fds=[listening.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            _await(root, process)
            yield Mockpost(f"{root}/twilio", root)
        finally:
            process.kill()
            process.wait()


def _await(root: str, process: subprocess.Popen[bytes]) -> None:
    """Until it answers: the socket takes connections from the beginning."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{root}/api/messages", timeout=START_S):
            return
    raise AssertionError("mockpost did not start")
