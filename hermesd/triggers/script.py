"""A job's script: before the agent, or in its place. What it prints to stdout is context, or the message itself."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.errors import UsageError
from hermesd.tools.terminal.local import Spawn, run_to_end
from hermesd.tools.terminal.output import Output

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

OUTPUT_BYTES = 64 * 1024
ERROR_BYTES = 4 * 1024
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Said:
    """What a script said. ``error`` is '' when it ended well; ``wake`` is False when it asks for no agent."""

    text: str
    error: str = ""
    wake: bool = True


def find_script(name: str, directory: Path) -> Path:
    """A script by its name below the scripts directory, or by its path there. Raises UsageError.

    Nothing outside is run: who can write a job must not choose any program of this machine.
    """
    path = directory / name if not name.startswith(("/", "~")) else type(directory)(name).expanduser()
    try:
        real, root = path.resolve(strict=True), directory.resolve(strict=True)
    except OSError:
        raise UsageError(f"there is no script {name[:200]!r}", next_step=f"put it into {directory}") from None
    if root not in real.parents or not real.is_file():
        raise UsageError(f"{name[:200]!r} is not below {directory}", next_step="move it there")
    return real


def command_line(path: Path) -> list[str]:
    """How it is started: Python and shell scripts by their interpreters, anything else by itself."""
    if path.suffix == ".py":
        return [sys.executable, "-I", str(path)]
    if path.suffix in (".sh", ".bash"):
        return ["/bin/sh" if path.suffix == ".sh" else "bash", str(path)]
    return [str(path)]


async def run_script(path: Path, *, cwd: Path, env: Mapping[str, str], tag: str, timeout_s: float = TIMEOUT_S) -> Said:
    """Run it to its end; what it leaves running is ended with it."""
    output = Output(head=OUTPUT_BYTES // 2, tail=OUTPUT_BYTES // 2)
    errors = Output(head=0, tail=ERROR_BYTES)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reader, False)  # ours alone: programs do not expect EAGAIN on their standard error
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_drain, reader, errors)
            try:
                spawn = Spawn(command_line(path), cwd, env, tag, stderr=writer)
                finished = await run_to_end(spawn, output, timeout_s=timeout_s or TIMEOUT_S)
            except OSError as error:
                return Said("", f"it cannot be started: {error.strerror or error}")
            finally:
                os.close(writer)
                nursery.cancel_scope.cancel()
        _read(reader, errors)
    finally:
        os.close(reader)
    text = output.text().strip()
    if finished.timed_out:
        return Said(text, f"it was ended after {timeout_s or TIMEOUT_S:g} s")
    if finished.status:
        return Said(text, f"it ended with status {finished.status}: {_last_line(errors)}".rstrip(": "))
    return _judged(text)


async def _drain(fd: int, sink: Output) -> None:
    while True:
        await trio.lowlevel.wait_readable(fd)
        if not _read(fd, sink):
            return


def _read(fd: int, sink: Output) -> bool:
    """Take what is there; False at the end."""
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(fd, 65536):
            sink.take(piece)
        return False
    return True


def _last_line(errors: Output) -> str:
    lines = errors.text(last=ERROR_BYTES).strip().splitlines()
    return lines[-1][:300] if lines else ""


def _judged(text: str) -> Said:
    """A last line ``{"wakeAgent": false}`` ends the run; a line of that shape is not part of what was said."""
    before, _, last = text.rpartition("\n")
    if last.lstrip().startswith("{"):
        with contextlib.suppress(msgspec.DecodeError):
            found = msgspec.json.decode(last)
            if isinstance(found, dict) and isinstance(found.get("wakeAgent"), bool):
                return Said(before.strip(), wake=found["wakeAgent"])
    return Said(text)
