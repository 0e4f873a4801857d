"""``logs.*``: hermesd.log, as it stands and as it grows."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import trio

from hermesd.errors import NotFoundError
from hermesd.rpc import queries
from hermesd.rpc.log_follow import GrowingFile
from hermesd.rpc.log_tail import line_filter
from hermesd.rpc.methods.lists import bounded
from hermesd.rpc.routes import slow, stream
from hermesd.rpc.wire import Done, LogNotification, LogsParams, LogsResult

if TYPE_CHECKING:
    from hermesd.rpc.calls import Caller, Stream

LOG_NAME = "hermesd.log"


@slow("logs.tail")
async def tail(caller: Caller, params: LogsParams) -> LogsResult:
    """The last lines that match."""
    return await queries.logs(caller.daemon, _lines(params), params.level, params.service)


@stream("logs.follow")
async def follow(caller: Caller, params: LogsParams, stream: Stream) -> Done:
    """The last lines that match, then each new one, across rotations. The kernel says when (inotify(7))."""
    from hermesd.config.inotify import CREATE, MODIFY, MOVED_TO, Inotify

    path = caller.daemon.home.logs / LOG_NAME
    matches = line_filter(params.level, params.service)
    stream.resume = "follow again"
    with contextlib.closing(Inotify()) as watch:
        try:
            watch.add(path.parent, MODIFY | CREATE | MOVED_TO)
        except OSError as error:
            raise NotFoundError(
                f"the log directory cannot be watched: {error.strerror}", where=str(path.parent), next_step="see df -i"
            ) from error
        with GrowingFile(path) as file:
            for line in await file.last_lines(_lines(params), params.level, params.service):
                await stream.send(LogNotification(id=stream.id, line=line))
            while True:
                while (lines := await file.new_lines()) is not None:
                    for line in filter(matches, lines):
                        await stream.send(LogNotification(id=stream.id, line=line))
                await trio.lowlevel.wait_readable(watch.fd)
                watch.read()  # what happened does not matter: the file is asked


def _lines(params: LogsParams) -> int:
    return bounded(params.lines) if params.lines > 0 else 0
