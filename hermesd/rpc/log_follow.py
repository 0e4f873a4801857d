"""A log file that is appended to, and at times renamed away or cut to nothing and begun anew."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from hermesd.rpc.log_tail import read_tail

if TYPE_CHECKING:
    from pathlib import Path

CHUNK_BYTES = 64 * 1024
MAX_LINE_BYTES = 1024 * 1024

_disk = trio.CapacityLimiter(4)


class GrowingFile:
    """Reads on where it has stopped. It holds the file open, so what was written before a rename is not missed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._position = 0
        self._rest = b""

    def __enter__(self) -> GrowingFile:
        self._open()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._close()

    async def last_lines(self, count: int, level: str, service: str) -> list[str]:
        """The last whole lines there are now that match; ``new_lines`` goes on where these end."""
        return await trio.to_thread.run_sync(self._last_lines, count, level, service, limiter=_disk)

    async def new_lines(self) -> list[str] | None:
        """The whole lines of the next part of the file, maybe none; None at the end of what there is."""
        data = await trio.to_thread.run_sync(self._read, limiter=_disk)
        if not data:
            return None
        *whole, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-MAX_LINE_BYTES:]
        return [line.decode("utf-8", "replace") for line in whole if line]

    def _last_lines(self, count: int, level: str, service: str) -> list[str]:
        if self._fd < 0:
            return []
        size = os.fstat(self._fd).st_size
        start = max(size - CHUNK_BYTES, 0)
        newline = os.pread(self._fd, CHUNK_BYTES, start).rfind(b"\n")
        self._position = size if newline < 0 and start else start + newline + 1
        return read_tail(self._path, lines=count, level=level, service=service, end=self._position)

    def _read(self) -> bytes:
        if self._fd < 0:
            self._open()
        data = self._next()
        if not data and self._was_replaced():
            data = self._next()  # what was written between our last look and the rename
            if not data:
                ending = b"\n" if self._rest else b""
                self._open()
                data = ending + self._next()
        return data

    def _next(self) -> bytes:
        if self._fd < 0:
            return b""
        data = os.pread(self._fd, CHUNK_BYTES, self._position)
        if not data and os.fstat(self._fd).st_size < self._position:  # cut to nothing, or to less
            self._position = 0
            data = os.pread(self._fd, CHUNK_BYTES, 0)
        self._position += len(data)
        return data

    def _was_replaced(self) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return self._fd >= 0 and not os.path.samestat(os.fstat(self._fd), there)

    def _open(self) -> None:
        self._close()
        self._position = 0
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            self._fd = -1

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
