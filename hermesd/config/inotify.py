"""inotify(7) by ctypes: one descriptor that becomes readable when something in a watched directory changes.

Not inotify-simple: to find the C library it runs a child process (``ldconfig``), which a daemon that reaps its
children must not have; the three functions needed here are in the process already.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

# <sys/inotify.h>
MODIFY = 0x002
ATTRIB = 0x004
CLOSE_WRITE = 0x008
MOVED_FROM = 0x040
MOVED_TO = 0x080
CREATE = 0x100
DELETE = 0x200
Q_OVERFLOW = 0x4000
IGNORED = 0x8000
ONLYDIR = 0x01000000

_HEADER = struct.Struct("iIII")  # wd, mask, cookie, len
_BUFFER = 64 * 1024


class Event(msgspec.Struct, frozen=True):
    """Something happened to ``name`` in the directory watched as ``watch`` (-1: events were lost)."""

    watch: int
    mask: int
    name: str


class Inotify:
    """A non-blocking inotify instance, closed by ``close``. All methods raise OSError."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._checked(self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))

    def add(self, directory: Path, mask: int) -> int:
        """Watch a directory; the same directory has the same number."""
        path = os.fsencode(directory)
        return self._checked(self._libc.inotify_add_watch(self.fd, path, ctypes.c_uint32(mask | ONLYDIR)), directory)

    def remove(self, watch: int) -> None:
        """Watch it no longer; an IGNORED event follows."""
        self._checked(self._libc.inotify_rm_watch(self.fd, watch))

    def read(self) -> list[Event]:
        """Everything that has happened; empty when nothing has."""
        try:
            data = os.read(self.fd, _BUFFER)
        except BlockingIOError:
            return []
        found, offset = [], 0
        while offset < len(data):
            watch, mask, _, length = _HEADER.unpack_from(data, offset)
            offset += _HEADER.size
            found.append(Event(watch, mask, os.fsdecode(data[offset : offset + length].rstrip(b"\0"))))
            offset += length
        return found

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)

    @staticmethod
    def _checked(result: int, directory: Path | None = None) -> int:
        if result < 0:
            errno = ctypes.get_errno()
            raise OSError(errno, os.strerror(errno), str(directory) if directory else None)
        return int(result)
