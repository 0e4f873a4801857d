"""A stand-in for GitHub's REST API on loopback, as its documentation describes issue comments and rate limits.

It is not GitHub: it checks the token, keeps comments, and answers pages, ``since`` and what a test puts into
``answers``. Source: docs.github.com, "REST API endpoints for issue comments" and "Rate limits", version 2022-11-28.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "ghp_0123456789abcdefghij0123456789abcdef"
COMMENTS = re.compile(r"/repos/([^/]+/[^/]+)/issues/(\d+)/comments")

Answer = tuple[int, dict[str, str], str]
"""Status, headers, message."""


@dataclass
class Github:
    """``comments`` by ``owner/repo#number``; ``answers`` are given to the next POSTs that would succeed."""

    base_url: str = ""
    comments: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    issues: set[str] = field(default_factory=lambda: {"octo/parrot#7"})
    answers: list[Answer] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    posted: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    looked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def bodies(self, issue: str = "octo/parrot#7") -> list[str]:
        return [str(each["body"]) for each in self.comments.get(issue, [])]

    def add(self, issue: str, body: str) -> dict[str, Any]:
        """A comment, as the API shows it."""
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        number = 1 + sum(map(len, self.comments.values()))
        found = {"id": number, "body": body, "created_at": at, "updated_at": at, "user": {"login": "hermes"}}
        self.comments.setdefault(issue, []).append(found)
        return found

    def page(self, issue: str, query: dict[str, list[str]]) -> tuple[list[dict[str, Any]], bool]:
        """One page in ascending order of ids, and whether there is another."""
        since = query.get("since", [""])[0]
        number, size = int(query.get("page", ["1"])[0]), int(query.get("per_page", ["30"])[0])
        found = [each for each in self.comments.get(issue, []) if each["updated_at"] >= since]
        return found[(number - 1) * size : number * size], len(found) > number * size


@contextmanager
def as_github_documents() -> Iterator[Github]:
    """The server, until the end."""
    state = Github()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["content-length"])))
            state.requests.append(("POST", self.path))
            if (issue := self._issue()) is not None:
                body = content["body"]
                if state.answers:
                    status, headers, message = state.answers.pop(0)
                    self._say(status, {"message": message}, **headers)
                elif len(body) > 65_536:
                    self._say(422, {"message": "Validation Failed"})
                else:
                    self._say(201, state.add(issue, body))
            state.posted.release()

        def do_GET(self) -> None:
            state.requests.append(("GET", self.path))
            if (issue := self._issue()) is not None:
                parts = urlsplit(self.path)
                comments, more = state.page(issue, parse_qs(parts.query))
                link = {"link": f'<{state.base_url}{parts.path}?page=2>; rel="next"'} if more else {}
                self._say(200, comments, **link)
            state.looked.release()

        def _issue(self) -> str | None:
            """The issue that is meant; None when it was refused."""
            found = COMMENTS.fullmatch(urlsplit(self.path).path)
            if self.headers["authorization"] != f"Bearer {TOKEN}":
                self._say(401, {"message": "Bad credentials"})
            elif not self.headers["user-agent"] or self.headers["accept"] != "application/vnd.github+json":
                self._say(403, {"message": "Request forbidden by administrative rules."})
            elif found is None or (issue := f"{found[1]}#{found[2]}") not in state.issues:
                self._say(404, {"message": "Not Found"})
            else:
                return issue
            return None

        def _say(self, status: int, value: object, **headers: str) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            for name, text in {**headers, "content-type": "application/json"}.items():
                self.send_header(name.replace("_", "-"), text)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        state.base_url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
