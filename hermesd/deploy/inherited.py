"""Descriptors that a process supervisor hands over at start: sockets of socket activation, and what it kept for us.

https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import MutableMapping

FIRST_INHERITED_FD = 3  # SD_LISTEN_FDS_START
UNNAMED = "unknown"  # what systemd calls a descriptor without FileDescriptorName=


class Descriptor(NamedTuple):
    """One of them. ``name`` is its socket unit, or the FDNAME it was stored under."""

    name: str
    fd: int


def take_inherited(environment: MutableMapping[str, str] | None = None) -> list[Descriptor]:
    """What was handed to this very process, in order; not inherited any further. The variables are taken out."""
    variables = os.environ if environment is None else environment
    pid, count = variables.pop("LISTEN_PID", ""), variables.pop("LISTEN_FDS", "")
    names = variables.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not (count.isascii() and count.isdigit()):
        return []
    total = int(count)
    names = names if len(names) == total else [UNNAMED] * total
    found = [Descriptor(name or UNNAMED, FIRST_INHERITED_FD + place) for place, name in enumerate(names[:total])]
    for descriptor in found:
        os.set_inheritable(descriptor.fd, False)
    return found
