"""What a store must do for jobs: as ``store.protocol``, every change is one transaction and durable when it returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.store.records import Firing, JobRow, NewEvent, NewOutbox, Occurrence, RunKind, RunRow, RunState


class JobStore(Protocol):
    """Jobs, their occurrences, and what became of them."""

    async def put(self, job: JobRow) -> JobRow:
        """Insert a job or replace the one with its id; raises ConflictError for a name another job has."""

    async def delete(self, job_id: str) -> JobRow:
        """Remove a job, its runs stay; raises NotFoundError."""

    async def get(self, job_id: str) -> JobRow:
        """One job; raises NotFoundError."""

    async def listing(self, *, profile: str | None = None) -> list[JobRow]:
        """In the order they were made."""

    async def timetable(self) -> list[tuple[float, str]]:
        """``(next_at, id)`` of every active job with a next instant."""

    async def fire(self, firings: Sequence[Firing]) -> list[RunRow]:
        """Take up what is due, hand over its events and move the jobs on, together; an occurrence is taken up once.

        Nothing happens to a job whose ``next_at`` is not the expected one any more.
        """

    async def start(self, job_id: str, occurrence: Occurrence) -> RunRow:
        """A run by hand. Raises NotFoundError, ConflictError (not while another is under way)."""

    async def hand_over(self, run_id: int, event: NewEvent, *, output: str = "") -> RunRow:
        """The run's event, accepted with the change of the run's state. Raises NotFoundError."""

    async def begin_script(self, run_id: int) -> RunRow:
        """Committed before the script starts. Raises NotFoundError, ConflictError."""

    async def end(
        self, run_id: int, *, state: RunState, output: str = "", error: str = "", messages: Sequence[NewOutbox] = ()
    ) -> RunRow:
        """A run that needs no turn has ended; its messages go out with that. Raises NotFoundError, ConflictError."""

    async def unfinished(self, profile: str | None = None) -> list[RunRow]:
        """Runs whose script has yet to run (``queued``), or was cut by a crash (``script``); oldest first."""

    async def run_of(self, run_id: int) -> RunRow:
        """One run; raises NotFoundError."""

    async def runs(
        self, *, job_id: str | None = None, profile: str | None = None, kind: RunKind = "job", limit: int = 50
    ) -> list[RunRow]:
        """Newest first: those of one job or watch, or all of a kind."""

    async def last_output(self, job_id: str) -> str:
        """What the job's newest finished run said; empty when there is none."""
