"""A program that runs in the place of this process: its terminal, its status, and signals that are ours to pass on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

from hermesctl.routing.backend import plain_words
from hermesd.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def attend(argv: list[str], pass_on: Callable[[signal.Signals], bool], *, has_terminal: bool) -> int:
    """Run a program to its end; its exit status in the form of a shell.

    ``pass_on`` is called with each signal for this process; where it returns False the program itself gets the signal.
    At a terminal the program stays in this session, for keys and window sizes; otherwise it gets one of its own, so
    that a Ctrl-C comes here only. Raises UnreachableError when it cannot be started.
    """
    heeded = {number for number in PASSED_ON if signal.getsignal(number) != signal.SIG_IGN}  # nohup(1), background jobs
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*heeded, signal.SIGCHLD})
    try:
        with _terminal_kept(has_terminal=has_terminal):
            pid = _start(argv, before, has_terminal=has_terminal)
            while (status := _ended(pid)) is None:
                number = signal.sigwait({*heeded, signal.SIGCHLD})
                if number != signal.SIGCHLD and not pass_on(signal.Signals(number)):
                    os.kill(pid, number)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return status


def _start(argv: list[str], mask: set[int | signal.Signals], *, has_terminal: bool) -> int:
    """Its process id; signals are for it as a shell would have them."""
    ignored_by_python = (signal.SIGPIPE, signal.SIGXFSZ)
    try:
        return os.posix_spawnp(
            argv[0], argv, os.environ, setsigmask=mask, setsigdef=ignored_by_python, setsid=not has_terminal
        )
    except OSError as error:
        raise UnreachableError(
            f"{argv[0]} cannot be started: {error.strerror}",
            where="PATH",
            next_step=f"see which {argv[0]} is first there",
        ) from None


def _ended(pid: int) -> int | None:
    """The exit status, or None while the process lives."""
    found, status = os.waitpid(pid, os.WNOHANG)
    if not found:
        return None
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def _terminal_kept(*, has_terminal: bool) -> Iterator[None]:
    """Give the terminal back as it was: a client that is killed leaves it raw."""
    if not has_terminal:
        yield
        return
    import termios

    kept = termios.tcgetattr(0)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):  # it may have been hung up
            termios.tcsetattr(0, termios.TCSADRAIN, kept)


def quietly(argv: list[str], timeout_s: float) -> tuple[int, str]:
    """Status (1 after the timeout) and standard error of a command that a Ctrl-C does not reach."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=timeout_s,
            check=False,
            env=plain_words(),
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return 1, "it did not answer in time"
    return done.returncode, done.stderr.decode("utf-8", "replace")
