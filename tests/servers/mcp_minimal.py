"""A stdio MCP server of plain JSON lines, able to misbehave: ``python -m tests.servers.mcp_minimal [MODE ...]``.

Modes: hang (never answers initialise), deaf (ignores SIGTERM), stay (ignores the end of input), grandchild (a child
in the same session), setsid (a child in its own session), flood (writes to stderr without end), noise (writes to
stdout what is no message), chatter (notifications without end), crash (exits during initialise), legacy-strict (passes
over unknown methods), banner (words for people on stdout), refuse (answers initialise with an error of a megabyte),
refuse-calls (answers calls with one).
Tools: echo {text}; pid; sleep {seconds}; die; big {bytes}; more (adds a tool and says so five times).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

MODES = set(sys.argv[1:])
TOOLS = ["echo", "pid", "sleep", "die", "big", "more"]
TERRIBLE = {"code": -32000, "message": "no \x1b[31m such\nline " + "z" * 2**20}
lock = threading.Lock()


def say(message: dict[str, object]) -> None:
    line = json.dumps({"jsonrpc": "2.0", **message}) + "\n"
    with lock:
        sys.stdout.write(line)
        sys.stdout.flush()


def text(number: object, words: str) -> None:
    say({"id": number, "result": {"content": [{"type": "text", "text": words}]}})


def call(number: object, name: str, arguments: dict[str, object]) -> None:
    if name == "echo":
        text(number, str(arguments.get("text", "")))
    elif name == "pid":
        text(number, str(os.getpid()))
    elif name == "sleep":
        time.sleep(float(str(arguments["seconds"])))
        text(number, "awake")
    elif name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "big":
        text(number, "x" * int(str(arguments["bytes"])))
    elif name == "more":
        TOOLS.append(f"tool{len(TOOLS)}")
        text(number, TOOLS[-1])
        for _ in range(5):
            say({"method": "notifications/tools/list_changed"})
    else:
        say({"id": number, "error": {"code": -32602, "message": f"no tool {name}"}})


def answer(message: dict[str, object]) -> None:
    number, method = message.get("id"), message.get("method")
    if (method == "initialize" and "refuse" in MODES) or (method == "tools/call" and "refuse-calls" in MODES):
        say({"id": number, "error": TERRIBLE})
        return
    params = message.get("params") or {}
    assert isinstance(params, dict)
    if method == "initialize":
        if "crash" in MODES:
            print("cannot go on", file=sys.stderr, flush=True)
            sys.exit(3)
        capabilities = {"tools": {"listChanged": True}}
        info = {"name": "minimal", "version": "1"}
        version = params["protocolVersion"]
        say({"id": number, "result": {"protocolVersion": version, "capabilities": capabilities, "serverInfo": info}})
    elif method == "tools/list":
        say({"id": number, "result": {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]}})
    elif method == "tools/call":
        threading.Thread(target=call, args=(number, params["name"], params.get("arguments") or {}), daemon=True).start()
    elif number is not None:
        say({"id": number, "error": {"code": -32601, "message": "unknown method"}})


def misbehave() -> None:
    if "banner" in MODES:
        print("Listening \x1b[31m on stdio", flush=True)
    sleeper = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        "import signal,time; signal.signal(15, signal.SIG_IGN); time.sleep(600)",
    ]
    if "deaf" in MODES:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "grandchild" in MODES:
        subprocess.Popen(sleeper)
    if "setsid" in MODES:
        subprocess.Popen(sleeper, start_new_session=True)
    if "flood" in MODES:
        threading.Thread(
            target=lambda: [sys.stderr.write("flood " * 20 + "\n") for _ in iter(int, 1)], daemon=True
        ).start()
    if "chatter" in MODES:
        word = {"method": "notifications/message", "params": {"level": "info", "data": "x"}}
        threading.Thread(target=lambda: [say(word) for _ in iter(int, 1)], daemon=True).start()
    if "noise" in MODES:
        threading.Thread(target=lambda: [sys.stdout.write("noise\n") for _ in iter(int, 1)], daemon=True).start()


def main() -> None:
    misbehave()
    if "hang" in MODES:
        time.sleep(600)
    for line in sys.stdin:
        answer(json.loads(line))
    if "stay" in MODES:
        time.sleep(600)


if __name__ == "__main__":
    main()
