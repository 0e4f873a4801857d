"""The kill harness: a real daemon under load from three sources, killed with SIGKILL again and again, then audited.

``python -m tests.faults.harness --kills 10000`` runs the long form and prints what it found.

Each round starts the daemon (every other one with a failpoint armed), lets a webhook sender, an RPC client and a
Telegram user talk to it, and kills it at a random moment. Senders behave as real ones do: what was not acknowledged is
sent again under the same delivery id, and some of what was is repeated. In the end everything must have settled, and
the ledger of what was acknowledged is compared with the store, with the effects on disk, and with what was delivered.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import hmac
import http.client
import json
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from hermesd.failpoint import NAMES
from tests.servers import crabline
from tests.servers.bytecode import keep_bytecode
from tests.servers.crabline import Crabline
from tests.servers.daemon import HTTP, Daemon, NotReadyError, RpcFailure

SECRET = b"load"
LONGEST_LOAD_S = 0.25
SETTLE_S = 120.0
REPEATED_SHARE = 0.2

CONFIG = """\
agent:
  busy: queue
policy:
  unsafe: allow
  tools: {{terminal: allow}}
platforms:
  webhook:
    enabled: true
    port: {port}
    rate_per_minute: 1000000
    routes:
      load: {{secret: load, prompt: "{{text}}", deliver: local}}
  telegram:
    enabled: true
    base_url: {api}
    allowed_users: [7]
    poll_timeout_s: 5
