"""The one thread that writes: everything that waits goes into one commit, and so costs one fsync together.

    submit ──► queue ──► BEGIN · op… · COMMIT (fsync) ──► one call on the loop: events, results

An operation that raises is rolled back alone: the batch is begun again with a savepoint around each, which the many
batches without such an operation do not pay for. So an operation may run twice, and must change nothing but what it
is given. When SQLite refuses the commit, every operation of the batch gets StoreError and nothing of it is in the
file. An idle writer sleeps on a condition and wakes for nothing.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, TypeVarTuple, Unpack, cast

import apsw
import trio
from outcome import Error, Outcome, Value

from hermesd import failpoint
from hermesd.errors import StoreError
from hermesd.store.sqlite.connection import open_writer, refusal
from hermesd.store.sqlite.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hermesd.store.records import EventRow

log = logging.getLogger("hermesd.store")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

CHECKPOINT_PAGES = 1000  # 4 MiB of log
MAX_BATCH = 512


@dataclass(slots=True, eq=False)
class _Operation(Generic[T]):
    """A change that waits, and the task that waits for it."""

    change: Callable[[Transaction], T]
    accepts: bool
    task: trio.lowlevel.Task
    result: Outcome[T] | None = None


_Batch = list[_Operation[Any]]  # Any: each operation has a result type of its own, checked in submit


class Writer:
    """Owns the writing connection. ``deliver`` is called on the loop with the events of each commit."""

    def __init__(self, path: Path, db: apsw.Connection, deliver: Callable[[list[EventRow]], None]) -> None:
        self.failure = ""
        self._path = path
        self._db: apsw.Connection | None = None
        self._deliver = deliver
        self._changed = threading.Condition()
        self._queue: deque[_Operation[Any]] = deque()  # Any: as in _Batch
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._closed = False
        self._wal_pages = 0
        self._checkpoint_at = CHECKPOINT_PAGES
        self._token: trio.lowlevel.TrioToken | None = None
        self._ended = trio.Event()
        self._use(db)

    # -- on the loop -------------------------------------------------------------------------------------------------

    async def submit(self, change: Callable[[Transaction], T], *, accepts: bool = False) -> T:
        """Run ``change`` in the writer; returns its result once it is on the disk, or raises what it raised.

        Cancelled only while the change still waits; once it is being written the outcome is awaited, so that a
        caller always knows whether it happened. Raises StoreError.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        operation = _Operation(change, accepts, trio.lowlevel.current_task())
        self._token = trio.lowlevel.current_trio_token()
        with self._changed:
            self._start_thread()
            self._queue.append(operation)
            self._changed.notify()

        def withdraw(_: object) -> trio.lowlevel.Abort:
            with self._changed:
                if operation not in self._queue:
                    return trio.lowlevel.Abort.FAILED
                self._queue.remove(operation)
            return trio.lowlevel.Abort.SUCCEEDED

        return cast("T", await trio.lowlevel.wait_task_rescheduled(withdraw))

    def start(self) -> None:
        """Start the thread, if it is not running. Must be called on the loop."""
        self._token = trio.lowlevel.current_trio_token()
        with self._changed:
            self._start_thread()

    async def wait_ended(self) -> None:
        """Return when the thread has ended without having been asked to: a bug."""
        await self._ended.wait()

    def _start_thread(self) -> None:
        if self._closed:
            raise StoreError("the store is closed", where=str(self._path), next_step="start hermesd again")
        if self._thread is None:
            self._stopping = False
            self._ended = trio.Event()
            self._thread = threading.Thread(target=self._run, name="hermesd-store", daemon=True)
            self._thread.start()

    def _hand_back(self, batch: _Batch, events: list[EventRow]) -> None:
        """Runs on the loop, in commit order."""
        if events:
            self._deliver(events)
        for operation in batch:
            trio.lowlevel.reschedule(operation.task, cast("Outcome[Any]", operation.result))  # Any: as in _Batch

    # -- from any thread ---------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Write what waits, checkpoint, end the thread. Blocks; a later ``submit`` starts it again."""
        with self._changed:
            thread = self._thread
            self._stopping = True
            self._changed.notify()
        if thread is not None:
            thread.join()

    def close(self) -> None:
        """Stop for good and close the connection."""
        self.stop()
        with self._changed:
            self._closed = True
        if self._db is not None:
            self._db.close()
            self._db = None

    # -- in the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        batch: _Batch = []
        try:
            while True:
                while batch := self._take():
                    self._commit(batch)
                    if self._wal_pages >= self._checkpoint_at:
                        self._checkpoint(apsw.SQLITE_CHECKPOINT_PASSIVE)
                self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)
                if self._leave():
                    return
        except BaseException as error:  # whatever it is, nobody may wait for ever; run() reports it
            log.exception("the store's writer ended")
            self._abandon(batch, error)

    def _take(self) -> _Batch:
        """What waits, or nothing when the thread is to end."""
        with self._changed:
            while not self._queue and not self._stopping:
                self._changed.wait()
            return [self._queue.popleft() for _ in range(min(len(self._queue), MAX_BATCH))]

    def _leave(self) -> bool:
        with self._changed:
            if self._queue:
                return False
            self._thread = None
            return True

    def _abandon(self, batch: _Batch, error: BaseException) -> None:
        with self._changed:
            self._thread = None
            batch = [*batch, *self._queue]
            self._queue.clear()
        for operation in batch:
            operation.result = Error(
                StoreError(f"the writer ended: {error!r}", where=str(self._path), next_step="see the log of hermesd")
            )
        self._on_loop(self._hand_back, batch, [])
        self._on_loop(self._ended.set)

    def _commit(self, batch: _Batch) -> None:
        events: list[EventRow] = []
        try:
            events = self._write(batch)
        except apsw.Error as error:
            self._roll_back()
            refused = refusal(error, self._path)
            if refused.what != self.failure:
                log.error("the store cannot write: %s", refused)  # noqa: TRY400 - a known cause, told once
            self.failure = refused.what
            for operation in batch:
                operation.result = Error(refusal(error, self._path))  # one each: a raised error gathers a traceback
        else:
            if self.failure:
                log.warning("the store writes again: %s", self._path)
            self.failure = ""
        self._on_loop(self._hand_back, batch, events)

    def _write(self, batch: _Batch) -> list[EventRow]:
        """The batch in one transaction. Raises apsw.Error when SQLite gave up the transaction."""
        db = self._db or self._use(open_writer(self._path))
        db.execute("BEGIN IMMEDIATE")
        events = _apply_all(db, batch)
        if events is None:
            db.execute("ROLLBACK")
            db.execute("BEGIN IMMEDIATE")
            events = [event for operation in batch for event in _apply_alone(db, operation, self._path)]
        accepts = any(operation.accepts for operation in batch)
        if accepts:
            failpoint.hit("inbox.before_commit")
        failpoint.hit("store.before_commit")
        db.execute("COMMIT")
        if accepts:
            failpoint.hit("inbox.after_commit")
        failpoint.hit("store.after_commit")
        return events

    def _roll_back(self) -> None:
        """After a refusal: back to the last commit, on a new connection if this one cannot."""
        db = self._db
        try:
            if db is not None and db.in_transaction:
                db.execute("ROLLBACK")
        except apsw.Error as error:
            log.warning("rollback refused, opening %s again: %s", self._path, error)
            self._db = None
            if db is not None:
                db.close(True)

    def _use(self, db: apsw.Connection) -> apsw.Connection:
        db.set_wal_hook(self._note_wal_pages)
        self._db = db
        return db

    def _note_wal_pages(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self, mode: int) -> None:
        """Move the log into the file. A reader in the way or a full disk only means: later."""
        if self._db is None:
            return
        try:
            pages, moved = self._db.wal_checkpoint(mode=mode)
        except apsw.Error as error:
            log.warning("checkpoint of %s put off: %s", self._path, error)
            pages, moved = self._wal_pages, 0
        self._checkpoint_at = CHECKPOINT_PAGES if moved >= pages else pages + CHECKPOINT_PAGES

    def _on_loop(self, call: Callable[[Unpack[Ts]], object], *args: *Ts) -> None:
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):  # nobody is left to be told
                self._token.run_sync_soon(call, *args)


