"""``daemon.*`` and ``service.*``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc import queries
from hermesd.rpc.routes import fast, slow
from hermesd.rpc.unfinished import unfinished as find_unfinished
from hermesd.rpc.wire import (
    DoctorResult,
    Done,
    Nothing,
    ReloadResult,
    ServiceParams,
    StatusResult,
    StopParams,
    TreeResult,
)
from hermesd.rpc.wire_upgrade import StopResult, UnfinishedResult

if TYPE_CHECKING:
    from hermesd.rpc.calls import Caller


@slow("daemon.status")
async def status(caller: Caller, _params: Nothing) -> StatusResult:
    """The daemon at a glance."""
    return await queries.status(caller.daemon)


@fast("daemon.tree")
def tree(caller: Caller, _params: Nothing) -> TreeResult:
    """The supervision tree."""
    return queries.tree(caller.daemon)


@slow("daemon.doctor")
async def doctor(caller: Caller, _params: Nothing) -> DoctorResult:
    """Every check."""
    return await queries.doctor(caller.daemon)


@slow("daemon.reload")
async def reload(caller: Caller, _params: Nothing) -> ReloadResult:
    """Read the configuration again."""
    return await caller.daemon.reload()


@slow("daemon.unfinished")
async def unfinished(caller: Caller, _params: Nothing) -> UnfinishedResult:
    """What is under way."""
    return await find_unfinished(caller.daemon)


@fast("daemon.stop")
def stop(caller: Caller, params: StopParams) -> StopResult:
    """Begin the ordered stop; the answer leaves before it has got as far as this server."""
    caller.daemon.request_stop(now=params.now)
    return StopResult(message="stopping", socket_unit=caller.daemon.socket_unit)


@slow("service.start")
async def start_service(caller: Caller, params: ServiceParams) -> Done:
    """Start a service."""
    await caller.daemon.start_service(params.name)
    return Done(message=f"{params.name} started")


@slow("service.stop")
async def stop_service(caller: Caller, params: ServiceParams) -> Done:
    """Stop a service."""
    await caller.daemon.stop_service(params.name)
    return Done(message=f"{params.name} stopped")


@slow("service.restart")
async def restart_service(caller: Caller, params: ServiceParams) -> Done:
    """Restart a service."""
    await caller.daemon.restart_service(params.name)
    return Done(message=f"{params.name} restarted")
