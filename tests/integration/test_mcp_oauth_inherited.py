"""A sign-in that hermes-agent has left, for a server whose name is not safe as a file, through a real hermesd."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue

import pytest

from tests.servers.daemon import MCP, Daemon

pytestmark = pytest.mark.loaded(MCP)

TOKENS = {"access_token": "of-hermes-agent", "token_type": "Bearer", "expires_at": 9e9}


@contextmanager
def listening() -> Iterator[tuple[str, SimpleQueue[str]]]:
    """An address that refuses everything, and what it is shown in Authorization."""
    shown: SimpleQueue[str] = SimpleQueue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            shown.put(self.headers.get("authorization", ""))
            self.send_error(503)

        def log_message(self, *_words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/mcp", shown
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def home(daemon: Daemon, url: str) -> Path:
    """With the server ``my.server`` and its file of tokens."""
    daemon.write_config(json.dumps({"mcp_servers": {"my.server": {"url": url, "auth": "oauth"}}}))
    path = daemon.home / "mcp-tokens" / "my_server.json"
    path.parent.mkdir(mode=0o700)
    path.write_text(json.dumps(TOKENS))
    path.chmod(0o600)
    return path


def test_the_daemon_shows_the_tokens_that_hermes_agent_has_got(daemon: Daemon) -> None:
    """Nobody has to sign in again."""
    with listening() as (url, shown):
        home(daemon, url)
        daemon.start()
        assert shown.get(timeout=60) == "Bearer of-hermes-agent"
        daemon.stop()


def test_a_person_signs_out_of_it(daemon: Daemon) -> None:
    """hermesctl finds the same file, without a daemon; until then nobody has to sign in."""
    with listening() as (url, _):
        path = home(daemon, url)
        assert daemon.ctl("mcp", "reauth", "--all").returncode == 0
        done = daemon.ctl("mcp", "logout", "my.server")
        assert done.returncode == 0, done.stderr
        assert not path.exists()