"""


@dataclass
class Ledger:
    """What the senders know: acknowledged and not yet acknowledged ids, and the answers RPC clients got."""

    acknowledged: dict[str, set[str]] = field(
        default_factory=lambda: {"webhook": set(), "rpc": set(), "telegram": set()}
    )
    unanswered: dict[str, list[str]] = field(default_factory=lambda: {"webhook": [], "rpc": []})
    answers: dict[str, str] = field(default_factory=dict)
    sent: int = 0
    repeats_processed: list[str] = field(default_factory=list)

    def next_id(self, source: str) -> str:
        self.sent += 1
        return f"{source}-{self.sent:06d}"


@dataclass
class Report:
    """What the audit found. All but the counts must be empty."""

    kills: int
    accepted: int
    processed: int
    parked: int
    lost: list[str]
    twice: list[str]
    replies_lost: list[str]
    repeats_processed: list[str]

    @property
    def clean(self) -> bool:
        return not (self.lost or self.twice or self.replies_lost or self.repeats_processed)

    def __str__(self) -> str:
        return (
            f"{self.kills} kills: accepted {self.accepted}, processed {self.processed} (parked {self.parked}), "
            f"lost {len(self.lost)}, processed twice {len(self.twice)}, replies lost {len(self.replies_lost)}, "
            f"repeated ids processed again {len(self.repeats_processed)}"
        )


def text_of(name: str) -> str:
    """Every fourth message of a person has an effect on disk that must happen at most once."""
    source, _, number = name.partition("-")
    has_effect = source != "webhook" and int(number) % 4 == 0
    return f"$ echo {name} >> effects.txt" if has_effect else f"hello {name}"


class Harness:
    """One daemon's home, its senders, and the rounds."""

    def __init__(self, directory: Path, platform: Crabline, seed: int, *, executed: bool) -> None:
        self.random = random.Random(seed)
        self.platform = platform
        self.ledger = Ledger()
        self.kills = 0
        self.port = _free_port()
        home = directory / "home"
        (home / "workspace").mkdir(mode=0o700, parents=True)
        home.chmod(0o700)
        self.daemon = Daemon(home, executed=executed, loaded=HTTP)
        self.daemon.write_config(
            CONFIG.format(port=self.port, api=platform.base_url), env=f"TELEGRAM_BOT_TOKEN={platform.token}\n"
        )
        (home / "gateway_state.json").write_text('{"desired_state": "running"}')

    def round(self) -> None:
        """Start, load, kill."""
        failpoint = ""
        if self.random.random() < 0.5:
            failpoint = f"{self.random.choice(NAMES)}:{self.random.randint(1, 12)}"
        with contextlib.suppress(NotReadyError):  # a failpoint may strike during the start
            self.daemon.start(HERMESD_FAILPOINT=failpoint)
            self._load(self.random.uniform(0.0, LONGEST_LOAD_S))
        self.daemon.kill()
        self.kills += 1

    def _load(self, seconds: float) -> None:
        stop = threading.Event()
        senders = [
            threading.Thread(target=sender, args=(stop,)) for sender in (self._webhooks, self._rpc, self._telegram)
        ]
        for sender in senders:
            sender.start()
        assert self.daemon.process is not None
        with contextlib.suppress(Exception):
            self.daemon.process.wait(seconds)
        self.daemon.process.kill()
        stop.set()
        for sender in senders:
            sender.join()

    # -- senders -----------------------------------------------------------------------------------------------------

    def _webhooks(self, stop: threading.Event) -> None:
        rng = random.Random(self.random.random())
        known = self.ledger.acknowledged["webhook"]
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            while not stop.is_set():
                repeated = bool(known) and rng.random() < REPEATED_SHARE
                name = rng.choice(sorted(known)) if repeated else self._take("webhook")
                status = self._post(connection, name)
                if repeated and status != "duplicate":
                    self.ledger.repeats_processed.append(name)
                if not repeated:
                    self._acknowledge("webhook", name)

    def _post(self, connection: http.client.HTTPConnection, name: str) -> str:
        body = json.dumps({"text": text_of(name)}).encode()
        signature = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
        headers = {"X-Hub-Signature-256": signature, "X-GitHub-Delivery": name}
        connection.request("POST", "/webhooks/load", body, headers)
        answer = connection.getresponse()
        found = json.loads(answer.read())
        if answer.status not in (200, 202):
            raise OSError(f"{answer.status} {found}")
        return str(found["status"])

    def _rpc(self, stop: threading.Event) -> None:
        with contextlib.suppress(OSError, ConnectionError, RpcFailure), self.daemon.connect(5.0) as wire:
            while not stop.is_set():
                name = self._take("rpc")
                self._ask(wire, name)

    def _ask(self, wire: object, name: str) -> None:
        from tests.servers.daemon import Wire

        assert isinstance(wire, Wire)
        session = int(name.rpartition("-")[2]) % 5
        request = wire.send("chat.send", text=text_of(name), delivery_id=name, new=session == 0)
        wire.until("chat.update", kind="accepted")
        self.ledger.acknowledged["rpc"].add(name)
        result = wire.result(request)
        if result["state"] in ("done", "parked", "failed"):
            self.ledger.answers[name] = result["text"]
            self._acknowledge("rpc", name)

    def _telegram(self, stop: threading.Event) -> None:
        while not stop.is_set():
            name = self.ledger.next_id("telegram")
            self.platform.say(text_of(name))
            self.ledger.acknowledged["telegram"].add(name)  # Telegram keeps it until it is acknowledged
            stop.wait(0.05)

    def _take(self, source: str) -> str:
        waiting = self.ledger.unanswered[source]
        if not waiting:
            waiting.append(self.ledger.next_id(source))
        return waiting[0]

    def _acknowledge(self, source: str, name: str) -> None:
        self.ledger.acknowledged[source].add(name)
        if name in self.ledger.unanswered[source]:
            self.ledger.unanswered[source].remove(name)

    # -- the end -------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """A last start without faults: unanswered requests are repeated, and everything comes to rest."""
        self.daemon.start()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        for name in list(self.ledger.unanswered["webhook"]):
            self._post(connection, name)
            self._acknowledge("webhook", name)
        connection.close()
        with self.daemon.connect(SETTLE_S) as wire:
            for name in sorted(self.ledger.acknowledged["rpc"] - self.ledger.answers.keys()):
                self._ask(wire, name)
        self._await_rest()
        assert self.daemon.stop() == 0, self.daemon.output[-2000:]

    def _await_rest(self) -> None:
        """Until every Telegram message is in, no event is open, and nothing waits in the outbox."""
        with self.daemon.connect(SETTLE_S) as watch:
            watch.send("events.watch", since=self.daemon.call("events.list", since=0, limit=1)["last_id"])
            while missing := self._open():
                try:
                    watch.until("events.event")
                except TimeoutError as error:
                    raise AssertionError(f"never came to rest: {missing}") from error

    def _open(self) -> dict[str, int]:
        found = {}
        with self._database() as db:
            query = "SELECT state, count(*) FROM inbox WHERE state IN ('pending','running') GROUP BY state"
            found.update(dict(db.execute(query)))
            query = "SELECT state, count(*) FROM outbox WHERE state IN ('pending','attempting') AND platform != 'rpc'"
            found.update({f"outbox {state}": count for state, count in db.execute(query + " GROUP BY state")})
            [(here,)] = db.execute("SELECT count(*) FROM inbox WHERE source = 'telegram'")
        absent = len(self.ledger.acknowledged["telegram"]) - here
        return found | ({"telegram not in": absent} if absent else {})

    @contextlib.contextmanager
    def _database(self):  # type: ignore[no-untyped-def]  # a context manager of an apsw connection
        db = apsw.Connection(str(self.daemon.home / "state.db"), flags=apsw.SQLITE_OPEN_READONLY)
        db.set_busy_timeout(5000)
        try:
            yield db
        finally:
            db.close()

    def audit(self) -> Report:
        """Compare the ledger with the store, the effects and the deliveries."""
        with self._database() as db:
            rows = list(db.execute("SELECT id, source, delivery_id, text, state FROM inbox"))
            done_turns = Counter(inbox for (inbox,) in db.execute("SELECT inbox_id FROM turns WHERE state = 'done'"))
        states = {_name(source, delivery, text): state for _, source, delivery, text, state in rows}
        accepted = set().union(*self.ledger.acknowledged.values())
        settled = {name for name, state in states.items() if state in ("done", "parked", "failed")}
        effects = Counter((self.daemon.home / "workspace" / "effects.txt").read_text().split())
        done = {name for name, state in states.items() if state == "done"}
        twice = [name for name, count in effects.items() if count > 1]
        twice += [_name(source, delivery, text) for id_, source, delivery, text, _ in rows if done_turns[id_] > 1]
        twice += [name for name, count in Counter(_name(*row[1:4]) for row in rows).items() if count > 1]
        silent = {name for name in accepted & done if text_of(name).startswith("$") and name not in effects}
        return Report(
            kills=self.kills,
            accepted=len(accepted),
            processed=len(accepted & settled),
            parked=sum(state == "parked" for state in states.values()),
            lost=sorted((accepted - settled) | silent),
            twice=sorted(twice),
            replies_lost=sorted(name for name in accepted & done if not self._was_answered(name)),
            repeats_processed=self.ledger.repeats_processed,
        )

    def _was_answered(self, name: str) -> bool:
        source = name.partition("-")[0]
        if source == "rpc":
            return name in self.ledger.answers
        if not hasattr(self, "_delivered"):
            local = [path.read_text() for path in (self.daemon.home / "outbox").glob("*.md")]
            self._delivered = {"webhook": "\n".join(local), "telegram": "\n".join(self.platform.shown())}
            self._counts = Counter(self._delivered["telegram"].split())
        if text_of(name).startswith("$"):
            return True  # its answer does not repeat the name; its effect is what is counted
        return name in self._delivered[source]


def _name(source: str, delivery: str, text: str) -> str:
    """The harness's name of an inbox row: the delivery id, or for Telegram the name in the text."""
    return text.split()[-3 if text.startswith("$") else -1] if source == "telegram" else delivery


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(directory: Path, kills: int, seed: int, *, executed: bool = False) -> Report:
    """``kills`` rounds and the audit; ``executed`` gives every daemon a new interpreter, at four times the cost."""
    with crabline.telegram(directory / "crabline") as platform:
        harness = Harness(directory, platform, seed, executed=executed)
        try:
            for _ in range(kills):
                harness.round()
            harness.settle()
            return harness.audit()
        finally:
            harness.daemon.kill()


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--batch", type=int, default=250, help="kills for each home")
    options = parser.parse_args()
    seed, left, ok = options.seed, options.kills, True
    with contextlib.ExitStack() as stack:
        stack.callback(keep_bytecode())
        while left > 0:
            with tempfile.TemporaryDirectory(prefix="hermesd-kill-") as directory:
                report = run(Path(directory), min(options.batch, left), seed, executed=True)
            print(f"seed {seed}: {report}", flush=True)
            ok &= report.clean
            left -= options.batch
            seed += 1
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
