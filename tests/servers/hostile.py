"""An HTTP server that answers exactly what a test tells it to: for what no well-behaved server would ever send."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Reply = tuple[int, dict[str, str], object]


@dataclass
class Hostile:
    """``replies`` by path: a fixed (status, headers, JSON value or bytes), or a function of the form that was sent."""

    url: str
    replies: dict[str, Reply | Callable[[dict[str, str]], Reply]] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def protect(self, **metadata: object) -> str:
        """Publish working metadata for ``/mcp``, changed as given (None leaves a member out); returns that URL."""
        document = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "registration_endpoint": f"{self.url}/register",
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            **metadata,
        }
        document = {name: value for name, value in document.items() if value is not None}
        resource = {"resource": f"{self.url}/mcp", "authorization_servers": [self.url]}
        self.replies["/.well-known/oauth-protected-resource/mcp"] = (200, {}, resource)
        self.replies["/.well-known/oauth-authorization-server"] = (200, {}, document)
        self.replies["/register"] = (201, {}, {"client_id": "client-1", "token_endpoint_auth_method": "none"})
        self.replies["/mcp"] = (401, {"www-authenticate": "Bearer"}, {})
        return f"{self.url}/mcp"

    def asked(self, path: str) -> list[dict[str, str]]:
        """The forms of the requests to ``path`` so far."""
        return [form for _, found, form in self.requests if found == path]


@contextlib.contextmanager
def hostile_server() -> Iterator[Hostile]:
    """Serve on a free port of 127.0.0.1 until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            path = urlsplit(self.path).path
            form = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
            form |= {f"header:{name.lower()}": value for name, value in self.headers.items()}
            server.requests.append((self.command, path, form))
            reply = server.replies.get(path, (404, {}, {}))
            status, headers, value = reply(form) if callable(reply) else reply
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            for name, text in {"content-type": "application/json", **headers}.items():
                self.send_header(name, text)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(data)

        do_GET = do_POST = _serve  # noqa: N815 - the base class's names

        def log_message(self, *_: Any) -> None:
            return

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A client that breaks its connection is nothing to print."""

    with Quiet(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        server = Hostile(f"http://127.0.0.1:{listening.server_address[1]}")
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()
