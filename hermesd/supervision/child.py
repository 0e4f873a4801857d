"""One supervised service: its task, its state, and what happens when it ends."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, overload

import trio

from hermesd.supervision.budget import Budget
from hermesd.supervision.current import service_path
from hermesd.supervision.failure import End, end_of
from hermesd.supervision.service import ServiceStatus
from hermesd.supervision.states import StateEvent, next_state
from hermesd.supervision.tree import Tree

if TYPE_CHECKING:
    from hermesd.supervision.service import Service, ServiceSpec, ServiceState
    from hermesd.supervision.tree import Host

log = logging.getLogger("hermesd.supervision")

STOP_PARTS = 8
"""In so many parts the time to end is waited for: one at most is lost to a machine that stood still."""


class Child:
    """A service under its policy. One task keeps it while it is wanted; none exists while it is stopped or failed.

    The service itself runs in a nursery and a task of its own for every start, so whatever it does to its scopes,
    nurseries and context variables ends with that start.
    """

    __slots__ = (
        "_budget",
        "_change",
        "_deadline",
        "_drain",
        "_fresh",
        "_host",
        "_pardoned",
        "_ready_at",
        "_scope",
        "_stopping",
        "alive",
        "halted",
        "last_error",
        "next_try_at",
        "restarts",
        "service",
        "since",
        "spec",
        "state",
        "wanted",
    )

    def __init__(self, spec: ServiceSpec, host: Host) -> None:
        self.spec = spec
        self.state: ServiceState = "stopped"
        self.since = host.wall()
        self.restarts = 0
        self.last_error = ""
        self.next_try_at = 0.0
        self.service: Service | None = None
        self.wanted = True
        self.alive = False
        self.halted = False
        self._host = host
        self._budget = Budget(spec.policy)
        self._fresh = True
        self._pardoned = False
        self._stopping = False
        self._deadline = math.inf
        self._scope: trio.CancelScope | None = None
        self._drain: trio.CancelScope | None = None
        self._ready_at: float | None = None
        self._change: trio.Event | None = None

    @property
    def path(self) -> str:
        """The full path, e.g. ``profile/coder/telegram``."""
        return self._host.path_of(self.spec.name)

    @property
    def stopping(self) -> bool:
        """It is to end, and has not yet."""
        return self.alive and self._stopping

    @property
    def tree(self) -> Tree | None:
        """The service, if it has services of its own."""
        return self.service if isinstance(self.service, Tree) else None

    def status(self, *, deep: bool = True) -> ServiceStatus:
        """What is to be said of it now; without its own children unless ``deep``."""
        detail = self.spec.detail
        tree = self.tree if deep else None
        return ServiceStatus(
            name=self.path,
            state=self.state,
            since=self.since,
            restarts=self.restarts,
            last_error=self.last_error,
            next_try_at=self.next_try_at,
            detail=detail() if detail and deep else "",
            children=tree.child_statuses() if tree else [],
        )

    # -- starting ------------------------------------------------------------------------------------------------
    def launch(self, *, by_hand: bool = False) -> None:
        """Start it, or end its backoff now; does nothing when it is already on its way. ``by_hand`` forgives."""
        self.wanted = True
        if by_hand:
            self._pardoned = True
            self._pardon()
        if self.alive:
            if self.state == "backoff" and self._scope is not None:
                self._scope.cancel(reason=f"{self.path} is started before its time")
                self.next_try_at = 0.0
                self._to("start")
            return
        self.alive = True
        self.halted = self._stopping = False
        self._deadline = math.inf
        self._to("start")
        self._host.spawn(self._keep, f"{self.path} (keeper)")

    async def settled(self) -> None:
        """Return once it is not ``starting`` any more."""
        while self.state == "starting":
            await self._next_change()

    async def _keep(self) -> None:
        """Run the service, judge its end, wait, and again, until it is to run no more."""
        try:
            if self._fresh and not await self._restore_budget():
                return
            while not self._stopping:
                end = await self._run_once()
                if self.stopping:
                    self.last_error = end.text if end.failed else self.last_error
                elif not await self._comes_back(end):
                    return
        finally:
            self._leave()

    async def _restore_budget(self) -> bool:
        """Take up the budget of the daemon's last life; False when it is used up and nobody asks all the same."""
        await self._host.ledger.restore(self.path, self._budget)
        self._fresh = False
        if self._pardoned:
            self._pardon()
        why = self._budget.exhausted(trio.current_time(), first=True)
        if not why or self._pardoned or self._stopping:
            return True
        self.last_error = f"{why}, before the daemon was restarted"
        log.error("%s is not started: %s", self.path, self.last_error, extra={"fields": {"service": self.path}})
        self._to("give_up")
        return False

    def _pardon(self) -> None:
        if self._budget.restarts:
            self._budget.forgive()
            self._host.ledger.save_restarts(self.path, self._budget)

    async def _run_once(self) -> End:
        """One start of the service to its end; only what is not an Exception leaves this method by raising."""
        policy = self.spec.policy
        end: End | None = None
        self._ready_at = None
        now = trio.current_time()
        self._budget.note_start(now)
        self._host.ledger.save_starts(self.path, self._budget)
        with trio.CancelScope(deadline=now + policy.start_timeout_s) as self._scope:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._serve, name=self.path)
            except* Exception as group:
                end = self._failure(group)
        if self.tree is None:
            self.service = None
        if end is not None:
            return end
        if self._ready_at is None and self._scope.cancel_called:
            return End(f"could not start: not ready within {policy.start_timeout_s:g} s", failed=True)
        return End("ended without being asked to", failed=False)

    async def _serve(self) -> None:
        service_path.set(self.path)
        self.service = service = self.spec.factory()
        if isinstance(service, Tree):
            service.adopt(self.path, self._host)
        if not self._stopping:
            await service.run(task_status=self)

    @overload
    def started(self) -> None: ...

    @overload
    def started(self, value: None) -> None: ...

    def started(self, value: None = None) -> None:
        """The ``task_status`` that the service is given: it is ready. Raises RuntimeError the second time."""
        if self._ready_at is not None:
            raise RuntimeError("started() was called twice")
        assert self._scope is not None
        if self._stopping or self._scope.cancel_called:
            return
        self._scope.deadline = math.inf
        self._ready_at = trio.current_time()
        self._to("started")

    # -- ending --------------------------------------------------------------------------------------------------
    def _failure(self, group: BaseExceptionGroup[Exception]) -> End:
        """Render the errors to text, and the traceback of what nobody foresaw to the log, once."""
        end = end_of(group, was_ready=self._ready_at is not None)
        traceback = None if end.expected else group
        log.warning("%s: %s", self.path, end.text, exc_info=traceback, extra={"fields": {"service": self.path}})
        return end

    async def _comes_back(self, end: End) -> bool:
        """Decide by policy whether to run again, and wait until it may; the state says what was decided."""
        kind = self.spec.policy.kind
        self.last_error = end.text
        now = trio.current_time()
        self._budget.forgive_if_healthy(now, self._ready_at)
        if kind != "permanent" and not end.failed:
            self.last_error = ""
            self._to("finish")
            return False
        why = "" if end.fatal or kind == "temporary" else self._budget.exhausted(now)
        if end.fatal or kind == "temporary" or why:
            self.last_error = f"{end.text} ({why})" if why else end.text
            log.error("%s has failed: %s", self.path, self.last_error, extra={"fields": {"service": self.path}})
            self._to("give_up")
            return False
        delay = self._budget.next_restart(now, self._host.rng)
        self.restarts += 1
        self._host.ledger.save_restarts(self.path, self._budget)
        if delay:
            await self._back_off(delay)
        else:
            self._to("again")
        return True

    async def _back_off(self, delay: float) -> None:
        """Wait, unless somebody starts or stops it before."""
        with trio.CancelScope(deadline=trio.current_time() + delay) as self._scope:
            self.next_try_at = self._host.wall() + delay
            self._to("retry")
            await trio.sleep_forever()
        self.next_try_at = 0.0
        if self.state == "backoff" and not self._stopping:
            self._to("due")

    def _leave(self) -> None:
        """The keeper ends: whatever the reason, the state is a resting one."""
        if self._budget.forgive_if_healthy(trio.current_time(), self._ready_at):
            self._host.ledger.save_restarts(self.path, self._budget)
        self.alive = False
        self.next_try_at = 0.0
        if self.tree is None:
            self.service = None
        if self._drain is not None:
            self._drain.cancel(reason="the service has ended")
        if self.state in ("starting", "ready", "backoff"):
            self._to("stop")
        if self.state == "draining":
            self._to("gone")
        self._wake()

    # -- stopping ------------------------------------------------------------------------------------------------
    def begin_halt(self, deadline: float) -> None:
        """Have it drained until ``deadline`` (loop time) or policy.drain_s, then cancelled; see ``halt_done``."""
        if self._stopping:
            self.limit(deadline)
        elif self.alive:
            self._stopping = True
            self._deadline = deadline
            drainable = self.state == "ready"
            if drainable or self.state == "starting":
                self._to("stop")
            self._host.spawn(self._drain_and_halt if drainable else self._halt, f"{self.path} (stop)")
        elif self.state == "failed":
            self._to("stop")

    def limit(self, deadline: float) -> None:
        """Bring the end of draining forward."""
        self._deadline = min(self._deadline, deadline)
        if self.tree is not None:
            self.tree.limit(self._deadline)
        elif self._drain is not None:
            self._drain.deadline = min(self._drain.deadline, self._deadline)

    async def halt_done(self) -> bool:
        """Wait for the end of ``begin_halt``: True when the service is gone, False when it ignores cancellation."""
        while self.alive and not self.halted:
            await self._next_change()
        return not self.alive

    async def _drain_and_halt(self) -> None:
        await self._drain_service()
        await self._halt()

    async def _halt(self) -> None:
        policy = self.spec.policy
        if self._scope is not None:
            self._scope.cancel(reason=f"{self.path} is being stopped")
        if not (self.tree and self.tree.stuck()):
            await self._ends_within(policy.stop_s)
        if self.alive:
            if not (self.tree and self.tree.stuck()):
                self.last_error = f"does not stop: it has ignored its cancellation for {policy.stop_s:g} s"
                log.error("%s %s", self.path, self.last_error, extra={"fields": {"service": self.path}})
            self.halted = True
            self._host.changed(self.status(deep=False))
            self._wake()

    async def _ends_within(self, seconds: float) -> None:
        """Wait for its end, for so long at most. While this process stood still, it could not end either."""
        for _ in range(STOP_PARTS):
            with trio.move_on_after(seconds / STOP_PARTS):
                while self.alive:
                    await self._next_change()
                return

    async def _drain_service(self) -> None:
        """Let it finish what it has. A tree bounds its own children; what fails to drain is cancelled like the rest."""
        tree = self.tree
        drain = getattr(self.service, "drain", None)
        if tree is not None:
            await tree.close(self._deadline)
        elif drain is not None:
            until = min(trio.current_time() + self.spec.policy.drain_s, self._deadline)
            with trio.CancelScope(deadline=until) as self._drain:
                try:
                    await drain()
                except* Exception as group:
                    self.last_error = f"while draining: {self._failure(group).text}"
            if self._drain.cancelled_caught and self.alive:
                log.warning("%s was cut short while draining", self.path, extra={"fields": {"service": self.path}})
            self._drain = None

    def forget(self) -> None:
        """It is removed: a later service of this name begins without its failures (its starts of the day count)."""
        self._pardon()

    # -- change --------------------------------------------------------------------------------------------------
    def _to(self, event: StateEvent) -> None:
        self.state = next_state(self.state, event)
        self.since = self._host.wall()
        self._host.changed(self.status(deep=False))
        self._wake()

    def _wake(self) -> None:
        if self._change is not None:
            self._change.set()
            self._change = None

    async def _next_change(self) -> None:
        if self._change is None:
            self._change = trio.Event()
        await self._change.wait()
