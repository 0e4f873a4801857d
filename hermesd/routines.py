"""Scheduled jobs of all profiles: the scheduler, the runner of their scripts, and the desk where they are made.

Its two services are in the tree while there is a job; a daemon without any has neither.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from hermesd.errors import ConfigError, NotFoundError
from hermesd.home import DEFAULT_PROFILE
from hermesd.supervision.service import ServiceSpec
from hermesd.tools.environment import child_environment
from hermesd.tools.terminal.leftovers import tag_prefix

if TYPE_CHECKING:
    from hermesd.fleet import Fleet
    from hermesd.gateway.shared import Shared
    from hermesd.store.records import Address, JobRow, NewEvent, RunRow
    from hermesd.supervision.supervisor import Supervisor
    from hermesd.triggers.agent_jobs import AgentJobs
    from hermesd.triggers.desk import JobDesk
    from hermesd.triggers.job import JobSpec
    from hermesd.triggers.runner import Surroundings
    from hermesd.triggers.scheduler import Scheduler
    from hermesd.triggers.turn_check import Owner

GROUP = 3
"""Stops before the profiles do: nothing new becomes due while they drain."""


class Routines:
    """What the app and RPC methods need of jobs. The modules behind it are imported with the first job."""

    def __init__(self, shared: Shared, root: Supervisor, fleet: Fleet) -> None:
        self._shared = shared
        self._root = root
        self._fleet = fleet
        self._scheduler: Scheduler | None = None
        self._lock = trio.Lock()

    async def boot(self) -> None:
        """Start the services if there is anything for them."""
        jobs = self._shared.store.jobs
        if await jobs.timetable() or await jobs.unfinished():
            await self.ensure()

    async def ensure(self) -> None:
        """Have the services in the tree: the first job is about to be made."""
        async with self._lock:
            if self._scheduler is not None:
                return
            from hermesd.triggers.runner import JobRunner

            runner = JobRunner(self._shared.store, self.surroundings)
            await self._root.add(ServiceSpec("job-runner", lambda: runner, group=GROUP))
            await self._root.add(
                ServiceSpec("scheduler", self._new_scheduler, group=GROUP, detail=self._detail), wait=True
            )

    def _new_scheduler(self) -> Scheduler:
        from hermesd.triggers.scheduler import Scheduler

        self._scheduler = Scheduler(self._shared.store, event_of=self._event_of)
        return self._scheduler

    def _detail(self) -> str:
        count = self._scheduler.waiting if self._scheduler else 0
        return f"{count} job{'' if count == 1 else 's'} waiting"

    @property
    def desk(self) -> JobDesk:
        """Where jobs are made and changed."""
        from hermesd.triggers.desk import JobDesk

        return JobDesk(self._shared.store)

    def owner(self, profile: str) -> Owner:
        """A profile as the desk needs it. Raises NotFoundError, ConfigError."""
        from hermesd.triggers.schedule import system_zone
        from hermesd.triggers.turn_check import Owner

        settings = self._fleet.unit(profile).settings
        config = settings.config
        zone = config.timezone or self._fleet.unit(DEFAULT_PROFILE).settings.config.timezone or system_zone()
        return Owner(settings.profile.name, settings.profile.root, zone, config, settings.secrets)

    def for_agent(self, profile: str, origin: Address | None) -> AgentJobs:
        """What a turn of the profile may do about jobs; their results go to ``origin``."""
        from hermesd.triggers.agent_jobs import AgentJobs

        return AgentJobs(
            store=self._shared.store,
            desk=self.desk,
            owner=lambda: self.owner(profile),
            origin=origin,
            ensure=self.ensure,
            run_now=self.run_now,
        )

    async def run_now(self, job: JobRow) -> RunRow:
        """A run by hand. Raises ConflictError."""
        from hermesd.store.records import Occurrence
        from hermesd.triggers.job import decode

        await self.ensure()
        spec = decode(job.spec)
        now = round(time.time(), 3)
        occurrence = Occurrence(due_at=now, event=self._event_of(job, spec, now), alone=spec.overlap == "forbid")
        return await self._shared.store.jobs.start(job.id, occurrence)

    def _event_of(self, job: JobRow, spec: JobSpec, instant: float) -> NewEvent | None:
        """The event of a job that needs no preparation; one that does, or cannot be delivered, is the runner's."""
        from hermesd.triggers import compose

        if spec.script or spec.skills or spec.context_from:
            return None
        try:
            to = compose.places(job, spec, self.surroundings(job.profile).homes)
        except (ConfigError, NotFoundError):
            return None  # the runner says so
        return compose.event_of(job, spec, instant, to=to)

    def surroundings(self, profile: str) -> Surroundings:
        """What a profile gives to what its jobs and watches run. Raises NotFoundError."""
        from hermesd.triggers.deliver import homes
        from hermesd.triggers.runner import Surroundings

        unit = self._fleet.unit(profile)
        config = unit.settings.config
        return Surroundings(
            profile=unit.settings.profile,
            workspace=unit.bench.workspace,
            homes=homes(config.platforms),
            env=child_environment(self._shared.environment, config.terminal.env_passthrough),
            tag=f"{tag_prefix(self._shared.home.root)}{unit.name}:",
        )
