"""Answers posted to a real HTTP receiver, which verifies them with the `standardwebhooks` library."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from hermesd.gateway.http_sending import MAX_RETRY_AFTER_S, retry_after_s
from hermesd.gateway.outlets_webhook import WebhookOutlet
from hermesd.gateway.platform import PlatformError
from hermesd.store.records import Address, OutboxRow
from tests.servers.daemon import Daemon

SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


@dataclass
class Receiver:
    """What came in: id and verified body; ``answers`` are given one after the other, then 204."""

    url: str = ""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    taken: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    refused: int = 0
    arrivals: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on loopback that answers 401 to what is not signed with SECRET."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, headers = receiver.answers.pop(0) if receiver.answers else (204, {})
            try:
                value = Webhook(SECRET).verify(body, dict(self.headers))
                receiver.taken.append((self.headers["webhook-id"], value))
                receiver.arrivals.release()
            except WebhookVerificationError:
                receiver.refused += 1
                status = 401
            self.send_response(status)
            for name, text in headers.items():
                self.send_header(name, text)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        receiver.url = f"http://127.0.0.1:{server.server_port}/in"
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


def row(url: str, key: str = "reply:turn-1") -> OutboxRow:
    return OutboxRow(
        id=1,
        profile="default",
        address=Address(platform="webhook", chat=url),
        text="Grüße ✓",
        idempotency_key=key,
        state="pending",
        created_at=1_800_000_000.0,
    )


def outlet(*, secret: str = SECRET, private: bool = True) -> WebhookOutlet:
    return WebhookOutlet(secret=lambda: secret, private=lambda: private)


async def ignore(ref: str) -> None:
    """Nobody is shown the progress."""


async def fails(sender: WebhookOutlet, message: OutboxRow) -> PlatformError:
    with pytest.raises(PlatformError) as caught:
        await sender.send(message, progress=ignore)
    return caught.value


async def test_an_answer_is_verified_by_a_standard_webhooks_receiver() -> None:
    """Signature, id, profile, text and time arrive as documented."""
    with receiving() as receiver:
        sent = await outlet().send(row(receiver.url), progress=ignore)
    [(delivery, body)] = receiver.taken
    assert delivery == sent.ref == body["id"]
    assert body == {
        "id": delivery,
        "profile": "default",
        "text": "Grüße ✓",
        "at": "2027-01-15T08:00:00+00:00",
    }


async def test_a_repeat_has_the_same_id_and_another_message_has_not() -> None:
    """After a crash between sending and recording, the receiver can tell."""
    with receiving() as receiver:
        for key in ("a", "a", "b"):
            await outlet().send(row(receiver.url, key), progress=ignore)
    first, repeat, other = (delivery for delivery, _ in receiver.taken)
    assert first == repeat != other


@pytest.mark.parametrize(
    ("status", "permanent"), [(400, True), (404, True), (302, True), (408, False), (429, False), (500, False)]
)
async def test_only_answers_that_may_change_are_tried_again(status: int, permanent: bool) -> None:
    """4xx goes to the dead letters, but for 408 and 429; 5xx is tried again; a redirect is not followed."""
    with receiving() as receiver:
        receiver.answers = [(status, {"retry-after": "120", "location": receiver.url})]
        error = await fails(outlet(), row(receiver.url))
    assert (error.permanent, error.certainty, error.retry_after_s) == (permanent, "not_sent", 120.0)
    assert len(receiver.taken) == 1


async def test_another_secret_is_refused_by_the_receiver() -> None:
    """The signature means something."""
    with receiving() as receiver:
        error = await fails(outlet(secret=SECRET.replace("MDEy", "MDEz")), row(receiver.url))
    assert (receiver.refused, error.permanent) == (1, True)


async def test_nothing_is_posted_to_http_or_a_private_address_unasked() -> None:
    """Not by scheme, and over https not by address."""
    with receiving() as receiver:
        plain = await fails(outlet(private=False), row(receiver.url))
        guarded = await fails(outlet(private=False), row(receiver.url.replace("http:", "https:")))
    assert plain.permanent
    assert "may not be reached" in guarded.what
    assert (receiver.taken, receiver.refused) == ([], 0)


@pytest.mark.parametrize("secret", ["", "whsec_", "no*base*64", "c2hvcnQ="])
async def test_a_missing_or_weak_secret_is_named_but_not_shown(secret: str) -> None:
    """The refusal says which variable, and repeats nothing of its value."""
    error = await fails(outlet(secret=secret), row("https://example.com/in"))
    assert error.permanent
    assert "WEBHOOK_DELIVERY_SECRET" in error.what
    assert error.next_step.startswith("put WEBHOOK_DELIVERY_SECRET=whsec_… into .env")
    assert len(secret) < 7 or secret not in str(error)


async def test_a_receiver_that_is_down_did_not_get_it() -> None:
    """A refused connection is certain, and tried again."""
    with receiving() as receiver:
        pass
    error = await fails(outlet(), row(receiver.url))
    assert (error.permanent, error.certainty) == (False, "not_sent")


def test_retry_after_is_seconds_or_a_date_and_at_most_a_day() -> None:
    """RFC 9110, 10.2.3; nonsense counts as nothing."""
    assert retry_after_s("7", 0.0) == 7.0
    assert retry_after_s(formatdate(1_800_000_060, usegmt=True), 1_800_000_000.0) == 60.0
    assert retry_after_s("9" * 400, 0.0) == MAX_RETRY_AFTER_S
    assert [retry_after_s(text, 0.0) for text in ("", "soon", "-5", "²")] == [0.0] * 4


def test_a_message_cut_between_sending_and_recording_comes_again_with_its_id(daemon: Daemon) -> None:
    """The daemon is killed there; the next one posts it again, the receiver knows it, and the row is sent."""
    with receiving() as receiver:
        daemon.write_config(
            "model: offline\nplatforms: {webhook: {deliver_private: true}}\n",
            env=f"WEBHOOK_DELIVERY_SECRET={SECRET}\n",
        )
        daemon.start(HERMESD_FAILPOINT="outbox.after_send")
        target = f"webhook:{receiver.url}"
        made = daemon.ctl("cron", "create", "every 1d", "Say hello.", "--deliver", target, "--json")
        assert made.returncode == 0, made.stderr
        daemon.ctl("cron", "run", json.loads(made.stdout)["job"]["id"])  # its answer may be lost with the daemon
        assert daemon.wait() == -signal.SIGKILL
        daemon.start()
        assert receiver.arrivals.acquire(timeout=30)
        assert receiver.arrivals.acquire(timeout=30)
        assert daemon.stop() == 0  # drains: what was posted is recorded
        daemon.start()
        [sent] = daemon.call("outbox.list", states=["sent"])["rows"]
    first, repeat = receiver.taken
    assert first == repeat
    assert sent["ref"] == first[0]
