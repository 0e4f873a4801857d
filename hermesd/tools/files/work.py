"""How file tools run: in threads with a limiter of their own, a PathError becoming the model's error text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from hermesd.tools.base import ToolResult
from hermesd.tools.files.paths import PathError

if TYPE_CHECKING:
    from collections.abc import Callable

FILE_THREADS = trio.CapacityLimiter(8)


async def in_thread(work: Callable[[], str], *, reads_only: bool) -> ToolResult:
    """Run blocking file work; its text comes from outside and is marked so unless it only confirms a write.

    A cancelled reader is left to end by itself (``reads_only``); a writer is waited for, so that nothing changes
    after the turn has gone on. OSErrors that the work did not foresee (disk full, I/O error) are results as well.
    """
    try:
        text = await trio.to_thread.run_sync(work, limiter=FILE_THREADS, abandon_on_cancel=reads_only)
    except PathError as error:
        return ToolResult(error.what, is_error=True)
    except OSError as error:
        return ToolResult(f"the file system refused: {error.strerror or error}", is_error=True)
    return ToolResult(text, untrusted=reads_only)
