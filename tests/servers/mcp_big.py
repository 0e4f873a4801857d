"""An HTTP MCP server in this process; its tools ``json`` and ``sse`` answer with so many ``bytes``, each in its way."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PIECE = b"x" * 2**16


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "id" not in request:
            self.send_response(202)
            self.end_headers()
            return
        params = request.get("params") or {}
        results: dict[str, Any] = {
            "initialize": {"capabilities": {"tools": {}}, "serverInfo": {"name": "big", "version": "1"}},
            "tools/list": {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ("json", "sse")]},
            "tools/call": {"content": [{"type": "text", "text": "@"}]},
        }
        result = results[request["method"]]
        if "protocolVersion" in params:
            result["protocolVersion"] = params["protocolVersion"]
        self._answer({"jsonrpc": "2.0", "id": request["id"], "result": result}, params)

    def _answer(self, message: dict[str, Any], params: dict[str, Any]) -> None:
        streams = params.get("name") == "sse"
        before, at, after = json.dumps(message).encode().partition(b"@")
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if streams else "application/json")
        self.end_headers()
        with contextlib.suppress(OSError):  # the client has had enough
            self.wfile.write(b"data: " * streams + before)
            for _ in range(params["arguments"]["bytes"] // len(PIECE) if at else 0):
                self.wfile.write(PIECE)
            self.wfile.write(after + b"\n\n")

    def do_GET(self) -> None:
        self.send_response(405)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return


@contextlib.contextmanager
def big_answers() -> Iterator[str]:
    """Serve on a free port of 127.0.0.1 until the block ends; its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as listening:
        listening.daemon_threads = True
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_address[1]}/mcp"
        finally:
            listening.shutdown()
            thread.join()
