"""Runs that need something before their turn: a script, skills, another job's last words.

queued ──► script (committed before it starts) ──► handed (its event is in the inbox)
                  │                            └──► done | silent (no agent) | failed
                  └ killed meanwhile: failed, and said so; a script is never run twice for one occurrence
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from hermesd.errors import ConflictError, HermesError, NotFoundError
from hermesd.skills.library import read_skills
from hermesd.store.records import Address, NewOutbox
from hermesd.triggers import compose
from hermesd.triggers import job as jobs
from hermesd.triggers.script import Said, find_script, run_script
from hermesd.turns.outgoing import is_silent
from hermesd.turns.persist import persist

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hermesd.home import Profile
    from hermesd.store.protocol import Store
    from hermesd.store.records import EventRow, JobRow, RunRow, RunState
    from hermesd.triggers.job import JobSpec

log = logging.getLogger(__name__)

MAX_AT_ONCE = 4
FILE_THREADS = trio.CapacityLimiter(MAX_AT_ONCE)
CUT = "the daemon was killed while the script ran; it was not run again"


def _directory(workspace: Path, workdir: str) -> Path:
    """Where the script runs."""
    if workdir:
        return workspace / os.path.expanduser(workdir)  # noqa: PTH111 - Path's raises for a user that is gone
    workspace.mkdir(mode=0o700, parents=True, exist_ok=True)
    return workspace


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a profile gives its jobs. ``homes``: platform → home channel; ``tag`` as for the terminal's processes."""

    profile: Profile
    workspace: Path
    homes: Mapping[str, str]
    env: Mapping[str, str]
    tag: str


class JobRunner:
    """A service for all profiles; ``surroundings`` raises NotFoundError for one that is gone."""

    def __init__(self, store: Store, surroundings: Callable[[str], Surroundings]) -> None:
        self._store = store
        self._surroundings = surroundings
        self._limiter = trio.CapacityLimiter(MAX_AT_ONCE)
        self._queued: list[int] = []
        self._arrival = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take up what waits, then what comes."""
        unsubscribe = self._store.subscribe(self._on_events)
        try:
            async with trio.open_nursery() as nursery:
                for run in await persist(partial(self._store.jobs.unfinished, None)):
                    nursery.start_soon(self._carry_out, run.id)
                task_status.started()
                while True:
                    self._arrival = trio.Event()
                    while self._queued:
                        nursery.start_soon(self._carry_out, self._queued.pop(0))
                    await self._arrival.wait()
        finally:
            unsubscribe()

    def _on_events(self, events: list[EventRow]) -> None:
        for event in events:
            if event.kind == "run.queued":
                self._queued.append(int(str(event.data["id"])))
                self._arrival.set()

    async def _carry_out(self, run_id: int) -> None:
        async with self._limiter:
            try:
                run = await persist(lambda: self._store.jobs.run_of(run_id))
                job = await persist(lambda: self._store.jobs.get(run.job_id))
                if run.state == "queued":
                    await self._prepare(run, job, jobs.decode(job.spec))
                elif run.state == "script":
                    await self._fail(run, job, jobs.decode(job.spec), CUT)
            except (NotFoundError, ConflictError) as error:
                log.info("run %d is not carried out any more: %s", run_id, error.what)

    async def _prepare(self, run: RunRow, job: JobRow, spec: JobSpec) -> None:
        around = self._surroundings(job.profile)
        said = Said("")
        try:
            to = compose.places(job, spec, around.homes)
            skills = await trio.to_thread.run_sync(read_skills, spec.skills, around.profile, limiter=FILE_THREADS)
            if spec.script:
                path = find_script(spec.script, around.profile.root / "scripts")
                await persist(lambda: self._store.jobs.begin_script(run.id))
                cwd = _directory(around.workspace, spec.workdir)
                tag = f"{around.tag}job:{run.id}"
                said = await run_script(path, cwd=cwd, env=around.env, tag=tag, timeout_s=spec.timeout_s)
        except HermesError as error:
            await self._fail(run, job, spec, f"{error.what}. {error.next_step}".rstrip(". "))
            return
        if said.error:
            await self._fail(run, job, spec, f"the script {spec.script} failed: {said.error}", output=said.text)
        elif spec.no_agent or not said.wake:
            silent = not said.text or not said.wake or is_silent(said.text)
            await self._end(
                run, "silent" if silent else "done", said.text, [] if silent else self._rows(run, job, said.text, to)
            )
        else:
            before = await self._before(spec)
            event = compose.event_of(job, spec, run.due_at, to=to, before=before, context=said.text, skills=skills)
            await persist(lambda: self._store.jobs.hand_over(run.id, event, output=said.text))

    async def _before(self, spec: JobSpec) -> str:
        """What the job that ``context_from`` names has said last."""
        return await persist(lambda: self._store.jobs.last_output(spec.context_from)) if spec.context_from else ""

    async def _fail(self, run: RunRow, job: JobRow, spec: JobSpec, error: str, *, output: str = "") -> None:
        """A failure is always delivered: to the job's targets, or to a file where those cannot be had."""
        log.warning("job %s (%s): %s", job.id, job.name, error)
        try:
            to = compose.places(job, spec, self._surroundings(job.profile).homes)
        except HermesError:
            to = [Address(platform="local")]
        text = f"The scheduled job {job.name!r} failed: {error}"
        await self._end(run, "failed", output, self._rows(run, job, text, to), error=error)

    async def _end(self, run: RunRow, state: RunState, output: str, rows: list[NewOutbox], *, error: str = "") -> None:
        await persist(lambda: self._store.jobs.end(run.id, state=state, output=output, error=error, messages=rows))

    @staticmethod
    def _rows(run: RunRow, job: JobRow, text: str, to: list[Address]) -> list[NewOutbox]:
        return [
            NewOutbox(profile=job.profile, address=address, text=text, idempotency_key=f"run:{run.id}:{number}")
            for number, address in enumerate(to)
        ]
