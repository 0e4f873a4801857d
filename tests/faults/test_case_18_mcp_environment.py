"""Case 18: what an MCP server is given of the daemon's environment, as the kernel has it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.servers.daemon import MCP, Daemon

pytestmark = pytest.mark.loaded(MCP)

SERVER = Path(__file__).parents[1] / "servers/mcp_rude.py"
ALLOWED = {"PATH", "HOME", "USER", "LANG", "LC_ALL", "TERM", "SHELL", "TMPDIR"}
CONFIG = {
    "mcp_servers": {
        "s": {
            "command": sys.executable,
            "args": ["-I", "-S", str(SERVER)],
            "env": {"API_KEY": "${API_KEY}", "MODE": "fast", "LANG": "C"},
        }
    }
}
SECRETS = "API_KEY=of-case-18-1\nOPENAI_API_KEY=of-case-18-2\nTELEGRAM_BOT_TOKEN=of-case-18-3\n"


def test_a_server_has_exactly_the_allow_list_and_its_own(daemon: Daemon) -> None:
    """With their values; nothing else of the daemon's, nothing else of .env, and no secret in any argument list."""
    daemon.write_config(json.dumps(CONFIG), env=SECRETS)
    extra = {
        "AWS_SECRET_ACCESS_KEY": "of-case-18-4",
        "LD_PRELOAD": "",
        "PYTHONPATH": str(Path.cwd()),
        "XDG_DATA_HOME": "/x",
    }
    daemon.start(**extra, TERM="dumb", SHELL="/bin/sh", USER="ada", LC_ALL="C.UTF-8", TMPDIR="/tmp")
    given = {**os.environ, "TERM": "dumb", "SHELL": "/bin/sh", "USER": "ada", "LC_ALL": "C.UTF-8", "TMPDIR": "/tmp"}
    expected = {name: value for name, value in given.items() if name in ALLOWED or name.startswith("XDG_")}
    expected |= {"XDG_DATA_HOME": "/x", "API_KEY": "of-case-18-1", "MODE": "fast", "LANG": "C"}
    environ, argv = json.loads(daemon.call("mcp.call", name="s", tool="self")["text"])
    found = dict(item.split("=", 1) for item in environ)
    tag = found.pop("HERMESD_PROCESS")
    assert found == expected
    assert ":default:mcp:s:" in tag
    assert argv == [sys.executable, "-I", "-S", str(SERVER)]
    assert "of-case-18" not in _arguments_of_all_our_processes()


def _arguments_of_all_our_processes() -> str:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().decode(errors="replace"))
        except OSError:  # it has ended, or is not ours
            continue
    return "\n".join(found)


def test_a_secret_of_one_profile_does_not_reach_another_ones_server(daemon: Daemon) -> None:
    """A reference to a variable that only the other profile has stops this server's profile, not the daemon."""
    daemon.write_config("", env=SECRETS)
    daemon.start()
    assert daemon.ctl("profile", "create", "work").returncode == 0
    server = {**CONFIG["mcp_servers"]["s"], "env": {"MODE": "fast"}}
    daemon.write_config(json.dumps({"mcp_servers": {"s": server}}), profile="work")
    daemon.call("daemon.reload")
    environ, _ = json.loads(daemon.call("mcp.call", name="s", tool="self", profile="work")["text"])
    assert "of-case-18" not in json.dumps(environ)
    refused = daemon.ctl("-p", "work", "mcp", "configure", "s", "--set", "env.K=${TELEGRAM_BOT_TOKEN}")
    assert refused.returncode == 78
    assert "${TELEGRAM_BOT_TOKEN} is not set" in refused.stderr
