"""What an activation has left to the daemon: jobs, webhooks and watches, applied at every start and reload."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from hermesd.activation.routines import NAME, PATH
from hermesd.errors import HermesError
from hermesd.home import read_bounded
from hermesd.manifest.ledger import ONE_AT_A_TIME, Ledger
from hermesd.rpc.wire import DoctorCheck

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermesd.rpc.context import Daemon

log = logging.getLogger("hermesd.activation")

MAX_BYTES = 8 * 1024 * 1024
NOTHING = f"version: 1\nname: {NAME}\n"
_files = trio.CapacityLimiter(1)


class DeclaredRoutines:
    """The routines of a manifest. ``problem`` is why they are not all in force, None when they are."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.problem: HermesError | OSError | None = None

    async def apply(self) -> None:
        """Make it so. What stands in the way is logged and shown by doctor; everything else goes on."""
        if ONE_AT_A_TIME.statistics().owner is trio.lowlevel.current_task():
            return  # an apply reloads the configuration, which comes here
        try:
            await self._apply()
        except (HermesError, OSError) as error:
            self.problem = error
            log.error("what is declared of jobs, webhooks and watches is not in force: %s", error)  # noqa: TRY400 - a known cause
        else:
            self.problem = None

    async def _apply(self) -> None:
        text = await trio.to_thread.run_sync(self._read, limiter=_files)
        if text is None and not (await Ledger.load(self._daemon.store)).of(NAME):
            return
        from hermesd.manifest.apply import apply
        from hermesd.manifest.document import Source
        from hermesd.manifest.plan import plan

        source = Source(str(PATH), NOTHING if text is None else text)
        async with ONE_AT_A_TIME:
            found = await plan(self._daemon, [source], by_manager=True)
            await apply(self._daemon, found, force_conflicts=True)
        if found.pending:
            log.info("applied %d declared jobs, webhooks or watches", len(found.pending))

    def _read(self) -> str | None:
        path = self._daemon.home.root / PATH
        try:
            return read_bounded(path, max_bytes=MAX_BYTES).decode("utf-8", "replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            step = "run hermesctl activate again"
            raise HermesError(f"cannot be read: {error.strerror}", where=str(path), next_step=step) from error

    def checks(self) -> Iterator[DoctorCheck]:
        """A finding, where there is a problem."""
        if self.problem is None:
            return
        what, step = str(self.problem), ""
        if isinstance(self.problem, HermesError):
            what, step = self.problem.what, self.problem.next_step
        yield DoctorCheck(
            name="declared routines",
            verdict="problem",
            detail=f"not in force: {what}",
            next_step=step or "correct what the manifest declares, and activate it",
        )
