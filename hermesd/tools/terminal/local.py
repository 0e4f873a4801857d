"""The local backend: one child at the head of its own session, its output read through a pipe.

Processes are started on Trio's own thread with ``subprocess.Popen`` (vfork, under 1 ms) and waited for through a pidfd
(pidfd_open(2)); nothing polls, and no thread is held while a command runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.tools.terminal.leftovers import TAG, kill_strays, signal_group

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from hermesd.tools.terminal.output import Output

GRACE_S = 2.0
CLEANUP_S = 10.0
PIPE_BYTES = 256 * 1024
LAST_READS = 64
OOM_SCORE = "500"  # when memory runs out, commands go before the daemon (proc_pid_oom_score_adj(5))
SHELLS = ("/bin/bash", "/usr/bin/bash", "/bin/sh")


def shell_argv(command: str) -> list[str]:
    """The command line that runs ``command`` in a shell which reads no start-up file."""
    shell = next((path for path in SHELLS if os.access(path, os.X_OK)), SHELLS[-1])
    return [shell, "-c", command]


class Spawn(msgspec.Struct, frozen=True):
    """What to start. ``env`` is the child's whole environment, except that ``tag`` is added as HERMESD_PROCESS.

    ``stdin`` is a descriptor or None for /dev/null, ``stderr`` one or None for where the output goes; ``pass_fds`` stay
    open in the child.
    """

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    tag: str
    stdin: int | None = None
    stderr: int | None = None
    pass_fds: tuple[int, ...] = ()


class LocalProcess:
    """A running child. Use: construct, ``exited`` (drains meanwhile), and always ``end``.

    Construction starts it and raises OSError when that fails (no such program, EAGAIN, ENOMEM, too many files), with
    nothing left behind.
    """

    def __init__(self, spawn: Spawn) -> None:
        self.tag = spawn.tag
        self._pipe, write_end = os.pipe2(os.O_CLOEXEC)
        try:
            os.set_blocking(self._pipe, False)
            with contextlib.suppress(OSError):  # an unprivileged user may have used up its pipe pages
                fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            self._popen = _popen(spawn, write_end)
            self._pidfd = self._open_pidfd()
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(write_end)
        self.pid = self._popen.pid
        self._started = time.monotonic()
        self._gone = False
        with contextlib.suppress(OSError), open(f"/proc/{self.pid}/oom_score_adj", "w") as file:  # noqa: PTH123 - hot path
            file.write(OOM_SCORE)

    def _open_pidfd(self) -> int:
        try:
            return os.pidfd_open(self._popen.pid)
        except OSError:
            os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()
            raise

    async def exited(self, sink: Callable[[bytes], None]) -> None:
        """Return when the child itself has ended; until then hand its output to ``sink``. Cancellable, one caller."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._drain, sink)
            await trio.lowlevel.wait_readable(self._pidfd)
            self._gone = True
            nursery.cancel_scope.cancel()

    async def end(self, sink: Callable[[bytes], None], *, grace_s: float = GRACE_S) -> int:
        """Make sure that nothing of it runs any more, and return its status as ``subprocess`` has it.

        SIGTERM to the group, SIGKILL after the grace; a child that has exited already has only its leftovers killed.
        Bounded by CLEANUP_S and shielded, so it is safe in a ``finally``.
        """
        with trio.move_on_after(CLEANUP_S, shield=True):
            if not self._gone:
                signal_group(self.pid, signal.SIGTERM)
                with trio.move_on_after(grace_s):
                    await self.exited(sink)
            signal_group(self.pid, signal.SIGKILL)
            if not self._gone:
                await self.exited(sink)
            await kill_strays(self.tag, self.pid, started=self._started)
        self._last_reads(sink)
        return self._reap()

    async def _drain(self, sink: Callable[[bytes], None]) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._pipe)
            if not self._read(sink):
                return

    def _read(self, sink: Callable[[bytes], None]) -> bool:
        """Take what is there; False at the end of the output."""
        try:
            piece = os.read(self._pipe, PIPE_BYTES)
        except BlockingIOError:
            return True
        sink(piece)
        return bool(piece)

    def _last_reads(self, sink: Callable[[bytes], None]) -> None:
        """What is in the pipe after everybody has gone; bounded in case somebody has not."""
        for _ in range(LAST_READS):
            try:
                piece = os.read(self._pipe, PIPE_BYTES)
            except BlockingIOError:
                return
            if not piece:
                return
            sink(piece)

    def _reap(self) -> int:
        """Collect the status and close. A child that not even SIGKILL ends is left to ``subprocess`` to collect."""
        status = self._popen.poll()
        os.close(self._pipe)
        os.close(self._pidfd)
        if status is None:
            self._popen.returncode = -signal.SIGKILL  # keeps __del__ quiet; the kernel still owes us the death
            return -signal.SIGKILL
        return status


def _popen(spawn: Spawn, output: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        list(spawn.argv),
        stdin=subprocess.DEVNULL if spawn.stdin is None else spawn.stdin,
        stdout=output,
        stderr=output if spawn.stderr is None else spawn.stderr,
        cwd=spawn.cwd,
        env={**spawn.env, TAG: spawn.tag},
        start_new_session=True,
        pass_fds=spawn.pass_fds,
    )


class Finished(msgspec.Struct, frozen=True):
    """How a command ended. ``status`` is negative for a signal; ``timed_out`` says that we ended it."""

    status: int
    timed_out: bool
    elapsed_s: float


async def run_to_end(spawn: Spawn, output: Output, *, timeout_s: float) -> Finished:
    """Start, read, wait and clean up; raises OSError when it cannot be started. Cancellation kills all of it."""
    started = time.monotonic()
    process = LocalProcess(spawn)
    status = -signal.SIGKILL
    try:
        with trio.move_on_after(timeout_s) as scope:
            await process.exited(output.take)
    finally:
        status = await process.end(output.take)
    return Finished(status, scope.cancelled_caught, time.monotonic() - started)
