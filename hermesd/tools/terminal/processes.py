"""Background processes of one profile: bounded in number and output, and gone when the table closes.

running ──exit──► ended (kept for its output until its place is needed)
   └──kill / close──► ended
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.errors import ConflictError
from hermesd.tools.terminal.local import LocalProcess, Spawn
from hermesd.tools.terminal.output import Output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MOST_PROCESSES = 32
OUTPUT_BYTES = 256 * 1024


class BackgroundProcess(msgspec.Struct):
    """One of them. ``status`` is None while it runs, then as in ``subprocess``; times are epoch seconds."""

    id: str
    command: str
    session_id: str
    pid: int
    process: LocalProcess
    started_at: float
    output: Output = msgspec.field(default_factory=lambda: Output(head=0, tail=OUTPUT_BYTES))
    status: int | None = None
    ended_at: float = 0.0
    ended: trio.Event = msgspec.field(default_factory=trio.Event)
    scope: trio.CancelScope = msgspec.field(default_factory=trio.CancelScope)

    async def wait(self, timeout_s: float) -> bool:
        """Whether it has ended within the time."""
        with trio.move_on_after(timeout_s):
            await self.ended.wait()
        return self.ended.is_set()

    async def kill(self) -> None:
        """End it and all it started; returns when that is done. Idempotent."""
        self.scope.cancel()
        await self.ended.wait()


class ProcessTable:
    """The profile's background processes; a service that owns them while it runs.

    ``prefix`` is ``leftovers.tag_prefix(home)``: with it a later daemon finds what this one could not end.
    """

    def __init__(self, prefix: str, *, most: int = MOST_PROCESSES) -> None:
        self._prefix = prefix
        self._most = most
        self._processes: dict[str, BackgroundProcess] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the processes until cancelled, then end them all, side by side, within a few seconds."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def new_tag(self) -> str:
        """A fresh HERMESD_PROCESS value, for a foreground command or a background process."""
        return self._prefix + secrets.token_hex(4)

    def start(
        self, argv: Sequence[str], *, command: str, session_id: str, cwd: Path, env: Mapping[str, str]
    ) -> BackgroundProcess:
        """Start a process that outlives the call. Raises OSError, or ConflictError when the table is full or closed."""
        if self._nursery is None:
            raise ConflictError("background processes are not available now", next_step="run it in the foreground")
        self._make_room()
        tag = self.new_tag()
        process = LocalProcess(Spawn(argv, cwd, env, tag))
        name = tag.removeprefix(self._prefix)
        item = BackgroundProcess(name, command, session_id, process.pid, process, time.time())
        self._processes[item.id] = item
        self._nursery.start_soon(self._own, item, name=f"process {item.id}")
        return item

    def get(self, process_id: str) -> BackgroundProcess | None:
        """The process with this id, running or ended."""
        return self._processes.get(process_id)

    def list(self) -> list[BackgroundProcess]:
        """All that are known, oldest first."""
        return [*self._processes.values()]

    def _make_room(self) -> None:
        if len(self._processes) < self._most:
            return
        oldest = next((item for item in self._processes.values() if item.status is not None), None)
        if oldest is None:
            raise ConflictError(f"{self._most} background processes are running", next_step="kill one of them first")
        del self._processes[oldest.id]

    async def _own(self, item: BackgroundProcess) -> None:
        try:
            with item.scope:
                await item.process.exited(item.output.take)
        finally:
            item.status = await item.process.end(item.output.take)
            item.ended_at = time.time()
            item.ended.set()