_FATAL = (apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.CorruptError, apsw.NotADBError, apsw.NoMemError)


def _apply_all(db: apsw.Connection, batch: _Batch) -> list[EventRow] | None:
    """Every operation, or None as soon as one raises. Raises apsw.Error when the batch cannot go on."""
    transaction = Transaction(db)
    for operation in batch:
        try:
            operation.result = Value(operation.change(transaction))
        except Exception as error:  # the caller's: it is raised again, and told, when the operation runs alone
            if isinstance(error, _FATAL) or not db.in_transaction:
                raise
            return None
    return transaction.events


def _apply_alone(db: apsw.Connection, operation: _Operation[Any], path: Path) -> list[EventRow]:  # Any: as in _Batch
    """One operation in a savepoint of its own; returns its events. Raises apsw.Error when the batch cannot go on."""
    transaction = Transaction(db)
    db.execute("SAVEPOINT operation")
    try:
        operation.result = Value(operation.change(transaction))
    except Exception as error:  # the caller's: it is raised where the caller awaits
        if isinstance(error, _FATAL) or not db.in_transaction:
            raise
        db.execute("ROLLBACK TO operation")
        transaction.events.clear()
        operation.result = Error(_as_store_error(error, path))
    db.execute("RELEASE operation")
    return transaction.events


def _as_store_error(error: Exception, path: Path) -> Exception:
    if not isinstance(error, apsw.Error):
        return error
    log.error("a statement was refused", exc_info=error)
    return refusal(error, path)
