"""terminal: run a shell command in the workspace."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import msgspec
import trio

from hermesd.errors import ConflictError
from hermesd.tools.base import ToolResult
from hermesd.tools.files.paths import PathError, Reach
from hermesd.tools.files.work import FILE_THREADS
from hermesd.tools.schema import parameters_of
from hermesd.tools.terminal import readonly
from hermesd.tools.terminal.local import Finished, Spawn, run_to_end, shell_argv
from hermesd.tools.terminal.output import Output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hermesd.store.records import Effect
    from hermesd.tools.base import ToolContext

OUTPUT_BYTES = 64 * 1024
LONGEST_TIMEOUT_S = 3600.0
MAX_COMMAND_BYTES = 100_000  # one argument may have 128 KiB (MAX_ARG_STRLEN of execve(2))
AGAIN = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of ``terminal``."""

    command: Annotated[str, msgspec.Meta(description="a bash command line", min_length=1)]
    timeout: Annotated[
        float, msgspec.Meta(description="seconds until it is ended; 0 is the usual time", ge=0, le=LONGEST_TIMEOUT_S)
    ] = 0
    cwd: Annotated[str, msgspec.Meta(description="directory to run in, relative to the workspace")] = ""
    background: Annotated[bool, msgspec.Meta(description="leave it running; see the process tool")] = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be started, and where."""

    argv: Sequence[str]
    cwd: Path


class Terminal:
    """Run a command with bash, to its end or in the background."""

    name = "terminal"
    description = (
        "Run a bash command in the workspace; gives its output (stdout and stderr together, at most 64 kB: the "
        "beginning and the end) and its exit status. There is no input and no terminal. Whatever the command leaves "
        "running is ended with it: to keep a server, use background=true and then the process tool."
    )
    parameters = parameters_of(Arguments)

    def effect(self, arguments: Mapping[str, object]) -> Effect:
        """Unsafe, except a foreground command that ``readonly.parse`` is certain about."""
        command = arguments.get("command")
        if isinstance(command, str) and not arguments.get("background") and readonly.parse(command):
            return "read_only"
        return "unsafe"

    async def run(self, arguments: Mapping[str, object], context: ToolContext) -> ToolResult:
        """The output and how it ended; an error when the status is not 0, it took too long or could not start."""
        wanted = msgspec.convert(arguments, Arguments, strict=False)
        try:
            plan = await _plan(wanted, context)
            if wanted.background:
                return _start(wanted, plan, context)
            output = Output(head=OUTPUT_BYTES // 2, tail=OUTPUT_BYTES // 2)
            spawn = Spawn(plan.argv, plan.cwd, context.env, context.state.processes.new_tag())
            timeout_s = wanted.timeout or context.terminal_timeout_s
            finished = await run_to_end(spawn, output, timeout_s=timeout_s)
        except (PathError, ConflictError) as error:
            return ToolResult(f"{error.what}{'; ' + error.next_step if error.next_step else ''}", is_error=True)
        except OSError as error:
            return ToolResult(_cannot_start(error), is_error=True)
        return _result(finished, output, timeout_s)


async def _plan(wanted: Arguments, context: ToolContext) -> Plan:
    """Check the command and its directory; a read-only one is started without a shell. Raises PathError, OSError."""
    if "\0" in wanted.command:
        raise PathError("a command cannot contain a NUL character")
    if len(wanted.command.encode("utf-8", "replace")) > MAX_COMMAND_BYTES:
        raise PathError(f"the command is longer than {MAX_COMMAND_BYTES} bytes; write a script file and run that")
    simple = None if wanted.background else readonly.parse(wanted.command)
    if not wanted.cwd and not (simple and simple.paths):
        context.workspace.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Plan(_argv(wanted, simple, context), context.workspace)
    reach = Reach.of(context)
    paths = simple.paths if simple else ()
    cwd = await trio.to_thread.run_sync(_check_paths, reach, wanted.cwd, paths, limiter=FILE_THREADS)
    return Plan(_argv(wanted, simple, context), cwd)


def _check_paths(reach: Reach, cwd: str, paths: Sequence[str]) -> Path:
    """The real directory to run in, after making sure that it and all paths lie in the workspace."""
    with reach.locate(cwd) as located:
        if located.name:
            raise PathError(f"{cwd!r} is not a directory, or does not exist")
        directory = located.real
    for path in paths:
        reach.check(str(directory / path))
    return directory


def _argv(wanted: Arguments, simple: readonly.ReadOnlyCommand | None, context: ToolContext) -> Sequence[str]:
    if simple is None:
        return shell_argv(wanted.command)
    found = readonly.program(simple.argv[0], context.env, context.workspace)
    if found is None:
        raise PathError(f"there is no program {simple.argv[0]!r} on this machine")
    return [found, *simple.argv[1:]]


def _start(wanted: Arguments, plan: Plan, context: ToolContext) -> ToolResult:
    item = context.state.processes.start(
        plan.argv, command=wanted.command, session_id=context.session_id, cwd=plan.cwd, env=context.env
    )
    return ToolResult(f"started in the background as {item.id} (pid {item.pid}); see its output with the process tool")


def _cannot_start(error: OSError) -> str:
    hint = "; the machine is short of something now, try again later" if error.errno in AGAIN else ""
    return f"the command could not be started: {error.strerror or error}{hint}"


def _result(finished: Finished, output: Output, timeout_s: float) -> ToolResult:
    text = output.text()
    if text and not text.endswith("\n"):
        text += "\n"
    if finished.timed_out:
        text += f"[ended after {timeout_s:g} s, its time; for longer work give a timeout or use background=true]"
    elif finished.status:
        text += f"[{ending(finished.status)}]"
    return ToolResult(text or "[no output]", is_error=finished.timed_out or finished.status != 0, untrusted=True)


def ending(status: int) -> str:
    """A status in words."""
    if status >= 0:
        return f"exit status {status}"
    import signal

    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


TOOLS = (Terminal(),)
