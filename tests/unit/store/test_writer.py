"""The writing thread: batches, isolation, cancellation, its end."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import pytest
import trio

from hermesd.errors import NotFoundError, StoreError
from hermesd.store.sqlite import SqliteStore, writer
from hermesd.store.sqlite.transaction import Transaction
from tests.unit.store.samples import accept
from tests.waiting import wait_until


class Gate:
    """An operation that holds the writer until it is opened, so that others must wait together."""

    def __init__(self) -> None:
        self.entered = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._open = threading.Event()

    def __call__(self, tx: Transaction) -> None:
        self._token.run_sync_soon(self.entered.set)
        assert self._open.wait(60)

    def open(self) -> None:
        self._open.set()


def _commits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sizes: list[int] = []
    original = writer.Writer._write

    def counted(self: writer.Writer, batch: list[object]) -> object:
        sizes.append(len(batch))
        return original(self, batch)

    monkeypatch.setattr(writer.Writer, "_write", counted)
    return sizes


async def test_whatever_waits_goes_into_one_commit(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty events cost one fsync when they wait together."""
    sizes = _commits(monkeypatch)
    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store._writer.submit, gate)
        await gate.entered.wait()
        for number in range(40):
            nursery.start_soon(accept, store, str(number))
        await trio.testing.wait_all_tasks_blocked()
        gate.open()
    assert sizes == [1, 40]


async def test_an_operation_that_raises_is_undone_alone(store: SqliteStore) -> None:
    """Its neighbours in the batch are committed; its error reaches its own caller; its events are not told."""
    gate = Gate()
    told: list[str] = []
    store.subscribe(lambda events: told.extend(row.kind for row in events))

    def broken(tx: Transaction) -> None:
        tx.event("test.never", "x", "", {})
        raise KeyError("bug")

    async def expect(error: type[Exception], change: object) -> None:
        with pytest.raises(error):
            await store._writer.submit(change)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(store._writer.submit, gate)
        await gate.entered.wait()
        nursery.start_soon(accept, store, "before")
        nursery.start_soon(expect, KeyError, broken)
        nursery.start_soon(expect, StoreError, lambda tx: tx.run("INSERT INTO nowhere VALUES (1)"))
        nursery.start_soon(accept, store, "after")
        await trio.testing.wait_all_tasks_blocked()
        gate.open()
    assert {row.delivery_id for row in await store.inbox()} == {"before", "after"}
    assert told == ["inbox.accepted", "inbox.accepted"]
    assert [row.kind for row in (await store.events_since(0)).events] == told


async def test_a_cancelled_caller_withdraws_what_is_not_begun(store: SqliteStore) -> None:
    """Nothing of it is written."""
    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store._writer.submit, gate)
        await gate.entered.wait()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                inner.start_soon(accept, store, "withdrawn")
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        gate.open()
    assert await store.inbox() == []


async def test_a_cancelled_caller_learns_the_outcome_of_what_is_begun(store: SqliteStore) -> None:
    """It waits for the commit: no caller is left not knowing."""
    gate = Gate()
    answers: list[str] = []

    async def call() -> None:
        def change(tx: Transaction) -> str:
            gate(tx)
            return "written"

        answers.append(await store._writer.submit(change))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await gate.entered.wait()
        nursery.cancel_scope.cancel()
        gate.open()
    assert answers == ["written"]


async def test_a_stopping_store_writes_what_waits(path: Path) -> None:
    """Cancelling the service loses nothing, and the store can be used (and run) again."""
    store = SqliteStore.open(path)
    gate = Gate()
    async with trio.open_nursery() as callers, trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: store.run(task_status=task_status))
        callers.start_soon(store._writer.submit, gate)
        await gate.entered.wait()
        callers.start_soon(accept, store, "late")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        gate.open()
    assert [row.delivery_id for row in await store.inbox()] == ["late"]
    await accept(store, "later still")
    assert len(await store.inbox()) == 2
    store.close()


async def test_a_writer_that_ends_by_a_bug_leaves_nobody_waiting(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Callers get StoreError, the service fails so that it is restarted, and then it works again."""
    store = SqliteStore.open(path)

    def bug(self: writer.Writer, batch: object) -> object:
        raise RuntimeError("bug in the writer")

    with monkeypatch.context() as patch, caplog.at_level(logging.CRITICAL):
        patch.setattr(writer.Writer, "_write", bug)
        with pytest.raises(ExceptionGroup) as caught:
            async with trio.open_nursery() as nursery:
                await nursery.start(lambda task_status: store.run(task_status=task_status))
                with pytest.raises(StoreError, match="bug in the writer"):
                    await accept(store)
                await trio.sleep_forever()
        assert caught.group_contains(StoreError, match="writer ended")
    await accept(store)
    store.close()


async def test_the_log_is_moved_into_the_file_between_batches(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not grow for ever although nothing checkpoints by itself."""
    store._writer._checkpoint_at = 20
    monkeypatch.setattr(writer, "CHECKPOINT_PAGES", 20)
    for number in range(60):
        await accept(store, str(number))
    wal = store.path.with_name("state.db-wal")
    assert wal.stat().st_size < 60 * 4 * 4096
    assert len(await store.inbox()) == 60


async def test_an_idle_writer_wakes_for_nothing(store: SqliteStore) -> None:
    """Its thread sleeps in the kernel: no context switch of its own while nothing is written."""
    await accept(store)
    await store.last_event_id()
    thread = store._writer._thread
    assert thread is not None

    def switches() -> str:
        status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
        return "".join(line for line in status.splitlines() if "ctxt_switches" in line)

    def rests() -> bool:
        before = switches()
        time.sleep(0.15)  # not for something: nothing is to happen
        return switches() == before

    await trio.to_thread.run_sync(wait_until, rests)  # once it has gone to sleep


async def test_errors_of_the_store_pass_through_unchanged(store: SqliteStore) -> None:
    """A NotFoundError raised in the thread is the caller's."""
    with pytest.raises(NotFoundError, match="no session"):
        await store.set_title("s_x", "t")
