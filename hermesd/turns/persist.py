"""Durable writes that wait out a disk which refuses."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

import trio

from hermesd.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_RETRY_S = 0.25
LONGEST_RETRY_S = 15.0


async def persist(write: Callable[[], Awaitable[T]]) -> T:
    """Do a durable write, trying again while the disk refuses: a turn stands still rather than lose its place.

    Once ``write`` has succeeded this returns without a checkpoint: what is done cannot be taken for cancelled. It can
    be cancelled between two tries.
    """
    delay = FIRST_RETRY_S
    while True:
        try:
            with trio.CancelScope(shield=True):  # a commit under way is short, and must not be left half-known
                return await write()
        except StoreError as error:
            log.error("the store refused, trying again in %.1f s: %s", delay, error.what)  # noqa: TRY400 - known cause
        await trio.sleep(delay)
        delay = min(delay * 2, LONGEST_RETRY_S)
