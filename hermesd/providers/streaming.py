"""Server-sent events, parsed in linear time and bounded memory.

The grammar is that of the WHATWG HTML standard, section 9.2.6: lines end in LF, CR or CRLF, a blank line ends an
event, an event cut off by the end of the stream is dropped. ``id`` and ``retry`` have no meaning here.
"""

from __future__ import annotations

from typing import NamedTuple

from hermesd.providers.failures import malformed

MAX_EVENT_BYTES = 4 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_LF, _CR = 0x0A, 0x0D


class SseEvent(NamedTuple):
    """One event: its type ("" when none was named) and its data lines joined by LF."""

    event: str
    data: bytes


class SseParser:
    """Bytes in, events out, however the bytes are cut.

    An event (or one line of it) of more than ``max_event_bytes`` raises ProviderError (malformed): what would be an
    unbounded buffer is not the protocol.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES, where: str = "") -> None:
        self._max = max_event_bytes
        self._where = where
        self._partial: list[bytes] = []
        self._data: list[bytes] = []
        self._held = 0
        self._event = ""
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that this chunk completes."""
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if not chunk:
            return []
        events: list[SseEvent] = []
        for piece in chunk.splitlines(keepends=True):
            if piece[-1] not in (_LF, _CR):
                self._partial.append(piece)
                self._hold(len(piece))
                continue
            line = self._finish_line(piece.rstrip(b"\r\n"))
            if line:
                self._field(line)
            elif self._data:
                events.append(self._dispatch())
            else:
                self._event = ""
        self._after_cr = chunk[-1] == _CR
        return events

    def _finish_line(self, tail: bytes) -> bytes:
        if self._partial:
            self._held -= sum(map(len, self._partial))
            tail = b"".join((*self._partial, tail))
            self._partial.clear()
        if self._at_start:
            self._at_start = False
            tail = tail.removeprefix(_BOM)
        return tail

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._hold(len(value) + 1)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")

    def _dispatch(self) -> SseEvent:
        event = SseEvent(self._event, b"\n".join(self._data))
        self._held -= len(event.data) + 1
        self._data.clear()
        self._event = ""
        return event

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > self._max:
            raise malformed(
                f"the endpoint sent one event of more than {self._max} bytes", where=self._where, retry=False
            )
