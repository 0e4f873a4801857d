"""One call of hermesctl, taken into the container: wait until that is up, run there, bring the status back."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from hermesctl.routing.backend import ABSENT, RUNNING, UNANSWERED, Reached, look, reach
from hermesctl.routing.call import cannot_run, exec_argv, run
from hermesctl.routing.marker import read_marker
from hermesd.errors import UnreachableError

if TYPE_CHECKING:
    from hermesctl.routing.marker import Marker

AT_TERMINAL_S = 5.0
SILENT_S = 10.0
PAUSE_S = 0.5
YOUNG_S = 30.0
"""The entrypoint of a container that has just been started may still be making the user."""
ON_THE_HOST = frozenset({"activate", "container"})
"""Verbs that manage the container and its home."""


def route(home: str, arguments: list[str]) -> int | None:
    """Run the call where the marker of this home says; its exit status, or None when it belongs here.

    Raises what ``read_marker`` and ``reach`` raise, and UnreachableError for a container that does not come up.
    """
    if verb_of(arguments) in ON_THE_HOST:
        return None
    _open_standard_streams()
    try:
        marker, notices = read_marker(home)
    except FileNotFoundError:
        return None  # removed since it was seen
    for notice in notices:
        print(f"hermesctl: notice: {notice}", file=sys.stderr)
    has_terminal = os.isatty(0) and os.isatty(1)
    reached = await_container(marker, has_terminal=has_terminal)
    if abs(reached.seen.age_s) < YOUNG_S:
        _await_program(marker, reached.prefix, has_terminal=has_terminal)
    return _run(marker, reached.prefix, arguments, has_terminal=has_terminal)


def _open_standard_streams() -> None:
    """Let closed ones be /dev/null, or a pipe to the backend would take their place."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free, which is this one


def verb_of(arguments: list[str]) -> str:
    """The first word that is neither a flag nor the value of ``-p``; '' when there is none."""
    position = 0
    while position < len(arguments) and arguments[position].startswith("-"):
        position += 2 if arguments[position] in ("-p", "--profile") else 1
    return arguments[position] if position < len(arguments) else ""


def await_container(marker: Marker, *, has_terminal: bool) -> Reached:
    """Return once the container runs; tries again for 5 s with a spinner at a terminal, for 10 s silently otherwise."""
    reached = reach(marker.backend, marker.container_name)
    if reached.seen.state == RUNNING:
        return reached
    from hermesctl.routing.spinner import spinner

    patience_s = AT_TERMINAL_S if has_terminal else SILENT_S
    deadline = time.monotonic() + patience_s
    with spinner(f"waiting for the container {marker.container_name}", shown=has_terminal) as turn:
        while reached.seen.state != RUNNING:
            if time.monotonic() >= deadline or not _is_possible(marker.container_name):
                raise _not_up(marker, reached, patience_s)
            turn(PAUSE_S)
            reached = reached._replace(seen=look(reached.prefix, marker.container_name))
    return reached


def _run(marker: Marker, prefix: tuple[str, ...], arguments: list[str], *, has_terminal: bool) -> int:
    """Run it. The backend's own 126 and 127 mean that nothing has run yet."""
    argv = exec_argv(marker, prefix, arguments, has_terminal=has_terminal)
    status = run(marker, prefix, argv, arguments, has_terminal=has_terminal)
    if status not in (126, 127) or not _await_program(marker, prefix, has_terminal=has_terminal):
        return status
    return run(marker, prefix, argv, arguments, has_terminal=has_terminal)


def _await_program(marker: Marker, prefix: tuple[str, ...], *, has_terminal: bool) -> bool:
    """Return once the program can be started; whether that had to be waited for. Raises UnreachableError in the end."""
    if not (why := cannot_run(marker, prefix)):
        return False
    from hermesctl.routing.spinner import spinner

    patience_s = AT_TERMINAL_S if has_terminal else SILENT_S
    deadline = time.monotonic() + patience_s
    with spinner(f"waiting for {marker.hermes_bin} in {marker.container_name}", shown=has_terminal) as turn:
        while why:
            if time.monotonic() >= deadline:
                who, command = f"as {marker.exec_user}", " ".join(prefix)
                raise UnreachableError(
                    f"hermesctl cannot be run {who}, also not after {patience_s:.0f} s: {why}",
                    where=f"container {marker.container_name}",
                    next_step=f"see `{command} logs {marker.container_name}`, or correct .container-mode",
                )
            turn(PAUSE_S)
            why = cannot_run(marker, prefix)
    return True


def _is_possible(name: str) -> bool:
    """Whether a container can have this name at all: docker and podman allow letters, digits and ``_.-``."""
    return name.isascii() and all(character.isalnum() or character in "_.-" for character in name)


def _not_up(marker: Marker, reached: Reached, patience_s: float) -> UnreachableError:
    state, detail = reached.seen.state, reached.seen.detail
    command = " ".join(reached.prefix)
    if state == UNANSWERED:
        what, step = f"{marker.backend} does not answer: {detail}", f"see `{command} info`"
    elif state == ABSENT:
        what, step = f"there is no such container: {detail}", "create it: hermesctl container ensure --manifest FILE"
    else:
        what, step = f"the container is not running ({state})", f"start it: {command} start {marker.container_name}"
    return UnreachableError(
        f"{what}, also not after {patience_s:.0f} s" if _is_possible(marker.container_name) else what,
        where=f"container {marker.container_name}",
        next_step=f"{step} (HERMES_DEV=1 would stay on this host)",
    )
