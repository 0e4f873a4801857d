"""Cases 7 to 10: what a stranger may try at the webhook listener of a real daemon."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import hmac
import json
import resource
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.daemon import HTTP, Daemon
from tests.waiting import wait_until

pytestmark = pytest.mark.loaded(HTTP)

SECRET = "a long and quiet secret"
OTHER = "the secret of another route"
MIB = 1024 * 1024
MAX_GROWTH = 24 * MIB  # of the resident memory, whatever comes
BODY = b'{"a": 1}'


@dataclass
class Site:
    """The listener, and what may be asked of its daemon."""

    daemon: Daemon
    port: int

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def send(self, data: bytes) -> bytes:
        """Everything that comes back until the daemon closes."""
        with self.connect() as sock:
            with contextlib.suppress(ConnectionError):  # it may have answered and closed already
                sock.sendall(data)
            return read_to_end(sock)

    def post(self, body: bytes = BODY, *lines: str, route: str = "one") -> int:
        head = [
            f"POST /webhooks/{route} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *lines,
        ]
        return status(self.send("\r\n".join(head).encode() + b"\r\n\r\n" + body))

    def rss(self) -> int:
        return int(Path(f"/proc/{self.daemon.pid}/statm").read_text().split()[1]) * resource.getpagesize()

    def accepted(self) -> int:
        states = ["pending", "running", "done", "failed", "parked"]
        return len(self.daemon.call("inbox.list", states=states)["rows"])

    @contextlib.contextmanager
    def unharmed(self) -> Iterator[None]:
        """Nothing was accepted, memory has hardly grown, and the next signed request is taken."""
        before = self.rss()
        yield
        assert self.accepted() == 0
        assert self.rss() - before < MAX_GROWTH
        assert self.post(BODY, hub(BODY)) == 202


def read_to_end(sock: socket.socket) -> bytes:
    found = bytearray()
    with contextlib.suppress(ConnectionError):
        while data := sock.recv(65536):
            found += data
    return bytes(found)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def hub(body: bytes, secret: str = SECRET) -> str:
    return "X-Hub-Signature-256: sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def stamped(at: float, body: bytes = BODY) -> tuple[str, str]:
    seconds = str(int(at))
    digest = hmac.new(SECRET.encode(), seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"X-Webhook-Timestamp: {seconds}", f"X-Webhook-Signature-V2: {digest}"


@pytest.fixture
def site(daemon: Daemon) -> Site:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    daemon.write_config(
        f"model: offline\nplatforms:\n  webhook:\n    enabled: true\n    port: {port}\n    rate_per_minute: 1000\n"
        f"    routes:\n      one: {{secret: {SECRET}}}\n      two: {{secret: {OTHER}}}\n"
    )
    daemon.start()
    daemon.call("gateway.start")
    return Site(daemon, port)


# -- 7: slow, endless, huge, many --------------------------------------------------------------------------------------

HEAD = b"POST /webhooks/one HTTP/1.1\r\nHost: x\r\n"


def test_a_gigabyte_that_is_only_claimed_is_refused_at_once(site: Site) -> None:
    """Before any of it is read, and before anybody is authenticated."""
    with site.unharmed():
        for claimed in (2**30, 2**63, 10**18):
            assert status(site.send(HEAD + b"Content-Length: %d\r\n\r\n{" % claimed)) == 413


def test_endless_chunks_end_at_the_limit(site: Site) -> None:
    """As soon as more than the largest body has come; the daemon holds no more than that."""
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with site.unharmed(), site.connect() as sock:
        sock.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 64 * MIB:
                sock.sendall(chunk)
                sent += len(chunk)
        assert sent < 64 * MIB
        assert status(read_to_end(sock)) in (0, 413)  # 0: the answer was lost in the reset that our sending met


def test_a_gzip_bomb_is_never_unpacked(site: Site) -> None:
    """A compressed body is a body like any other: signed, it is no JSON."""
    bomb = gzip.compress(b"[" + b" " * 100 * MIB + b"]", 1)
    assert len(bomb) < MIB
    with site.unharmed():
        assert site.post(bomb, "Content-Encoding: gzip") == 401
        assert site.post(bomb, "Content-Encoding: gzip", hub(bomb)) == 400


def test_a_signed_body_that_no_parser_likes_is_answered(site: Site) -> None:
    """Deep nesting and numbers beyond all bounds: no crash, no 500."""
    for body in (b"[" * 500_000, b'{"a":' * 180_000, b'{"a": ' + b"9" * 900_000 + b"}", b'{"a": 1e999}'):
        assert site.post(body, hub(body)) in (202, 400)
    assert site.post(BODY, hub(BODY)) == 202


def test_many_connections_that_say_nothing_are_bounded(site: Site) -> None:
    """Those above the limit take the place of the longest idle ones; requests and the socket go on being answered."""
    with contextlib.ExitStack() as stack:
        before = site.rss()
        for _ in range(700):
            stack.enter_context(site.connect())
        assert site.post(BODY, hub(BODY)) == 202
        assert site.daemon.call("daemon.status")["pid"] == site.daemon.pid
        assert site.rss() - before < 2 * MAX_GROWTH
        assert len(list(Path(f"/proc/{site.daemon.pid}/fd").iterdir())) < 700


def test_half_a_head_on_every_connection_costs_no_more_than_the_listener(site: Site) -> None:
    """Who comes then is told to come back; the daemon itself and, once they are gone, the listener serve everybody."""
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(site.connect()) for _ in range(700)]
        for sock in slow:
            with contextlib.suppress(ConnectionError):
                sock.sendall(HEAD)
        assert site.post(BODY, hub(BODY)) == 503
        assert site.daemon.call("daemon.status")["pid"] == site.daemon.pid
    wait_until(lambda: site.post(BODY, hub(BODY)), lambda status: status == 202)


@pytest.mark.long
@pytest.mark.parametrize(("start", "seconds"), [(HEAD, 10), (HEAD + b"Content-Length: 100\r\n\r\n", 30)])
def test_a_client_that_drips_is_let_go(site: Site, start: bytes, seconds: int) -> None:
    """A byte a second changes nothing about the deadline of head and body; others are answered meanwhile."""
    with site.connect() as sock:
        began = time.monotonic()
        sock.sendall(start)
        sock.settimeout(1)
        answer = b""
        while not answer:
            assert time.monotonic() - began < seconds + 30
            with contextlib.suppress(TimeoutError):
                answer = sock.recv(4096)
            with contextlib.suppress(ConnectionError):
                sock.sendall(b"x")
        assert status(answer) == 408
        assert time.monotonic() - began > seconds - 1
    assert site.post(BODY, hub(BODY)) == 202


# -- 8: signatures -----------------------------------------------------------------------------------------------------


def test_a_signature_that_is_not_quite_right_is_none(site: Site) -> None:
    """Missing, short, in upper case, of another kind, twice, of another route, with another body."""
    good = hub(BODY)
    name, _, value = good.partition(": sha256=")
    sha1 = hmac.new(SECRET.encode(), BODY, hashlib.sha1).hexdigest()
    with site.unharmed():
        for lines in (
            (),
            (f"{name}:",),
            (f"{name}: sha256=",),
            (good[:-1],),
            (good + "0",),
            (f"{name}: sha256={value.upper()}",),
            (f"{name}: SHA256={value}",),
            (f"{name}: {value}",),
            (f"{name}: sha1={sha1}",),
            (f"X-Hub-Signature: sha1={sha1}",),
            (good, good),
            (good, f"{name}: sha256={'0' * 64}"),
            (hub(BODY, OTHER),),
            (hub(BODY + b" "),),
            (hub(BODY, ""),),
            ("Authorization: Bearer " + SECRET,),
            (f"webhook-signature: {value}", good),
        ):
            assert site.post(BODY, *lines) == 401, lines
        assert site.post(BODY, good, route="two") == 401


def test_a_replay_is_refused_after_the_window_and_is_a_repeat_within_it(site: Site) -> None:
    """Also with another delivery id beside it that nobody signed, and after a restart."""
    now = time.time()
    with site.unharmed():
        for drift in (-301, 302, -86400, 86400):
            assert site.post(BODY, *stamped(now + drift)) == 401
    fresh = stamped(now)
    assert site.post(BODY, *fresh) == 202
    assert site.post(BODY, *fresh) == 200
    assert site.daemon.stop() == 0
    site.daemon.start()
    assert site.post(BODY, *fresh) == 200
    assert site.accepted() == 2


# -- 9: from a browser -------------------------------------------------------------------------------------------------


def test_a_page_in_a_browser_cannot_post(site: Site) -> None:
    """Not even with a signature: CSRF needs none to be sent, but every cross-origin request names its origin."""
    with site.unharmed():
        for lines in (
            ("Origin: https://evil.example",),
            ("Origin: null",),
            ("Origin: http://x",),
            ("Sec-Fetch-Site: cross-site",),
            ("Sec-Fetch-Site: same-origin",),
        ):
            assert site.post(BODY, "Content-Type: text/plain", *lines) == 403
            assert site.post(BODY, hub(BODY), *lines) == 403
        assert site.post(BODY, "Content-Type: text/plain") == 401
    counted = site.daemon.call("webhook.show", name="one")["refused"]
    assert counted == {"origin": 10, "signature": 1}


def test_a_rebound_name_gains_nothing(site: Site) -> None:
    """A foreign Host is refused as a page's, but for a sender who knows the secret; without one nothing is told."""
    wanted = {"evil.example": 403, "evil.example:80": 403, "[": 403, "localhost:1": 401, "[::1]": 401, "127.0.0.1": 401}

    def answer_to(host: str, *lines: str) -> int:
        head = ["POST /webhooks/one HTTP/1.1", f"Host: {host}", f"Content-Length: {len(BODY)}", "Connection: close"]
        return status(site.send("\r\n".join([*head, *lines]).encode() + b"\r\n\r\n" + BODY))

    with site.unharmed():
        assert {host: answer_to(host) for host in wanted} == wanted
    assert answer_to("proxied.example", hub(BODY)) in (200, 202)
    answer = site.send(b"GET /health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"status": "ok", "platform": "webhook"}
    upgrade = b"GET /webhooks/one HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n"
    assert status(site.send(upgrade)) == 405


# -- 10: what proxies read differently ---------------------------------------------------------------------------------

SMUGGLED = b"POST /webhooks/one HTTP/1.1\r\nHost: x\r\n" + hub(BODY).encode() + b"\r\nContent-Length: 8\r\n\r\n" + BODY


AMBIGUOUS = (
    b"POST /webhooks/one HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /webhooks/one HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    b"POST /webhooks/one HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"POST /webhooks/one HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST /webhooks/one HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    b"POST /webhooks/one HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}",
    b"POST /webhooks/one HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /webhooks/one HTTP/1.1\r\nHost: x\r\nX-A: b\r\n\tc\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /webhooks/one HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}",
    b"POST /webhooks/one HTTP/1.1\r\nHost: x\nContent-Length: 2\r\n\r\n{}",
    b"POST /webhooks/one HTTP/1.1\r\nHost : x\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /webhooks/one HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
)


def test_what_may_be_read_in_two_ways_is_400_and_closed(site: Site) -> None:
    """What follows on the connection, here a request with a valid signature, is not looked at."""
    with site.unharmed():
        for head in AMBIGUOUS:
            answer = site.send(head + SMUGGLED)
            assert status(answer) == 400, head
            assert answer.count(b"HTTP/1.1 ") == 1, head
            assert b"connection: close" in answer, head
