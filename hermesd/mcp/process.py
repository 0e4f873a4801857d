"""One stdio server's process: at the head of its own session, watched through a pidfd, ended for certain.

Started on Trio's own thread with ``subprocess.Popen`` (vfork, about 1 ms): nothing polls, no thread is held.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import trio

from hermesd.tools.terminal.leftovers import TAG, kill_strays, signal_group

if TYPE_CHECKING:
    from hermesd.tools.terminal.local import Spawn

EOF_GRACE_S = 1.0
TERM_GRACE_S = 1.0
END_S = 4.5
KILL_S = 0.5


class ServerProcess:
    """A running server. ``stdin``, ``stdout`` and ``stderr`` are our non-blocking ends of its pipes.

    Those not closed yet are in ``open_ends``.

    Construction starts it and raises OSError when that fails, with nothing left behind. Always ``end`` it.
    """

    def __init__(self, spawn: Spawn) -> None:
        self.tag = spawn.tag
        with contextlib.ExitStack() as stack:
            with contextlib.ExitStack() as theirs:
                child_in, self.stdin = _pipe(theirs, stack)
                child_out, self.stdout = reversed(_pipe(stack, theirs))
                child_err, self.stderr = reversed(_pipe(stack, theirs))
                ours = (self.stdin, self.stdout, self.stderr)
                for fd in ours:
                    os.set_blocking(fd, False)
                self._popen = _popen(spawn, child_in, child_out, child_err)
            try:
                self._pidfd = os.pidfd_open(self._popen.pid)
            except OSError:
                os.killpg(self._popen.pid, signal.SIGKILL)
                self._popen.wait()
                raise
            stack.pop_all()
        self.pid = self._popen.pid
        self.gone = False
        self.open_ends = set(ours)
        self._started = time.monotonic()

    async def exited(self) -> None:
        """Return when the process itself has ended. Cancellable; for any number of callers, one at a time."""
        if not self.gone:
            await trio.lowlevel.wait_readable(self._pidfd)
            self.gone = True

    def close(self, fd: int) -> None:
        """Close one of our ends; whoever waits for it gets trio.ClosedResourceError. Does nothing the second time."""
        if fd in self.open_ends:
            self.open_ends.discard(fd)
            trio.lowlevel.notify_closing(fd)
            os.close(fd)

    async def end(self, *, grace_s: float = EOF_GRACE_S) -> int:
        """Make sure that nothing of it runs any more; its status as ``subprocess`` has it.

        End of input, SIGTERM after the grace, SIGKILL after another second (MCP 2025-11-25, Lifecycle, Shutdown), then
        descendants that left the group. Shielded and bounded by END_S; what that has cut short, perhaps because this
        machine stood still, ends with SIGKILL and KILL_S. No grace: SIGKILL at once.
        """
        self.close(self.stdin)
        with trio.move_on_after(END_S, shield=True):
            await self._wait(grace_s)
            if not self.gone and grace_s:
                signal_group(self.pid, signal.SIGTERM)
                await self._wait(TERM_GRACE_S)
            signal_group(self.pid, signal.SIGKILL)
            await self.exited()
            await kill_strays(self.tag, self.pid, started=self._started)
        if not self.gone:
            signal_group(self.pid, signal.SIGKILL)  # its id is still its own: it has not been reaped
            with trio.CancelScope(shield=True):
                await self._wait(KILL_S)
        return self._reap()

    async def _wait(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self.exited()

    def _reap(self) -> int:
        """Collect the status and close everything. One that not even SIGKILL ends is the kernel's to collect."""
        for fd in tuple(self.open_ends):
            self.close(fd)
        status = self._popen.poll()
        os.close(self._pidfd)
        if status is None:
            status = self._popen.returncode = -signal.SIGKILL
        return status

    def how_it_ended(self) -> str:
        """Words for an exit that was noticed: ``exited with status 1``, ``was killed by SIGKILL``."""
        info = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if info is None:
            return "closed its output"
        if info.si_code == os.CLD_EXITED:
            return f"exited with status {info.si_status}"
        return f"was killed by {signal.Signals(info.si_status).name}"


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe whose ends these two will close."""
    ends = os.pipe2(os.O_CLOEXEC)
    for stack, fd in zip((reader, writer), ends, strict=True):
        stack.callback(os.close, fd)
    return ends


def _popen(spawn: Spawn, stdin: int, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
    """Start it; raises OSError in words that a person can act on."""
    try:
        return subprocess.Popen(
            list(spawn.argv),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=spawn.cwd,
            env={**spawn.env, TAG: spawn.tag},
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise FileNotFoundError(_what_is_missing(error, spawn)) from None
    except OSError as error:
        raise OSError(f"{spawn.argv[0]} cannot be started: {error.strerror}") from None


def _what_is_missing(error: FileNotFoundError, spawn: Spawn) -> str:
    program = spawn.argv[0]
    if str(error.filename) == str(spawn.cwd):
        return f"there is no directory {spawn.cwd} to start it in"
    if "/" not in program:
        return f"there is no program {program} in the daemon's PATH"
    return f"there is no program {program}, or its interpreter is missing"


def is_asleep(pid: int) -> bool:
    """Whether a process waits for something, or is gone (proc_pid_stat(5), state: of its first thread)."""
    return _is_asleep(f"/proc/{pid}/stat")


MAX_THREADS = 256
"""Of one program and its descendants that are looked at."""


def is_at_rest(pid: int) -> bool:
    """Whether a process and its descendants, with all their threads, wait for something or are gone.

    ``npx`` and ``uvx`` sleep while what they have started works. False for more than MAX_THREADS of them.
    """
    pending, threads = [pid], 0
    while pending:
        task = f"/proc/{pending.pop()}/task"
        try:
            found = os.listdir(task)  # noqa: PTH208 - as above
        except OSError:
            continue
        threads += len(found)
        if threads > MAX_THREADS or not all(_is_asleep(f"{task}/{thread}/stat") for thread in found):
            return False
        for thread in found:
            pending += _children(f"{task}/{thread}/children")
    return True


def _is_asleep(path: str) -> bool:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - on the loop; /proc never blocks
            return file.read().rpartition(b") ")[2][:1] not in (b"R", b"D")
    except OSError:
        return True


def _children(path: str) -> list[int]:
    """Of one thread (proc_pid_task(5)); none where the kernel does not tell."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            return [int(child) for child in file.read().split()]
    except OSError:
        return []
