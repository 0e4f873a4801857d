"""``docker exec`` with what it leaves out: signals reach the program inside, and its own failures are told apart.

docker passes on keys, as bytes of the terminal, but no signal (https://github.com/moby/moby/issues/9098): a client that
is ended leaves its program running. So this process stays, holds signals back from the client, and has the copy of
hermesctl in the container send them to the program (``hermesctl.routing.inside``).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from hermesctl.routing.backend import PROBE_TIMEOUT_S, last_line, plain_words
from hermesd.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hermesctl.routing.marker import Marker

ENVIRONMENT = ("TERM", "COLORTERM", "LANG", "LC_ALL")
MAX_VARIABLE_CHARACTERS = 256
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
PASS_ON_TIMEOUT_S = 10.0


def exec_argv(marker: Marker, prefix: tuple[str, ...], arguments: list[str], *, has_terminal: bool) -> list[str]:
    """``[sudo -n] BACKEND exec (-it|-i) -u USER [-e NAME=VALUE]… CONTAINER PROGRAM ARGUMENTS…``."""
    variables = []
    for name in ENVIRONMENT:
        value = os.environ.get(name, "")
        if value and value.isprintable() and len(value) <= MAX_VARIABLE_CHARACTERS:
            variables += ["-e", f"{name}={value}"]
    return [
        *(*prefix, "exec", "-it" if has_terminal else "-i", "-u", marker.exec_user),
        *(*variables, marker.container_name, marker.hermes_bin),
        *arguments,
    ]


def run(marker: Marker, prefix: tuple[str, ...], argv: list[str], arguments: list[str], *, has_terminal: bool) -> int:
    """Run the client of the backend to its end, passing signals on; the exit status that it brings.

    At a terminal it stays in this session, for keys and window sizes; otherwise it gets one of its own, so that a
    Ctrl-C comes here only. A second signal ends the client itself. Raises UnreachableError when it cannot be started.
    """
    heeded = {number for number in PASSED_ON if signal.getsignal(number) != signal.SIG_IGN}  # nohup(1), background jobs
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*heeded, signal.SIGCHLD})
    began = time.monotonic()

    def pass_on(number: int) -> bool:
        return _pass_on(marker, prefix, arguments, signal.Signals(number), time.monotonic() - began)

    try:
        with _terminal_kept(has_terminal=has_terminal):
            client = _start(argv, before, has_terminal=has_terminal)
            status = _wait(client, heeded, pass_on)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if status == 128 + signal.SIGPIPE:
        pass_on(signal.SIGHUP)  # nobody reads any more, and the program would never notice
        return 0
    return status


def _start(argv: list[str], mask: set[int | signal.Signals], *, has_terminal: bool) -> int:
    """The process id of the backend's client, with the signals as a shell would give them."""
    ignored_by_python = (signal.SIGPIPE, signal.SIGXFSZ)
    try:
        return os.posix_spawnp(
            argv[0], argv, os.environ, setsigmask=mask, setsigdef=ignored_by_python, setsid=not has_terminal
        )
    except OSError as error:
        raise UnreachableError(f"{argv[0]} cannot be started: {error.strerror}") from None


def _wait(client: int, heeded: set[signal.Signals], pass_on: Callable[[int], bool]) -> int:
    """Its exit status. The first signal goes inside; one that cannot, and every further one, ends the client."""
    is_passed = False
    while (status := _ended(client)) is None:
        number = signal.sigwait({*heeded, signal.SIGCHLD})
        if number == signal.SIGCHLD:
            continue
        if is_passed or not pass_on(number):
            os.kill(client, number)
        is_passed = True
    return status


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


def _ended(pid: int) -> int | None:
    """The exit status in the form of a shell, or None while the process lives."""
    found, status = os.waitpid(pid, os.WNOHANG)
    if not found:
        return None
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _pass_on(
    marker: Marker, prefix: tuple[str, ...], arguments: list[str], number: signal.Signals, age_s: float
) -> bool:
    """Have the program that was started ``age_s`` ago get a signal; whether that was done."""
    inside = [marker.hermes_bin, "container", "pass-signal", number.name, f"{age_s:.2f}", json.dumps(arguments)]
    argv = [*prefix, "exec", "-u", marker.exec_user, marker.container_name, *inside]
    return _quietly(argv, PASS_ON_TIMEOUT_S)[0] == 0


def cannot_run(marker: Marker, prefix: tuple[str, ...]) -> str:
    """Why the backend cannot start hermesctl in the container at all; '' when it can.

    A program's own 126 or 127 comes with a program that can be started.
    """
    argv = [*prefix, "exec", "-u", marker.exec_user, marker.container_name, marker.hermes_bin, "--version"]
    status, said = _quietly(argv, PROBE_TIMEOUT_S)
    return last_line(said) if status in (125, 126, 127) else ""


def _quietly(argv: list[str], timeout_s: float) -> tuple[int, str]:
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
