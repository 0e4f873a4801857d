"""Keeping a bounded part of unbounded output: the head and the tail, or the tail alone."""

from __future__ import annotations

from collections import deque


class Output:
    """Takes any amount of bytes, keeps the first ``head`` and the last ``tail`` of them.

    Memory stays below head + tail + one piece. ``total`` counts everything that was taken.
    """

    def __init__(self, *, head: int, tail: int) -> None:
        self.total = 0
        self._head = bytearray()
        self._head_size = head
        self._tail: deque[bytes] = deque()
        self._tail_size = tail
        self._tail_kept = 0

    def take(self, piece: bytes) -> None:
        """Add what was read."""
        self.total += len(piece)
        if room := self._head_size - len(self._head):
            self._head += piece[:room]
            piece = piece[room:]
        if not piece:
            return
        self._tail.append(piece)
        self._tail_kept += len(piece)
        while self._tail_kept - len(self._tail[0]) >= self._tail_size:
            self._tail_kept -= len(self._tail.popleft())
        if len(self._tail) > 256:  # many tiny pieces cost more than their bytes
            self._tail = deque((b"".join(self._tail),))

    @property
    def left_out(self) -> int:
        """How many bytes are no longer there."""
        return self.total - len(self._head) - min(self._tail_kept, self._tail_size)

    def text(self, *, last: int | None = None) -> str:
        """What is kept, as text, with a line that says how much is missing; ``last`` gives only so many bytes."""
        tail = b"".join(self._tail)[-self._tail_size :] if self._tail_size else b""
        if last is not None:
            kept = (bytes(self._head) + tail if not self.left_out else tail)[-last:]
            missing = self.total - len(kept)
            return (f"[{missing} bytes before this are left out]\n" if missing else "") + kept.decode(
                "utf-8", "replace"
            )
        head = self._head.decode("utf-8", "replace")
        if not self.left_out:
            return (bytes(self._head) + tail).decode("utf-8", "replace")
        return f"{head}\n[… {self.left_out} bytes left out …]\n{tail.decode('utf-8', 'replace')}"
