"""A stdio MCP server whose tools stand in a file: ``python -m tests.servers.mcp_listed TOOLS.json LOG``.

The file is read at every tools/list, which is noted in LOG. Any tool answers with its name; the tool ``announce``
says list_changed five times within 0.2 s; ``environment`` answers with the names of the variables it was given. A
tool with an ``answer`` in the file gives that as its structured content. The file has the tools, or an object with
``tools``, ``resources`` and ``prompts``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def say(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def lists(file: Path) -> dict[str, list[dict[str, object]]]:
    """By their kinds."""
    found = json.loads(file.read_text())
    return found if isinstance(found, dict) else {"tools": found}


def answer(request: dict[str, object], tools: Path, log: Path) -> dict[str, object] | None:
    params = request.get("params") or {}
    assert isinstance(params, dict)
    match request.get("method"):
        case "initialize":
            info = {"name": "listed", "version": "1"}
            capabilities = {"tools": {"listChanged": True}, **{kind: {} for kind in lists(tools) if kind != "tools"}}
            return {"protocolVersion": params["protocolVersion"], "capabilities": capabilities, "serverInfo": info}
        case "tools/list":
            with log.open("a") as file:
                file.write("list\n")
            return {"tools": lists(tools)["tools"]}
        case "resources/list" | "prompts/list" as method:
            kind = method.removesuffix("/list")
            return {kind: lists(tools)[kind]}
        case "tools/call":
            text = str(params["name"])
            if text == "announce":
                for _ in range(5):
                    say({"method": "notifications/tools/list_changed"})
                    time.sleep(0.04)
            elif text == "environment":
                text = json.dumps([sorted(os.environ), sys.argv[1:]])
            answers = {each["name"]: each["answer"] for each in lists(tools)["tools"] if "answer" in each}
            structured = {"structuredContent": answers[text]} if text in answers else {}
            return {"content": [{"type": "text", "text": text}], **structured}
        case "ping":
            return {}
    return None


def main() -> None:
    tools, log = map(Path, sys.argv[1:3])
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request:
            continue
        result = answer(request, tools, log)
        error = {"code": -32601, "message": "no such method"}
        say({"id": request["id"], "result": result} if result is not None else {"id": request["id"], "error": error})


if __name__ == "__main__":
    main()
