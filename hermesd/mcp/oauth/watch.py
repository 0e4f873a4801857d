"""Noticing that files in mcp-tokens/ were replaced or removed, by whomever: nothing polls."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING

import trio

from hermesd.errors import ConfigError
from hermesd.home import make_private_directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logging.getLogger(__name__)


async def watch_directory(directory: Path, on_change: Callable[[str], None]) -> None:
    """Call ``on_change`` with the name of each file that was written, replaced, removed or chowned; "" for any of them.

    The directory is made when it is missing. Returns when it cannot be watched (any more): a new sign-in is then
    noticed by the next request, or when a client asks for the server.
    """
    if sys.platform != "linux":
        return
    from hermesd.config.inotify import ATTRIB, CLOSE_WRITE, DELETE, IGNORED, MOVED_FROM, MOVED_TO, Q_OVERFLOW, Inotify

    mask = ATTRIB | CLOSE_WRITE | DELETE | MOVED_FROM | MOVED_TO
    try:
        with contextlib.closing(Inotify()) as inotify:
            make_private_directory(directory)
            inotify.add(directory, mask)
            while True:
                await trio.lowlevel.wait_readable(inotify.fd)
                for event in inotify.read():
                    if event.mask & IGNORED:  # somebody removed it with all that was in it
                        if not directory.parent.is_dir():
                            return
                        make_private_directory(directory)
                        inotify.add(directory, mask)
                    on_change("" if event.mask & (IGNORED | Q_OVERFLOW) else event.name)
    except (OSError, ConfigError) as error:
        logger.warning("%s cannot be watched (%s): a sign-in is noticed later", directory.name, error)
