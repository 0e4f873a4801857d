"""A running root supervisor, and services that do as they are told."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio

from hermesd.supervision.policy import Policy
from hermesd.supervision.service import ServiceSpec, ServiceStatus
from hermesd.supervision.supervisor import Supervisor

Body = Callable[[trio.TaskStatus[None]], Awaitable[None]]


class Scripted:
    """A service whose run is a function."""

    def __init__(self, body: Body) -> None:
        self.body = body

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        await self.body(task_status)


class Draining(Scripted):
    """One that can also be drained."""

    def __init__(self, body: Body, drain: Callable[[], Awaitable[None]]) -> None:
        super().__init__(body)
        self.drain = drain


async def idle(task_status: trio.TaskStatus[None]) -> None:
    """Ready at once, then nothing until cancelled."""
    task_status.started()
    await trio.sleep_forever()


async def stubborn(task_status: trio.TaskStatus[None]) -> None:
    """Ready at once; its cancellation is ignored for a long time."""
    task_status.started()
    with trio.CancelScope(shield=True):
        await trio.sleep(1000)


def spec(name: str, body: Body = idle, *, group: int = 0, drain: Any = None, **policy: Any) -> ServiceSpec:
    """A specification with a policy of these fields."""
    factory = (lambda: Scripted(body)) if drain is None else (lambda: Draining(body, drain))
    return ServiceSpec(name, factory, policy=Policy(**policy), group=group)


class Recorder:
    """Every transition that the supervisor reports."""

    def __init__(self) -> None:
        self.seen: list[ServiceStatus] = []

    def __call__(self, status: ServiceStatus) -> None:
        self.seen.append(status)

    def states(self, name: str) -> list[str]:
        return [status.state for status in self.seen if status.name == name]


@pytest.fixture
def changes() -> Recorder:
    return Recorder()


@pytest.fixture
async def root(changes: Recorder, nursery: trio.Nursery) -> AsyncIterator[Supervisor]:
    """A running root, cancelled with the test."""
    supervisor = Supervisor("hermesd", on_change=changes, wall=trio.current_time, rng=random.Random(7))
    await nursery.start(supervisor.run)
    yield supervisor
    nursery.cancel_scope.cancel()
