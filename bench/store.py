"""The store's figures: python bench/store.py [DIRECTORY]. One JSON object; times in milliseconds, memory in KiB."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from hermesd.store.records import Address, NewEvent, NewMessage, NewOutbox, StepRow
from hermesd.store.sqlite import SqliteStore

TASKS, EACH, SINGLES, TURNS = 64, 200, 300, 100


def event(name: str) -> NewEvent:
    address = Address(platform="telegram", chat="1")
    return NewEvent(
        profile="default", source="bench", delivery_id=name, session_key="k", text=f"hello {name}", address=address
    )


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


async def timed(count: int, call: Callable[[int], Awaitable[object]]) -> dict[str, float]:
    times = []
    for number in range(count):
        start = time.perf_counter()
        await call(number)
        times.append((time.perf_counter() - start) * 1e3)
    times.sort()
    return {"p50": round(times[count // 2], 3), "p99": round(times[int(count * 0.99) - 1], 3)}


async def one_turn(store: SqliteStore, session: str, number: int) -> None:
    """A warm turn's writes: accept, begin, two journal rows, finish, two outbox marks."""
    (accepted,) = await store.accept([event(f"turn{number}")])
    begun = await store.begin_turn(accepted.id, session_id=session)
    turn = begun.turn.id
    await store.journal([StepRow(turn_id=turn, seq=0, kind="model", name="m", state="done", result="{}")])
    await store.journal([StepRow(turn_id=turn, seq=1, kind="tool", name="t", state="done", result="{}")])
    await store.finish_turn(
        turn,
        state="done",
        inbox_state="done",
        messages=[NewMessage(role="user", text="hello", body='{"role":"user","text":"hello"}')],
        outbox=[NewOutbox(profile="default", address=begun.event.address, text="hi", idempotency_key=turn)],
    )
    (row,) = await store.due_outbox("default", now=time.time())
    await store.mark_attempting(row.id)
    await store.mark_sent(row.id, ref="1")


async def measure(home: Path) -> dict[str, object]:
    path = home / "state.db"
    before = resident()
    start = time.perf_counter()
    SqliteStore.open(path).close()
    made = time.perf_counter()
    store = SqliteStore.open(path)
    opened = time.perf_counter()
    figures: dict[str, object] = {
        "open_empty": round((made - start) * 1e3, 2),
        "open_existing": round((opened - made) * 1e3, 2),
    }
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: store.run(task_status=task_status))
        await store.last_event_id()
        figures["rss_idle"] = resident() - before
        figures["accept"] = await timed(SINGLES, lambda number: store.accept([event(f"one{number}")]))

        async def many(task: int) -> None:
            for number in range(EACH):
                await store.accept([event(f"{task}-{number}")])

        start = time.perf_counter()
        async with trio.open_nursery() as tasks:
            for task in range(TASKS):
                tasks.start_soon(many, task)
        figures[f"accepts_per_s_{TASKS}_tasks"] = round(TASKS * EACH / (time.perf_counter() - start))
        session = await store.open_session("default", "k", source="bench")
        figures["turn"] = await timed(TURNS, lambda number: one_turn(store, session.id, number))
        figures["rss_loaded"] = resident() - before
        nursery.cancel_scope.cancel()
    store.close()
    return figures


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as directory:
        print(json.dumps(trio.run(measure, Path(directory)), indent=1))
