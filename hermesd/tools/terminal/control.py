"""process: look after what runs in the background."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from hermesd.tools.base import ToolResult
from hermesd.tools.schema import nearest, parameters_of
from hermesd.tools.terminal.command import ending

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.store.records import Effect
    from hermesd.tools.base import ToolContext
    from hermesd.tools.terminal.processes import BackgroundProcess

SHOWN_BYTES = 16 * 1024
SHOWN_COMMAND = 120
Meta = msgspec.Meta


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of ``process``."""

    action: Literal["list", "output", "wait", "kill"]
    id: Annotated[str, Meta(description="of the process; not needed for list")] = ""
    timeout: Annotated[float, Meta(description="seconds to wait at most", ge=0, le=3600)] = 60
    bytes: Annotated[int, Meta(description="how much of the last output", ge=1, le=64 * 1024)] = SHOWN_BYTES


class Process:
    """List, read, await and end background processes."""

    name = "process"
    description = (
        "Background processes started with terminal(background=true): list them, see the last output of one, wait "
        "until it ends, or kill it with everything it started. They end when the daemon ends."
    )
    parameters = parameters_of(Arguments)

    def effect(self, arguments: Mapping[str, object]) -> Effect:
        """Only kill changes anything, and to kill again what was killed changes nothing."""
        return "idempotent" if arguments.get("action") == "kill" else "read_only"

    async def run(self, arguments: Mapping[str, object], context: ToolContext) -> ToolResult:
        """What the action says."""
        wanted = msgspec.convert(arguments, Arguments, strict=False)
        table = context.state.processes
        if wanted.action == "list":
            return ToolResult("\n".join(_line(item) for item in table.list()) or "no background processes")
        item = table.get(wanted.id)
        if item is None:
            meant = nearest(wanted.id, [known.id for known in table.list()])
            hint = f"; did you mean {meant!r}" if meant else ""
            return ToolResult(f"there is no background process {wanted.id[:80]!r}{hint}", is_error=True)
        if wanted.action == "wait":
            await item.wait(wanted.timeout)
        elif wanted.action == "kill":
            await item.kill()
        return ToolResult(f"{item.output.text(last=wanted.bytes)}\n[{_state(item)}]".lstrip("\n"), untrusted=True)


def _line(item: BackgroundProcess) -> str:
    command = item.command if len(item.command) <= SHOWN_COMMAND else item.command[:SHOWN_COMMAND] + "…"
    return f"{item.id}  {_state(item)}  {' '.join(command.split())}"


def _state(item: BackgroundProcess) -> str:
    if item.status is None:
        return f"running for {time.time() - item.started_at:.0f} s"
    return f"{ending(item.status)} after {item.ended_at - item.started_at:.0f} s"


TOOLS = (Process(),)
