"""Where reads run: small ones by key on the loop (microseconds), the others in a thread of their own limiter."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, TypeVar

import apsw
import trio

from hermesd.errors import StoreError
from hermesd.store.sqlite.connection import open_reader, refusal
from hermesd.store.sqlite.transaction import View

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

READING_THREADS = 2


class Readers:
    """Read-only connections, opened when first needed. They see every commit that a caller was told of."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._here: View | None = None
        self._connections: list[apsw.Connection] = []
        self._idle: list[View] = []
        self._lock = threading.Lock()
        self._limiter: trio.CapacityLimiter | None = None
        self._closed = False

    async def here(self, read: Callable[[View], T]) -> T:
        """Read on the loop: for look-ups by key only. Raises StoreError."""
        await trio.lowlevel.checkpoint()
        try:
            if self._here is None:
                self._here = self._open()
            return read(self._here)
        except apsw.Error as error:
            raise refusal(error, self._path) from error

    async def in_thread(self, read: Callable[[View], T]) -> T:
        """Read in a thread; a cancelled caller does not wait for it. Raises StoreError."""
        if self._limiter is None:
            self._limiter = trio.CapacityLimiter(READING_THREADS)
        return await trio.to_thread.run_sync(self._read, read, abandon_on_cancel=True, limiter=self._limiter)

    def _read(self, read: Callable[[View], T]) -> T:
        view: View | None = None
        try:
            with self._lock:
                view = self._idle.pop() if self._idle else None
            if view is None:
                view = self._open()
            return read(view)
        except apsw.Error as error:
            raise refusal(error, self._path) from error
        finally:
            if view is not None:
                with self._lock:
                    self._idle.append(view)

    def _open(self) -> View:
        with self._lock:
            if self._closed:
                raise StoreError("the store is closed", where=str(self._path), next_step="start hermesd again")
            db = open_reader(self._path)
            self._connections.append(db)
        return View(db)

    def close(self) -> None:
        """Interrupt what is being read and close every connection."""
        with self._lock:
            self._closed = True
            connections, self._connections = self._connections, []
            self._idle.clear()
        self._here = None
        for db in connections:
            with contextlib.suppress(apsw.Error):
                db.interrupt()
                db.close(True)
