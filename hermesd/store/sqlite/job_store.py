"""``store.jobs.JobStore`` over the writer and the readers of a ``SqliteStore``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.store.sqlite import jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.store.records import Firing, JobRow, NewEvent, NewOutbox, Occurrence, RunKind, RunRow, RunState
    from hermesd.store.sqlite.readers import Readers
    from hermesd.store.sqlite.writer import Writer


class SqliteJobs:
    """See ``store.jobs.JobStore`` for what each method promises."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._read = readers

    async def put(self, job: JobRow) -> JobRow:
        """Insert or replace by id; raises ConflictError."""
        return await self._writer.submit(lambda tx: jobs.put(tx, job))

    async def delete(self, job_id: str) -> JobRow:
        """Remove it; raises NotFoundError."""
        return await self._writer.submit(lambda tx: jobs.delete(tx, job_id))

    async def get(self, job_id: str) -> JobRow:
        """One job; raises NotFoundError."""
        return await self._read.here(lambda view: jobs.get(view, job_id))

    async def listing(self, *, profile: str | None = None) -> list[JobRow]:
        """In the order they were made."""
        return await self._read.in_thread(lambda view: jobs.listing(view, profile))

    async def timetable(self) -> list[tuple[float, str]]:
        """Of every active job."""
        return await self._read.in_thread(jobs.timetable)

    async def fire(self, firings: Sequence[Firing]) -> list[RunRow]:
        """Take up what is due, of many jobs in one commit."""
        return await self._writer.submit(lambda tx: jobs.fire(tx, firings))

    async def start(self, job_id: str, occurrence: Occurrence) -> RunRow:
        """A run by hand. Raises NotFoundError, ConflictError."""
        return await self._writer.submit(lambda tx: jobs.start(tx, job_id, occurrence))

    async def hand_over(self, run_id: int, event: NewEvent, *, output: str = "") -> RunRow:
        """The run goes on as an event."""
        return await self._writer.submit(lambda tx: jobs.hand_over(tx, run_id, event, output=output))

    async def begin_script(self, run_id: int) -> RunRow:
        """Before the script starts. Raises NotFoundError, ConflictError."""
        return await self._writer.submit(lambda tx: jobs.begin_script(tx, run_id))

    async def end(
        self, run_id: int, *, state: RunState, output: str = "", error: str = "", messages: Sequence[NewOutbox] = ()
    ) -> RunRow:
        """A run without a turn is over. Raises NotFoundError, ConflictError."""
        return await self._writer.submit(
            lambda tx: jobs.end(tx, run_id, state=state, output=output, error=error, messages=messages)
        )

    async def unfinished(self, profile: str | None = None) -> list[RunRow]:
        """Queued, or cut in their script; oldest first."""
        return await self._read.here(lambda view: jobs.unfinished(view, profile))

    async def run_of(self, run_id: int) -> RunRow:
        """One run; raises NotFoundError."""
        return await self._read.here(lambda view: jobs.run_of(view, run_id))

    async def runs(
        self, *, job_id: str | None = None, profile: str | None = None, kind: RunKind = "job", limit: int = 50
    ) -> list[RunRow]:
        """Newest first: those of one job or watch, or all of a kind."""
        return await self._read.in_thread(lambda view: jobs.runs(view, job_id, profile, kind, limit))

    async def last_output(self, job_id: str) -> str:
        """Of the newest finished run."""
        return await self._read.here(lambda view: jobs.last_output(view, job_id))
