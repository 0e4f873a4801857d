"""The types of ``cron.*``: beside ``rpc.wire``."""

from __future__ import annotations

from typing import Literal

import msgspec

from hermesd.rpc.wire import Params, Result
from hermesd.rpc.wire_turn_fields import TurnFields, Warned
from hermesd.store.records import RunRow

Misfire = Literal["skip", "run_once", "run_all"]
Overlap = Literal["forbid", "queue", "allow"]


class JobFields(TurnFields, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What may be said of a job; None leaves it as it is, or unset. ``expires`` is an instant or a length of time."""

    schedule: str | None = None
    script: str | None = None
    no_agent: bool | None = None
    misfire: Misfire | None = None
    catch_up: int | None = None
    grace_s: float | None = None
    overlap: Overlap | None = None
    jitter_s: float | None = None
    repeat: int | None = None
    expires: str | None = None
    context_from: str | None = None


class CronJobParams(Params, kw_only=True):
    """One job: its id, the beginning of it, or its name."""

    job: str
    profile: str = ""


class CronCreateParams(Params, kw_only=True):
    """A new job."""

    fields: JobFields
    profile: str = ""
    paused: bool = False


class CronEditParams(Params, kw_only=True):
    """Changes to a job; what is not given stays."""

    job: str
    fields: JobFields
    profile: str = ""


class CronNextParams(Params, kw_only=True):
    """A schedule that is not made yet."""

    schedule: str
    timezone: str = ""
    profile: str = ""
    count: int = 5


class CronNextResult(Result, kw_only=True):
    """Its canonical form, its zone, and the instants with their offsets."""

    schedule: str
    timezone: str
    next: list[str]


class CronRunsParams(Params, kw_only=True):
    """Runs of a job, or of all jobs of a profile; newest first."""

    job: str = ""
    profile: str = ""
    limit: int = 20


class CronImportParams(Params, kw_only=True):
    """A jobs.json as text. Jobs whose name is taken are left out."""

    text: str
    profile: str = ""


class CronJob(Result, kw_only=True):
    """A job. ``next`` are instants with their offsets; times are epoch seconds, 0 for none.

    ``last_state`` is what came of its last run so far: the run's state or, once it is handed over, its event's.
    """

    id: str
    profile: str
    name: str
    state: str
    schedule: str
    timezone: str
    next: list[str]
    fields: JobFields
    next_at: float = 0.0
    fired: int = 0
    created_at: float = 0.0
    last_run: RunRow | None = None
    last_state: str = ""


class CronJobResult(Result, kw_only=True):
    """One job. ``warnings``: what of a job just made or changed could not be done as the settings stand."""

    job: CronJob
    message: str = ""
    warnings: list[Warned] = msgspec.field(default_factory=list)


class CronListResult(Result, kw_only=True):
    """Jobs, in the order they were made. ``message`` says what an import left out."""

    jobs: list[CronJob]
    message: str = ""


class CronDelivery(Result, kw_only=True):
    """What came of one target: a row of the outbox."""

    id: int
    to: str
    state: str
    attempts: int = 0
    error: str = ""


class CronRun(Result, kw_only=True):
    """A run: its row, and the turn and deliveries that came of it.

    ``state``, ``started_at``, ``ended_at`` (epoch seconds, 0: not yet) and ``error`` are its own or, once handed, its
    turn's. Tokens are what it cost: those that the model's endpoint counted, in all its attempts.
    """

    run: RunRow
    job_name: str
    state: str
    session_id: str = ""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    started_at: float = 0.0
    ended_at: float = 0.0
    error: str = ""
    deliveries: list[str] = msgspec.field(default_factory=list)
    targets: list[CronDelivery] = msgspec.field(default_factory=list)


class CronRunsResult(Result, kw_only=True):
    """Runs of jobs or of watches, newest first."""

    runs: list[CronRun]
