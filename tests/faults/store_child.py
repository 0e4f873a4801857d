"""What the store's fault tests run in a process of its own. Not a test itself.

python store_child.py accept HOME ROUND     accept events for ever; each acknowledged id is a line on stdout
python store_child.py refuse HOME ERRNO STAYS   the N-th write or sync fails, N = 1, 2, 3 … until none does
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import sys
from pathlib import Path

import apsw
import trio

from hermesd.errors import StoreError
from hermesd.store.records import Address, NewEvent, NewMessage, NewOutbox, StepRow
from hermesd.store.sqlite import SqliteStore, writer

HERE = Address(platform="telegram", chat="1")


def event(delivery_id: str) -> NewEvent:
    return NewEvent(
        profile="default", source="test", delivery_id=delivery_id, session_key="k", text="text " * 50, address=HERE
    )


async def accept_for_ever(home: Path, round_number: str) -> None:
    store = SqliteStore.open(home / "state.db")

    async def worker(number: int) -> None:
        for count in range(1_000_000):
            name = f"{round_number}-{number}-{count}"
            await store.accept([event(name)])
            os.write(1, f"{name}\n".encode())  # the acknowledgement: after the commit

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(worker, number)


class Workload:
    """A turn's life, each write on its own; what was refused is tried again."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.turn_id = ""
        self.session_id = ""
        self.refused = 0

    async def run(self) -> None:
        for number in range(3):
            await self.insist(lambda number=number: self.store.accept([event(str(number))]))
        self.session_id = (await self.insist(lambda: self.store.open_session("default", "k", source="test"))).id
        begun = await self.insist(lambda: self.store.begin_turn(1, session_id=self.session_id))
        self.turn_id = begun.turn.id
        step = StepRow(turn_id=self.turn_id, seq=0, kind="tool", name="t", state="done", result="x" * 6_000)
        await self.insist(lambda: self.store.journal([step]))
        await self.insist(self.finish)
        await self.insist(lambda: self.store.mark_attempting(1))
        await self.insist(lambda: self.store.mark_sent(1, ref="1"))

    async def finish(self) -> object:
        body = json.dumps({"role": "user", "text": "hello"}, separators=(",", ":"))
        return await self.store.finish_turn(
            self.turn_id,
            state="done",
            inbox_state="done",
            messages=[NewMessage(role="user", text="hello", body=body)],
            outbox=[NewOutbox(profile="default", address=HERE, text="hi", idempotency_key="r")],
        )

    async def insist(self, write: object) -> object:
        """Once against the fault; when refused, reads still work, and after the fault the same call succeeds."""
        before = await self.snapshot()
        try:
            return await write()
        except StoreError:
            self.refused += 1
            assert self.store.failure
            assert await self.snapshot() == before, "a refused write left something behind"
            arm(0)
            result = await write()
            assert not self.store.failure
            return result

    async def snapshot(self) -> object:
        counts = await self.store.counts()
        return counts, await self.store.last_event_id(), await self.store.inbox(), await self.store.outbox()


_shim = ctypes.CDLL(None)


def arm(n: int, error: int = 0, stays: int = 0) -> None:
    _shim.refuse_arm(n, error, stays)


async def refuse_each(home: Path, error: int, stays: int) -> None:
    """Reports how many points there were and how many were refusals that a caller saw."""
    writer.CHECKPOINT_PAGES = 12  # so that checkpoints happen, and fail, within the workload
    points = seen = 0
    for n in range(1, 2000):
        root = home / str(n)
        store = SqliteStore.open(root / "state.db")
        store._writer._checkpoint_at = 12
        arm(n, error, stays)
        work = Workload(store)
        await work.run()
        fired = _shim.refuse_count() > 0
        arm(0)
        store.close()
        verify(root / "state.db")
        shutil.rmtree(root)
        seen += work.refused > 0
        if not fired:
            break
        points += 1
    print(json.dumps({"points": points, "seen": seen}))


def refuse_each_in_opening(home: Path, error: int) -> None:
    """A first start that fails leaves no half-made file, and the next one succeeds."""
    points = 0
    for n in range(1, 2000):
        root = home / f"open{n}"
        arm(n, error)
        with contextlib.suppress(StoreError):
            SqliteStore.open(root / "state.db").close()
        fired = _shim.refuse_count() > 0
        arm(0)
        left = sorted(path.name for path in root.iterdir())
        assert left in ([], ["state.db"]) or set(left) <= {"state.db", "state.db-wal", "state.db-shm"}, left
        SqliteStore.open(root / "state.db").close()
        shutil.rmtree(root)
        if not fired:
            break
        points += 1
    print(json.dumps({"points": points}))


def verify(path: Path) -> None:
    """The file is sound, everything is there exactly once, revisions have no gap."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert db.execute("SELECT delivery_id, state FROM inbox ORDER BY id").fetchall() == [
        ("0", "done"),
        ("1", "pending"),
        ("2", "pending"),
    ]
    assert db.execute("SELECT state, attempts FROM outbox").fetchall() == [("sent", 1)]
    assert db.execute("SELECT count(*) FROM messages").get == 1
    kinds = [row[0] for row in db.execute("SELECT kind FROM events ORDER BY id")]
    assert kinds == [
        *["inbox.accepted"] * 3,
        "session.created",
        "turn.started",
        "step.done",
        "outbox.queued",
        "turn.finished",
        "outbox.attempting",
        "outbox.sent",
    ], kinds
    assert db.execute("SELECT max(id) FROM events").get == len(kinds)
    db.close()


if __name__ == "__main__":
    if sys.argv[1] == "accept":
        trio.run(accept_for_ever, Path(sys.argv[2]), sys.argv[3])
    elif sys.argv[1] == "open":
        refuse_each_in_opening(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        trio.run(refuse_each, Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
