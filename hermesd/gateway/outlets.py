"""Outlets that need no platform: ``log`` writes a line to the daemon's log, ``local`` a file."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Protocol

import trio

from hermesd.errors import HermesError
from hermesd.gateway.platform import PlatformError, Sent
from hermesd.home import make_private_directory, write_private

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from hermesd.store.records import OutboxRow
    from hermesd.triggers.obstacles import Obstacle

logger = logging.getLogger(__name__)


class Outlet(Protocol):
    """What the delivery worker needs of a platform."""

    async def send(self, row: OutboxRow, *, progress: Callable[[str], Awaitable[None]]) -> Sent:
        """See ``gateway.platform.Platform.send``."""


def refuse(found: Obstacle | None) -> None:
    """Raise it as a PlatformError: without other settings, trying again cannot help."""
    if found is not None:
        raise PlatformError(found.what, where=found.where, next_step=found.next_step, permanent=True)


class LogOutlet:
    """One line a message, at level INFO."""

    async def send(self, row: OutboxRow, *, progress: Callable[[str], Awaitable[None]]) -> Sent:
        """Log the text; line breaks are shown as ⏎ so that a message is one line."""
        await trio.lowlevel.checkpoint()
        logger.info("%s says: %s", row.profile, " ⏎ ".join(row.text.splitlines()))
        return Sent("log")


class FileOutlet:
    """One file a message below ``directory``, named after its key: writing it twice changes nothing."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._limiter = trio.CapacityLimiter(2)

    async def send(self, row: OutboxRow, *, progress: Callable[[str], Awaitable[None]]) -> Sent:
        """Write the text to a file; raises PlatformError when that cannot be done."""
        name = f"{row.id:08d}-{hashlib.sha256(row.idempotency_key.encode()).hexdigest()[:12]}.md"
        try:
            await trio.to_thread.run_sync(self._write, name, row.text, limiter=self._limiter)
        except (OSError, HermesError) as error:
            raise PlatformError(f"not written: {error}", where=str(self._directory / name)) from error
        return Sent(name)

    def _write(self, name: str, text: str) -> None:
        make_private_directory(self._directory)
        write_private(self._directory / name, text.encode("utf-8", "replace"))
