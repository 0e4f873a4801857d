"""A stdio MCP server that misbehaves when told to: ``python -m tests.servers.mcp_rude``.

It ignores SIGTERM and the end of its input. Tools: echo {text}; ids (wrong and repeated ids around the right one);
silent (answers another request than the one that was asked); line {bytes} (one line without end); flood {bytes} (to
stderr); requests (asks its client for nonsense); die; fork (a double fork whose grandchild ignores SIGTERM; answers
its pid); self (its environment and arguments, as the kernel has them).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

TOOLS = ("echo", "ids", "silent", "line", "flood", "requests", "die", "fork", "self")


def say(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def result(number: object, words: str) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "result": {"content": [{"type": "text", "text": words}]}}


def wrong_ids(number: object) -> None:
    """What it should not say before and after the right answer."""
    assert isinstance(number, int)
    for wrong in (number + 1000, -1, "x", None, [number], 2**70):
        say(result(wrong, "wrong"))
    say({"jsonrpc": "2.0", "id": number + 1000, "error": {"code": "x", "message": 7}})
    say(result(number, "right"))
    say(result(number, "again"))


def nonsense() -> None:
    """Requests and notifications that no client understands."""
    say({"jsonrpc": "2.0", "id": 1, "method": "no/such/method", "params": {}})
    say({"jsonrpc": "2.0", "id": "x" * 10_000, "method": "sampling/createMessage", "params": {"messages": 7}})
    say({"jsonrpc": "2.0", "id": {}, "method": "roots/list"})
    say({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": [], "progress": "much"}})
    say({"jsonrpc": "2.0", "method": "notifications/message", "params": None})
    say([])
    say(7)


def forked() -> int:
    """The pid of a grandchild that has left the session and belongs to nobody."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            for fd in (0, 1, 2):
                os.close(fd)
            os.write(writer, str(os.getpid()).encode())
            time.sleep(600)
        os._exit(0)
    os.waitpid(child, 0)
    return int(os.read(reader, 20))


def call(number: object, name: str, arguments: dict[str, object]) -> None:
    words = str(arguments.get("text", ""))
    if name == "ids":
        return wrong_ids(number)
    if name == "silent":
        return say(result(10**9, "to nobody"))
    if name == "line":
        for _ in range(int(str(arguments["bytes"])) // 2**20):
            sys.stdout.write("x" * 2**20)
        return sys.stdout.flush()
    if name == "flood":
        for _ in range(int(str(arguments["bytes"])) // 2**10):
            sys.stderr.write("\x1b[31m" + "flood " * 169 + "\n")
    elif name == "requests":
        nonsense()
    elif name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "fork":
        words = str(forked())
    elif name == "self":
        files = [Path(f"/proc/self/{file}").read_bytes().decode().split("\0") for file in ("environ", "cmdline")]
        words = json.dumps([[item for item in file if item] for file in files])
    return say(result(number, words))


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        request = json.loads(line)
        number, params = request.get("id"), request.get("params") or {}
        answers: dict[str, dict[str, object]] = {
            "initialize": {"capabilities": {"tools": {}}, "serverInfo": {"name": "rude", "version": "1"}},
            "tools/list": {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]},
        }
        if request.get("method") == "tools/call":
            call(number, params["name"], params.get("arguments") or {})
        elif request.get("method") in answers:
            version = {"protocolVersion": params["protocolVersion"]} if "protocolVersion" in params else {}
            say({"jsonrpc": "2.0", "id": number, "result": {**version, **answers[request["method"]]}})
    time.sleep(600)


if __name__ == "__main__":
    main()
