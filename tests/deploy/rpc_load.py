"""Clients that talk to a daemon while it is restarted, and the count of what came of it."""

from __future__ import annotations

import contextlib
import itertools
import socket
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.daemon import RpcFailure, Wire

TRY_AGAIN = -32004  # errors.RestartError
ANSWER_S = 60.0


@contextlib.contextmanager
def connected(path: Path, timeout_s: float = ANSWER_S) -> Iterator[Wire]:
    """A connection; it may be accepted by a daemon that is not there yet."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout_s)
        sock.connect(str(path))
        with contextlib.closing(Wire(sock)) as wire:
            yield wire


def call(path: Path, method: str, **params: Any) -> Any:
    """One call on a connection of its own."""
    with connected(path) as wire:
        return wire.call(method, **params)


@dataclass
class Load:
    """``clients`` threads, each sending one message after the other on connections of their own.

    A message whose answer got lost is sent again under the same delivery id, as a sender would that wants to be sure.
    """

    path: Path
    clients: int = 4
    refused: list[str] = field(default_factory=list)
    answered: dict[str, str] = field(default_factory=dict)
    repeated: int = 0
    failed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers = itertools.count()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._talk, args=(number,)) for number in range(self.clients)]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """They talk until the block is left, and then wait for what they have sent."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join()

    def _talk(self, client: int) -> None:
        while not self._over.is_set():
            name = f"c{client}-{next(self._numbers)}"
            try:
                while not self._send(name):
                    self.repeated += 1
            except (RpcFailure, TimeoutError, AssertionError) as error:
                self.failed.append(f"{name}: {error!r}")
                return

    def _send(self, name: str) -> bool:
        """Whether it was answered; otherwise it must be sent again."""
        try:
            with connected(self.path) as wire:
                result = wire.call("chat.send", text=f"say {name}", delivery_id=name, quiet=True)
        except (ConnectionRefusedError, FileNotFoundError) as error:
            self.refused.append(f"{name}: {error!r}")
            return False
        except ConnectionError:
            return False
        except RpcFailure as error:
            if error.code != TRY_AGAIN:
                raise
            return False
        assert result["state"] == "done", result
        self.answered[name] = result["text"]
        return True


def processed(state: Path) -> tuple[Counter[str], Counter[str]]:
    """How often each delivery id of the load was taken up, and how often each of its texts stands in a session."""
    with contextlib.closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True)) as db:
        inbox = Counter(
            row[0]
            for row in db.execute("SELECT delivery_id FROM inbox WHERE state = 'done' AND delivery_id GLOB 'c[0-9]-*'")
        )
        said = Counter(
            row[0] for row in db.execute("SELECT text FROM messages WHERE role = 'user' AND text GLOB 'say c[0-9]-*'")
        )
    return inbox, said
