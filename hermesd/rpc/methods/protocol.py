"""``rpc.*`` and ``console.run``: the protocol itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import hermesd
from hermesd.rpc.routes import fast, slow
from hermesd.rpc.wire import (
    PROTOCOL_VERSION,
    ConsoleParams,
    ConsoleResult,
    Done,
    HelloResult,
    Nothing,
    SchemaResult,
)

if TYPE_CHECKING:
    from hermesd.rpc.calls import Caller

CAPABILITIES = ["json-lines", "msgpack", "pipelining", "streams", "console"]


@fast("rpc.hello")
def hello(caller: Caller, _params: Nothing) -> HelloResult:
    """Who answers."""
    return HelloResult(
        protocol=PROTOCOL_VERSION,
        server="hermesd",
        version=hermesd.__version__,
        pid=os.getpid(),
        role=caller.role,
        capabilities=CAPABILITIES,
        home=str(caller.daemon.home.root),
    )


@fast("rpc.ping")
def ping(_caller: Caller, _params: Nothing) -> Done:
    """An empty round trip."""
    return Done()


@fast("rpc.schema")
def schema(_caller: Caller, _params: Nothing) -> SchemaResult:
    """The protocol as OpenRPC."""
    from hermesd.rpc.openrpc import document

    return SchemaResult(openrpc=document())


@slow("console.run")
async def console(caller: Caller, params: ConsoleParams) -> ConsoleResult:
    """A verb rendered for a terminal."""
    from hermesd.rpc.console import run

    return await run(params, caller.daemon, caller.role)
