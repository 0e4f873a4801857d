"""cron: jobs that the agent makes for its user, to run later or again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from hermesd.errors import HermesError
from hermesd.tools.base import ToolResult
from hermesd.tools.schema import parameters_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.store.records import Effect
    from hermesd.tools.base import Jobs, ToolContext

NO_JOBS = "no jobs can be made here: a scheduled run must not schedule others"


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of ``cron``."""

    action: Literal["create", "list", "update", "pause", "resume", "run", "remove"]
    schedule: Annotated[
        str, msgspec.Meta(description='"0 9 * * MON-FRI", "every 2h", "every weekday at 09:00", "30m", or an instant')
    ] = ""
    prompt: Annotated[
        str, msgspec.Meta(description="what the agent is told when the job runs; it sees nothing else")
    ] = ""
    name: Annotated[str, msgspec.Meta(description="of a new job, or a job's new one", max_length=100)] = ""
    deliver: Annotated[
        str, msgspec.Meta(description="where the result goes; origin is this conversation, local a file")
    ] = ""
    repeat: Annotated[int, msgspec.Meta(description="end the job after so many runs; 0 is without end", ge=0)] = 0
    job: Annotated[str, msgspec.Meta(description="id or name, for update, pause, resume, run and remove")] = ""


class Cron:
    """Make, list and change scheduled jobs."""

    name = "cron"
    description = (
        "Scheduled jobs of this user: create one (schedule and prompt; the result comes to this conversation unless "
        "`deliver` says otherwise), list them, update one (what is not given stays), pause, resume, run or remove one. "
        "For reminders and everything that is to happen later or repeatedly."
    )
    parameters = parameters_of(Arguments)

    def effect(self, arguments: Mapping[str, object]) -> Effect:
        """Listing only reads; a job acts later, without anybody being asked."""
        return "read_only" if arguments.get("action") == "list" else "unsafe"

    async def run(self, arguments: Mapping[str, object], context: ToolContext) -> ToolResult:
        """What was done, in a sentence."""
        wanted = msgspec.convert(arguments, Arguments, strict=False)
        if context.jobs is None:
            return ToolResult(NO_JOBS, is_error=True)
        try:
            return ToolResult(await _act(wanted, context.jobs()))
        except HermesError as error:
            return ToolResult(f"{error.what}. {error.next_step}".strip(), is_error=True)


async def _act(wanted: Arguments, jobs: Jobs) -> str:
    if wanted.action == "list":
        return await jobs.listing()
    said = {"name": wanted.name, "deliver": wanted.deliver}
    if wanted.action == "create":
        return await jobs.create(wanted.schedule, wanted.prompt, **said, repeat=wanted.repeat)
    if wanted.action == "update":
        return await jobs.update(wanted.job, wanted.schedule, wanted.prompt, **said, repeat=wanted.repeat)
    return await jobs.act(wanted.action, wanted.job)


TOOLS = (Cron(),)
