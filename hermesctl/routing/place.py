"""Whether this process is inside a container."""

from __future__ import annotations

import os

SIGNS = ("/.dockerenv", "/run/.containerenv")
"""What docker and podman put into every container; also found on machines that were made from an image."""
FIRST_NAMESPACES = {"pid": 0xEFFFFFFC, "ipc": 0xEFFFFFFF, "uts": 0xEFFFFFFE}
"""Inodes of the namespaces that a machine starts with (Linux, include/linux/proc_ns.h)."""


def is_in_container(root: str = "/") -> bool:
    """A sign, and some namespace that is not the machine's own; mounts and cgroups name docker on its hosts too."""
    if not any(os.path.exists(root + sign[1:]) for sign in SIGNS):  # noqa: PTH110 - as light as can be
        return False
    return any(_inode(f"{root}proc/self/ns/{name}") != first for name, first in FIRST_NAMESPACES.items())


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino  # noqa: PTH116
    except OSError:
        return 0
