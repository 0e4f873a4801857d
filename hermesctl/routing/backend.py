"""docker and podman from outside: in which way they may be called, and in which state a container is."""

from __future__ import annotations

import math
import os
import re
import subprocess
import time
from typing import NamedTuple

from hermesd.errors import DeniedError, UnreachableError

PROBE_TIMEOUT_S = 15.0
MAX_DETAIL_CHARACTERS = 200

RUNNING = "running"
ABSENT = "absent"
REFUSED = "refused"
UNANSWERED = "unanswered"
NOT_UP = frozenset(
    # docker: created restarting removing paused exited dead; podman has some more
    (
        "configured",
        "created",
        "dead",
        "exited",
        "initialized",
        "paused",
        "removing",
        "restarting",
        "stopped",
        "stopping",
    )
)

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z| ([+-]\d{4}))")


class Seen(NamedTuple):
    """What the backend says of a container: one of the words above or of ``NOT_UP``, and its own words if it failed.

    ``age_s``: since it was started; infinite when that is not known.
    """

    state: str
    detail: str = ""
    age_s: float = math.inf


class Reached(NamedTuple):
    """The words that begin every call of the backend, and what they showed."""

    prefix: tuple[str, ...]
    seen: Seen


def reach(backend: str, name: str) -> Reached:
    """Look at the container, with sudo only if the plain call is refused.

    To an ordinary user, podman's containers of root do not exist: for podman that is a refusal too. Raises DeniedError
    when neither way is open, UnreachableError when the backend is not installed.
    """
    plain = Reached((backend,), look((backend,), name))
    is_hidden = backend == "podman" and plain.seen.state in (ABSENT, UNANSWERED)
    if os.geteuid() == 0 or not (plain.seen.state == REFUSED or is_hidden):
        return plain
    sudo = ("sudo", "-n", backend)
    try:
        raised = Reached(sudo, look(sudo, name))
    except UnreachableError:  # no sudo here
        raised = Reached(sudo, Seen(REFUSED, "sudo is not installed"))
    if raised.seen.state != REFUSED:
        return raised
    if is_hidden:
        hint = f"as this user; sudo -n is refused: {raised.seen.detail}"
        return plain._replace(seen=Seen(plain.seen.state, f"{plain.seen.detail} ({hint})"))
    raise DeniedError(
        f"{backend} refuses this user: {plain.seen.detail}; and so does sudo: {raised.seen.detail}",
        next_step=f"join the group {backend}, or let sudoers allow {backend} without a password (NOPASSWD)",
    )


def look(prefix: tuple[str, ...], name: str) -> Seen:
    """The container's state. Raises UnreachableError when the program is not there."""
    # flags first, and `--`: a name is never an option
    form = "{{.State.Status}} {{.State.StartedAt}}"
    argv = [*prefix, "inspect", "--type", "container", "--format", form, "--", name]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_TIMEOUT_S, check=False, env=plain_words()
        )
    except FileNotFoundError:
        raise UnreachableError(
            f"{prefix[0]} is not installed, and hermesd lives in a container",
            next_step=f"install {prefix[0]}, or set HERMES_DEV=1 to stay on this host",
        ) from None
    except subprocess.TimeoutExpired:
        return Seen(UNANSWERED, f"{prefix[-1]} did not answer within {PROBE_TIMEOUT_S:.0f} s")
    said = done.stderr.decode("utf-8", "replace")
    if done.returncode == 0:
        state, _, started = done.stdout.decode("utf-8", "replace").strip().partition(" ")
        return Seen(state) if state in NOT_UP else Seen(RUNNING, age_s=age(started))
    return Seen(_failure(said), last_line(said))


def age(started: str) -> float:
    """Seconds since a time as docker (RFC 3339, UTC) or podman (Go's form, ``… +0200 CEST``) writes it."""
    from datetime import datetime

    found = _TIME.match(started)
    if not found:
        return math.inf
    zone = found[3] or "+0000"
    try:
        then = datetime.strptime(f"{found[1]} {found[2]} {zone}", "%Y-%m-%d %H:%M:%S %z")
    except ValueError:
        return math.inf
    return time.time() - then.timestamp()


def plain_words() -> dict[str, str]:
    """This environment, with messages in English: they are read here."""
    return {**os.environ, "LC_ALL": "C"}


def _failure(said: str) -> str:
    low = said.lower()
    if ("no such" in low and ("container" in low or "object" in low)) or "no container with" in low:
        return ABSENT  # before the next: docker also warns of a configuration that it was denied
    return REFUSED if "sudo:" in low or "permission denied" in low else UNANSWERED


def last_line(said: str) -> str:
    """The last words of a program, bounded and printable."""
    line = next((line for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
    return "".join(character if character.isprintable() else " " for character in line).strip()[:MAX_DETAIL_CHARACTERS]
