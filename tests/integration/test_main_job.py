"""The main job: a message comes in on each surface, the model calls a tool that really reads a file, the answer leaves.

The model server (llmock), the Telegram server (Crabline) and nc are other people's programs, on loopback.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import crabline
from tests.servers.crabline import Crabline
from tests.servers.daemon import HTTP, Daemon
from tests.servers.llmock import LlmockServer, run_llmock

pytestmark = pytest.mark.loaded(HTTP)

SECRET_LINE = "the cat sleeps at 14:07 on the red sofa"
ANSWER = "It sleeps on the red sofa."


@pytest.fixture(scope="module")
def model() -> Iterator[LlmockServer]:
    with run_llmock() as running:
        yield running


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Crabline]:
    with crabline.telegram(tmp_path / "crabline") as running:
        yield running


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def config(model: LlmockServer, wire: str = "openai") -> str:
    return f"""\
model:
  default: test-model
  provider: {wire}
  base_url: {model.base_url(wire)}
  api_key: k-test
"""


def script_the_model(model: LlmockServer, path: str) -> None:
    """First the model calls read_file, then it answers."""
    model.reset()
    model.script(
        {"type": "reply", "tool_calls": [{"name": "read_file", "arguments": {"path": path}}], "times": 1},
        {"type": "reply", "text": ANSWER, "times": 1},
    )


def put_file(daemon: Daemon) -> str:
    workspace = daemon.home / "workspace"
    workspace.mkdir(mode=0o700, exist_ok=True)
    (workspace / "cat.txt").write_text(SECRET_LINE + "\n")
    return "cat.txt"


def saw_the_file(model: LlmockServer) -> bool:
    """Whether the last request to the model held what stands in the file."""
    return SECRET_LINE in json.dumps(model.requests()[-1])


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_a_telegram_message_is_answered_after_a_tool_read_a_file(
    daemon: Daemon, model: LlmockServer, platform: Crabline, wire: str
) -> None:
    """In through the Telegram server, a real read, out through the Telegram server."""
    daemon.write_config(
        config(model, wire)
        + f"""\
platforms:
  telegram:
    enabled: true
    base_url: {platform.base_url}
    allowed_users: [7]
""",
        env=f"TELEGRAM_BOT_TOKEN={platform.token}\n",
    )
    script_the_model(model, put_file(daemon))
    daemon.start()
    assert daemon.ctl("gateway", "start").returncode == 0
    with daemon.connect() as wire_:
        wire_.send("events.watch", since=0)
        platform.say("Where does the cat sleep?")
        while wire_.until("events.event")["event"]["kind"] != "outbox.sent":
            pass
    assert platform.shown()[-1] == ANSWER
    assert saw_the_file(model)
    assert model.verdict()["errors"] == 0


def test_chat_q_prints_the_answer_only(daemon: Daemon, model: LlmockServer) -> None:
    """hermesctl chat -q: the answer on standard output, nothing else."""
    daemon.write_config(config(model))
    script_the_model(model, put_file(daemon))
    daemon.start()
    shown = daemon.ctl("chat", "-q", "Where does the cat sleep?")
    assert (shown.returncode, shown.stdout) == (0, ANSWER + "\n"), shown.stderr
    assert saw_the_file(model)


def test_a_signed_webhook_is_accepted_and_answered(daemon: Daemon, model: LlmockServer) -> None:
    """202 after the commit; the answer goes where the route says; the same delivery id is a duplicate."""
    port = free_port()
    daemon.write_config(
        config(model)
        + f"""\
platforms:
  webhook:
    enabled: true
    port: {port}
    routes:
      cat:
        secret: s3cret
        prompt: "Where does {{animal}} sleep?"
        deliver: local
"""
    )
    script_the_model(model, put_file(daemon))
    daemon.start()
    daemon.call("gateway.start")
    with daemon.connect() as wire:
        wire.send("events.watch", since=0)
        assert post(port, b'{"animal":"the cat"}', delivery="d-1") == (202, "accepted")
        while wire.until("events.event")["event"]["kind"] != "outbox.sent":
            pass
    assert post(port, b'{"animal":"the cat"}', delivery="d-1") == (200, "duplicate")
    written = [path.read_text() for path in (daemon.home / "outbox").iterdir()]
    assert [text.strip() for text in written] == [ANSWER]
    assert saw_the_file(model)


def post(port: int, body: bytes, *, delivery: str, secret: bytes = b"s3cret") -> tuple[int, str]:
    signature = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/webhooks/cat",
        data=body,
        headers={
            "content-type": "application/json",
            "X-Hub-Signature-256": signature,
            "X-GitHub-Delivery": delivery,
        },
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status, json.load(answer)["status"]


def test_a_line_of_json_through_nc_is_answered(daemon: Daemon, model: LlmockServer) -> None:
    """No client at all: nc -U and one line."""
    nc = shutil.which("nc")
    if nc is None or "OpenBSD" not in subprocess.run([nc, "-h"], capture_output=True, text=True, check=False).stderr:
        pytest.skip("netcat-openbsd is not installed: apt-get install netcat-openbsd")
    daemon.write_config(config(model))
    script_the_model(model, put_file(daemon))
    daemon.start()
    line = json.dumps(
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "chat.send",
            "params": {"text": "Where does the cat sleep?", "quiet": True},
        }
    )
    shown = subprocess.run(
        [nc, "-NU", str(daemon.socket_path)],
        input=line + "\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    [answer] = shown.stdout.splitlines()
    assert json.loads(answer)["result"]["text"] == ANSWER
    assert saw_the_file(model)
