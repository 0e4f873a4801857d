"""What is under way, and what a restart would make of it: turns, scripts of jobs, background processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc.wire_upgrade import Unfinished, UnfinishedResult

if TYPE_CHECKING:
    from hermesd.rpc.context import Daemon

MOST_TURNS = 1000
MOST_CHARACTERS = 200


async def unfinished(daemon: Daemon) -> UnfinishedResult:
    """Turns are finished or gone on with; a script that is cut fails and says so; a process is ended."""
    turns = await daemon.store.inbox(states=["running"], limit=MOST_TURNS)
    scripts = [run for run in await daemon.store.jobs.unfinished() if run.state == "script"]
    names = {job.id: job.name for job in await daemon.store.jobs.listing()} if scripts else {}
    return UnfinishedResult(
        work=[
            *(_work("turn", row.profile, f"{row.source}: {row.session_key}", row.received_at) for row in turns),
            *(_work("script", run.profile, names.get(run.job_id, run.job_id), run.started_at) for run in scripts),
            *(_work("process", profile, command, since) for profile, command, since in daemon.processes()),
        ]
    )


_FATES = {"turn": "resumed", "script": "failed", "process": "ended"}


def _work(kind: str, profile: str, what: str, since: float) -> Unfinished:
    import msgspec

    from hermesd.rpc.render.terminal import one_line

    text = one_line(what)[:MOST_CHARACTERS]
    fields = {"kind": kind, "profile": profile, "what": text, "since": since, "fate": _FATES[kind]}
    return msgspec.convert(fields, Unfinished)
