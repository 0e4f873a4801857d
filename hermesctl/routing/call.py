"""``docker exec`` with what it leaves out: signals reach the program inside, and its own failures are told apart.

docker passes on keys, as bytes of the terminal, but no signal (https://github.com/moby/moby/issues/9098): a client that
is ended leaves its program running. So this process stays, holds signals back from the client, and has the copy of
hermesctl in the container send them to the program (``hermesctl.routing.inside``).
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from typing import TYPE_CHECKING

from hermesctl.routing.attend import attend, quietly
from hermesctl.routing.backend import PROBE_TIMEOUT_S, last_line

if TYPE_CHECKING:
    from hermesctl.routing.marker import Marker

ENVIRONMENT = ("TERM", "COLORTERM", "LANG", "LC_ALL")
MAX_VARIABLE_CHARACTERS = 256
PASS_ON_TIMEOUT_S = 10.0
NO_TEST = re.compile(r'"test"|`test`.*not found')
"""The image has no test(1), so nothing can be said."""


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
    """Run the client of the backend to its end; the exit status that it brings.

    The first signal goes to the program inside; one that cannot, and every further one, ends the client. Raises
    UnreachableError when the client cannot be started.
    """
    began = time.monotonic()
    passed: list[signal.Signals] = []

    def pass_on(number: signal.Signals) -> bool:
        passed.append(number)
        return len(passed) == 1 and _pass_on(marker, prefix, arguments, number, time.monotonic() - began)

    status = attend(argv, pass_on, has_terminal=has_terminal)
    if status == 128 + signal.SIGPIPE:
        pass_on(signal.SIGHUP)  # nobody reads any more, and the program would never notice
        return 0
    return status


def _pass_on(
    marker: Marker, prefix: tuple[str, ...], arguments: list[str], number: signal.Signals, age_s: float
) -> bool:
    """Have the program that was started ``age_s`` ago get a signal; whether that was done."""
    inside = [marker.hermes_bin, "container", "pass-signal", number.name, f"{age_s:.2f}", json.dumps(arguments)]
    argv = [*prefix, "exec", "-u", marker.exec_user, marker.container_name, *inside]
    return quietly(argv, PASS_ON_TIMEOUT_S)[0] == 0


def cannot_run(marker: Marker, prefix: tuple[str, ...]) -> str:
    """Why the backend cannot start hermesctl in the container: no such user or program; '' when it can.

    The program is not run for that: it may be any.
    """
    argv = [*prefix, "exec", "-u", marker.exec_user, marker.container_name, "test", "-x", marker.hermes_bin]
    status, said = quietly(argv, PROBE_TIMEOUT_S)
    if status == 0 or NO_TEST.search(said):
        return ""
    return f"{marker.hermes_bin} is no program there" if not said.strip() else last_line(said)
