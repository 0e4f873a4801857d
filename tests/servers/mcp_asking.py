"""A stdio MCP server of plain JSON lines that asks back: ``python mcp_asking.py [legacy|modern]``.

Tools answer with JSON. ask {params}: elicitation/create; sample {params, times}: sampling/createMessage so often, one
after the other; capabilities: what the client announced; told: the answer to the last question, whenever it came.
Only legacy (2025-11-25): hold {params}: ask, and answer this call only after go {how}, where how is cancel (the
question is cancelled), answer (the call is answered with the question open) or die; later {params}: ask when the call
is over; visit {url}: refuses with -32042 until the address was visited. In modern (2026-07-28) a tool asks by
input_required, ``rounds`` times.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import signal
import sys
import threading
from typing import Any

TOOLS = ("ask", "sample", "capabilities", "told", "hold", "go", "later", "visit", "wait")
MODERN = "modern" in sys.argv[1:]
METHODS = {"ask": "elicitation/create", "sample": "sampling/createMessage"}
lock = threading.Lock()
numbers = itertools.count(1000)
answers: dict[int, queue.Queue[dict[str, Any]]] = {}
gone = queue.Queue[str]()
state: dict[str, Any] = {"capabilities": {}, "told": None, "visited": False}
told = threading.Event()


def say(message: dict[str, Any]) -> None:
    with lock:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def request(method: str, params: dict[str, Any]) -> int:
    number = next(numbers)
    answers[number] = queue.Queue()
    say({"id": number, "method": method, "params": params})
    return number


def text(number: object, value: object, **more: Any) -> None:
    say({"id": number, "result": {"content": [{"type": "text", "text": json.dumps(value)}], **more}})


def answer_of(number: int) -> dict[str, Any]:
    found = answers[number].get()
    return {key: found[key] for key in ("result", "error") if key in found}


def hold(number: object, arguments: dict[str, Any]) -> None:
    question = request(METHODS["ask"], arguments["params"])
    how = gone.get()
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "cancel":
        say({"method": "notifications/cancelled", "params": {"requestId": question, "reason": "not needed"}})
    text(number, how)


def later(params: dict[str, Any]) -> None:
    state["told"] = answer_of(request(METHODS["ask"], params))
    told.set()


def visit(number: object, url: str) -> None:
    if state["visited"]:
        text(number, "visited")
        return
    state["visited"] = True
    wanted = {"mode": "url", "url": url, "message": "Sign in first.", "elicitationId": "e1"}
    say({"id": number, "error": {"code": -32042, "message": "sign in", "data": {"elicitations": [wanted]}}})


def call(number: object, params: dict[str, Any]) -> None:
    name, arguments = params["name"], params.get("arguments") or {}
    if name == "capabilities":
        text(number, state["capabilities"], **({"resultType": "complete"} if MODERN else {}))
    elif MODERN:
        modern(number, params, name, arguments)
    elif name == "ask":
        text(number, answer_of(request(METHODS["ask"], arguments["params"])))
    elif name == "sample":
        times = int(arguments.get("times", 1))
        text(number, [answer_of(request(METHODS["sample"], arguments["params"])) for _ in range(times)])
    elif name == "told":
        told.wait()
        text(number, state["told"])
    elif name == "hold":
        hold(number, arguments)
    elif name == "go":
        gone.put(arguments["how"])
        text(number, "gone")
    elif name == "later":
        text(number, "later")
        later(arguments["params"])
    elif name == "visit":
        visit(number, arguments["url"])
    elif name == "wait":
        threading.Event().wait()


def modern(number: object, params: dict[str, Any], name: str, arguments: dict[str, Any]) -> None:
    done = int(params.get("requestState") or 0)
    if done >= int(arguments.get("rounds", 1)):
        text(number, {"responses": params.get("inputResponses"), "rounds": done}, resultType="complete")
        return
    wanted = {"q": {"method": METHODS[name], "params": arguments["params"]}}
    say(
        {
            "id": number,
            "result": {"resultType": "input_required", "inputRequests": wanted, "requestState": f"{done + 1}"},
        }
    )


def result_of(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    info = {"name": "asking", "version": "1"}
    if method == "initialize" and not MODERN:
        state["capabilities"] = params["capabilities"]
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": info}
    if method == "server/discover" and MODERN:
        state["capabilities"] = params["_meta"]["io.modelcontextprotocol/clientCapabilities"]
        found: dict[str, Any] = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
        return {**found, "ttlMs": 0, "cacheScope": "private", "resultType": "complete"}
    if method == "tools/list":
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]
        return {"tools": tools, **({"ttlMs": 0, "cacheScope": "private", "resultType": "complete"} if MODERN else {})}
    return {} if method == "ping" else None


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        number, method = message.get("id"), message.get("method")
        if method is None:
            answers[number].put(message)
        elif method == "tools/call":
            threading.Thread(target=call, args=(number, message["params"]), daemon=True).start()
        elif number is not None:
            result = result_of(method, message.get("params") or {})
            if result is None:
                say({"id": number, "error": {"code": -32601, "message": "unknown method"}})
            else:
                say({"id": number, "result": result})


if __name__ == "__main__":
    main()
