"""SIGKILL over webhooks: what was answered 202 is on disk and runs once; its delivery id is a repeat ever after."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import signal
import socket
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

import apsw
import pytest
from standardwebhooks.webhooks import Webhook

from hermesd.failpoint import NAMES
from tests.servers.daemon import HTTP, Daemon, NotReadyError

pytestmark = pytest.mark.loaded(HTTP)

KEY = "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="
SENDERS = 3
LONGEST_S = 0.6
FAILPOINTS = [name for name in NAMES if not name.startswith(("cursor", "home"))]
CONFIG = """\
model: offline
platforms:
  webhook:
    enabled: true
    port: {port}
    secret: {key}
    rate_per_minute: 1000000
    routes:
      turn: {{prompt: "{{text}}", deliver: "local,log"}}
      picky: {{prompt: "{{text}}", deliver: local, filters: [{{field: n, not_equals: 0}}]}}
      text: {{prompt: "{{text}}", deliver: local, deliver_only: true}}
"""
ROUTES = ("turn", "picky", "text")


@dataclass
class Sender:
    """Posts until it is told to stop; what is not answered is sent again, under the same id, as senders do."""

    port: int
    number: int
    rng: random.Random
    sent: int = 0
    open: list[tuple[str, str]] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        killed = (OSError, http.client.HTTPException)
        with contextlib.closing(connection), contextlib.suppress(*killed):
            while not stop.is_set():
                self.step(connection)

    def step(self, connection: http.client.HTTPConnection) -> None:
        if self.accepted and self.rng.random() < 0.25:
            name, route = self.rng.choice(sorted(self.accepted.items()))
            if (answer := self.post(connection, name, route)) != "duplicate":
                self.wrong.append(f"{name} was accepted before, and now it is {answer}")
            return
        if not self.open:
            self.sent += 1
            self.open.append((f"msg_{self.number}_{self.sent}", ROUTES[self.sent % 3]))
        name, route = self.open[0]
        if (answer := self.post(connection, name, route)) not in ("accepted", "duplicate"):
            self.wrong.append(f"{name}: {answer}")
        self.accepted[name] = route
        self.open.clear()

    def post(self, connection: http.client.HTTPConnection, name: str, route: str) -> str:
        body = json.dumps({"text": f"hello {name}", "n": 1})
        at = datetime.now(UTC)
        headers = {
            "webhook-id": name,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(KEY).sign(name, at, body),
        }
        connection.request("POST", f"/webhooks/{route}", body, headers)
        answer = connection.getresponse()
        said = json.loads(answer.read())
        return str(said.get("status") or said)


def rounds(daemon: Daemon, senders: list[Sender], kills: int, rng: random.Random) -> None:
    for number in range(kills):
        point = {"HERMESD_FAILPOINT": f"{rng.choice(FAILPOINTS)}:{rng.randint(1, 8)}"} if number % 2 else {}
        try:
            daemon.start(**point)
        except NotReadyError:
            continue  # it met its failpoint while it came up
        stop = threading.Event()
        threads = [threading.Thread(target=sender.run, args=(stop,)) for sender in senders]
        for thread in threads:
            thread.start()
        signal.sigtimedwait([], rng.uniform(0.05, LONGEST_S))
        daemon.kill()
        stop.set()
        for thread in threads:
            thread.join()


def open_work(db: apsw.Connection) -> int:
    [(count,)] = db.execute(
        "SELECT (SELECT count(*) FROM inbox WHERE state IN ('pending', 'running')) "
        "+ (SELECT count(*) FROM outbox WHERE state IN ('pending', 'attempting'))"
    ).fetchall()
    return int(count)


def settle(daemon: Daemon, senders: list[Sender]) -> None:
    """What nobody answered is sent a last time, everything accepted once more; then all of it comes to rest."""
    daemon.start()
    for sender in senders:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", sender.port, timeout=60)) as connection:
            for name, route in sender.open:
                sender.accepted[name] = route
                sender.post(connection, name, route)
            for name, route in sender.accepted.items():
                if (answer := sender.post(connection, name, route)) != "duplicate":
                    sender.wrong.append(f"{name} is {answer} at the end")
    with daemon.connect(timeout_s=60) as wire, contextlib.closing(database(daemon)) as db:
        wire.send("events.watch", since=0)
        while open_work(db):
            wire.until("events.event")
    assert daemon.stop() == 0, daemon.output[-2000:]


def database(daemon: Daemon) -> apsw.Connection:
    db = apsw.Connection(str(daemon.home / "state.db"), flags=apsw.SQLITE_OPEN_READONLY)
    db.set_busy_timeout(10_000)
    return db


def check(daemon: Daemon, *, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    daemon.write_config(CONFIG.format(port=port, key=KEY))
    daemon.start()
    daemon.call("gateway.start")
    assert daemon.stop() == 0
    senders = [Sender(port, number, random.Random(rng.random())) for number in range(SENDERS)]
    rounds(daemon, senders, kills, rng)
    settle(daemon, senders)
    audit(daemon, senders, kills)


def audit(daemon: Daemon, senders: list[Sender], kills: int) -> None:
    """Each accepted delivery has one row, one run (or is parked, when kills cut it twice), one message a target."""
    accepted = {name: route for sender in senders for name, route in sender.accepted.items()}
    assert [wrong for sender in senders for wrong in sender.wrong] == []
    assert len(accepted) > kills
    assert set(accepted.values()) == set(ROUTES)
    with contextlib.closing(database(daemon)) as db:
        rows = db.execute("SELECT delivery_id, state, id FROM inbox WHERE source LIKE 'webhook:%'").fetchall()
        ended = Counter(db.execute("SELECT inbox_id, state FROM turns WHERE state IN ('done', 'parked')"))
        replies = Counter(
            turn for (turn,) in db.execute("SELECT turn_id FROM outbox WHERE state = 'sent' AND kind = 'reply'")
        )
        newest = dict(db.execute("SELECT inbox_id, id FROM turns ORDER BY started_at"))
        query = "SELECT text FROM outbox WHERE state = 'sent' AND text LIKE 'hello %'"
        texts = Counter(text for (text,) in db.execute(query))
    turns = {name: route for name, route in accepted.items() if route != "text"}
    assert Counter(name for name, *_ in rows) == Counter(dict.fromkeys(turns, 1)), "one row for each"
    assert {state for _, state, _ in rows} <= {"done", "parked"}
    for name, state, row in rows:
        runs = (1, 0) if state == "done" else (0, 1)
        assert (ended[row, "done"], ended[row, "parked"]) == runs, f"{name}: one run"
        wanted = 0 if state == "parked" else {"turn": 2, "picky": 1}[turns[name]]
        assert replies[newest[row]] == wanted, f"{name}: one message a target"
    assert texts == Counter(f"hello {name}" for name, route in accepted.items() if route == "text")


def test_an_accepted_delivery_runs_once_however_often_the_daemon_is_killed(daemon: Daemon) -> None:
    """Random moments and named failpoints, 5 kills, three senders that repeat themselves."""
    check(daemon, kills=5, seed=3)


@pytest.mark.long
def test_an_accepted_delivery_runs_once_over_two_hundred_kills(daemon: Daemon) -> None:
    """The same for some minutes."""
    check(daemon, kills=200, seed=11)
