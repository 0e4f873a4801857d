"""``mcp.*``: the servers of a profile, their tools, and what a person decides about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from hermesd.config.writing import WRITING_THREADS
from hermesd.errors import ConflictError, NotFoundError, UsageError
from hermesd.rpc import mcp as queries
from hermesd.rpc.routes import fast, slow, stream
from hermesd.rpc.wire import (
    Done,
    McpApproveParams,
    McpCallParams,
    McpCallResult,
    McpDefinitionParams,
    McpDefinitionResult,
    McpLoginAnswerParams,
    McpLoginUpdate,
    McpServerDetail,
    McpServerParams,
    McpServersResult,
    McpTestResult,
    McpToolsParams,
    McpToolsResult,
    ProfileParams,
)

if TYPE_CHECKING:
    from hermesd.mcp.catalog import Offer
    from hermesd.mcp.errors import McpErrorKind
    from hermesd.mcp.hub import Entry, McpHub
    from hermesd.rpc.calls import Caller, Stream

TEST_PATIENCE_S = 5.0
"""So long a server that cannot be reached is tried again before a test says so."""


@fast("mcp.list")
def list_servers(caller: Caller, params: ProfileParams) -> McpServersResult:
    """Every server."""
    return queries.servers(caller.daemon, params.profile)


@fast("mcp.show")
def show(caller: Caller, params: McpServerParams) -> McpServerDetail:
    """One server."""
    return queries.server(caller.daemon, params.profile, params.name)


@fast("mcp.tools")
def tools(caller: Caller, params: McpToolsParams) -> McpToolsResult:
    """Tools of one or all."""
    return queries.tools(caller.daemon, params.profile, params.name)


@fast("mcp.definition")
def definition(caller: Caller, params: McpDefinitionParams) -> McpDefinitionResult:
    """One tool as its server has sent it."""
    return queries.definition(caller.daemon, params.profile, params.name, params.tool)


@slow("mcp.call")
async def call(caller: Caller, params: McpCallParams) -> McpCallResult:
    """Call a tool as a turn would, without asking anybody."""
    from hermesd.mcp import tool
    from hermesd.mcp.errors import McpError
    from hermesd.tools import schema

    hub = caller.daemon.mcp(params.profile)
    hub.entry(params.name)
    await _learn(hub, params.name)
    name, offer = _offer(hub, params)
    if complaint := schema.complaint(offer.parameters, params.arguments):
        return McpCallResult(text=f"{name} was not called: {complaint}", is_error=True)
    needs_reauth = False
    try:
        found = await tool.call(hub, offer, params.arguments)
    except McpError as error:
        needs_reauth = error.needs_reauth
        found = tool.failure(hub, offer.server, name, error)
    return McpCallResult(text=found.text, is_error=found.is_error, needs_reauth=needs_reauth)


async def _learn(hub: McpHub, name: str) -> None:
    """A server that was never reached has no tools yet; wait for it as a call would. Raises McpError."""
    from hermesd.mcp.errors import McpError

    server, config = hub.reach(name)
    if not hub.offers(name):
        if not await server.wait_ready(config.connect_timeout):
            kind: McpErrorKind = "auth" if server.state == "auth" else "down"
            step = hub.login_command(name) if kind == "auth" else hub.command("show", name)
            why = f": {error}" if (error := hub.last_error(name)) else ""
            what = f"the server is not available ({server.state}){why}"
            raise McpError(what, kind=kind, where=f"mcp/{name}", next_step=step)
        await hub.checked(name)


def _offer(hub: McpHub, params: McpCallParams) -> tuple[str, Offer]:
    from hermesd.tools.schema import nearest

    offers = hub.offers(params.name)
    for name, offer in offers.items():
        if params.tool in (name, offer.tool):
            return name, offer
    if params.tool in hub.left_out(params.name):
        what = f"the tool {params.tool[:80]!r} of {params.name} is left out by the configuration"
        step = f"see include and exclude: `{hub.command('show', params.name)}`"
        raise NotFoundError(what, where=f"mcp_servers.{params.name}.tools", next_step=step)
    near = nearest(params.tool, [offer.tool for offer in offers.values()])
    step = f"did you mean {near!r}?" if near else f"see `{hub.command('tools', params.name)}`"
    raise NotFoundError(f"{params.name} has no tool {params.tool[:80]!r}", where=f"mcp/{params.name}", next_step=step)


@slow("mcp.test")
async def test(caller: Caller, params: McpServerParams) -> McpTestResult:
    """Wait for the server, at most its connect timeout; one that is idle is started.

    One whose tries fail meanwhile is not waited for as a call would: why they fail is what was asked.
    """
    hub = caller.daemon.mcp(params.profile)
    entry = hub.entry(params.name)
    if not entry.config.enabled:
        return McpTestResult(ok=False, state="disabled", next_step=hub.command("enable", params.name))
    server, config = hub.reach(params.name)
    begin = trio.current_time()
    hub.look_at_tokens(params.name)
    tries = _tries(entry)
    ok = await server.wait_ready(min(config.connect_timeout, TEST_PATIENCE_S))
    if not ok and (_tries(entry) == tries or (server.state == "connecting" and not config.url)):
        ok = await server.wait_ready(max(0.0, config.connect_timeout - (trio.current_time() - begin)))
    await hub.checked(params.name)
    row = queries.server(caller.daemon, params.profile, params.name).server
    step = hub.login_command(params.name) if row.state == "auth" else hub.command("show", params.name)
    has_failed = not ok and row.state == "connecting" and row.last_error != ""  # and the next try has just begun
    return McpTestResult(
        ok=ok,
        state="backoff" if has_failed else row.state,
        tools=row.tools,
        era=row.era,
        error="" if ok else row.last_error,
        next_step="" if ok else step,
        elapsed_s=round(trio.current_time() - begin, 3),
    )


def _tries(entry: Entry) -> int:
    return entry.server.failures if entry.server is not None else 0


@slow("mcp.restart")
async def restart(caller: Caller, params: McpServerParams) -> Done:
    """End its process or session, and start it."""
    hub = caller.daemon.mcp(params.profile)
    if not hub.entry(params.name).config.enabled:
        raise ConflictError(f"{params.name} is disabled", next_step=hub.command("enable", params.name))
    await caller.daemon.restart_service(f"profile/{hub.profile_name}/mcp/{params.name}")
    return Done(message=f"restarted {params.name}")


@slow("mcp.enable")
async def enable(caller: Caller, params: McpServerParams) -> Done:
    """Write it into config.yaml and apply that."""
    return await _switch(caller, params, on=True)


@slow("mcp.disable")
async def disable(caller: Caller, params: McpServerParams) -> Done:
    """Write it into config.yaml and apply that."""
    return await _switch(caller, params, on=False)


async def _switch(caller: Caller, params: McpServerParams, *, on: bool) -> Done:
    from hermesd.config.managed import manager_of
    from hermesd.config.write import set_value
    from hermesd.mcp.configure import key_of

    hub = caller.daemon.mcp(params.profile)
    hub.entry(params.name)
    key = f"{key_of(params.name)}.enabled"
    profile = caller.daemon.settings(params.profile).profile
    if (manager := manager_of(caller.daemon.home)) is not None and manager.declares(key, profile.name):
        raise manager.refusal(f"{'enable' if on else 'disable'} {params.name}")
    await trio.to_thread.run_sync(set_value, profile, key, "true" if on else "false", limiter=WRITING_THREADS)
    await caller.daemon.reload()
    return Done(message=f"{params.name} is {'enabled' if on else 'disabled'}")


@slow("mcp.approve")
async def approve(caller: Caller, params: McpApproveParams) -> Done:
    """Take what the server says now for right."""
    approved = await caller.daemon.mcp(params.profile).approve(params.name, params.tools, expect=params.expect)
    return Done(message=f"approved: {', '.join(approved)}" if approved else f"nothing of {params.name} is held back")


@stream("mcp.login")
async def login(caller: Caller, params: McpServerParams, stream: Stream) -> Done:
    """Sign in for a client without the files; the sign-in ends with its connection, and leaves all as it was."""
    hub = caller.daemon.mcp(params.profile)
    config = hub.entry(params.name).config
    if config.auth != "oauth" or not config.url:
        where = f"mcp_servers.{params.name}.auth"
        raise UsageError(f"{params.name} is not signed in to", where=where, next_step="set url and auth: oauth for it")
    stream.resume = "begin again"
    await hub.remote_sign_ins().run(
        params.name,
        config,
        say=lambda text: stream.offer(McpLoginUpdate(id=stream.id, text=text)),
        show=lambda url: stream.offer(McpLoginUpdate(id=stream.id, url=url)),
    )
    hub.look_at_tokens(params.name)
    return Done(message=f"signed in to {params.name}")


@fast("mcp.login_answer")
def login_answer(caller: Caller, params: McpLoginAnswerParams) -> Done:
    """Give the sign-in what the browser ended at; whether it was right is told on the stream."""
    caller.daemon.mcp(params.profile).remote_sign_ins().answer(params.name, params.address)
    return Done(message="handed in")
