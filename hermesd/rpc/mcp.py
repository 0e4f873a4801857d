"""MCP servers as the wire shows them: from a profile's hub to rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hermesd.errors import NotFoundError, UsageError
from hermesd.mcp.sanitize import clean
from hermesd.rpc.wire import (
    McpDefinitionResult,
    McpServerDetail,
    McpServerRow,
    McpServersResult,
    McpToolRow,
    McpToolsResult,
)

if TYPE_CHECKING:
    from hermesd.mcp.hub import Entry, McpHub
    from hermesd.rpc.context import Daemon

MAX_TEXT = 4000
MAX_DEFINITION_BYTES = 1024 * 1024


def servers(daemon: Daemon, profile: str) -> McpServersResult:
    """Every configured server of a profile."""
    hub = daemon.mcp(profile)
    return McpServersResult(servers=[_row(hub, entry) for entry in hub.entries.values()])


def server(daemon: Daemon, profile: str, name: str) -> McpServerDetail:
    """One server; raises NotFoundError."""
    hub = daemon.mcp(profile)
    entry = hub.entry(name)
    running = entry.server
    info = running.server_info if running else {}
    return McpServerDetail(
        server=_row(hub, entry),
        target=_target(entry),
        tools=_tools(hub, name),
        left_out=[_clean(each) for each in hub.left_out(name)],
        held=hub.held(name),
        told_as=hub.told_name,
        flags=list(entry.prepared.flags),
        info=_clean(" ".join(str(info[key]) for key in ("name", "version") if info.get(key))),
        instructions=_clean(running.instructions if running else ""),
        pid=running.pid if running else 0,
        stderr=[_clean(line) for line in running.stderr()] if running else [],
    )


def tools(daemon: Daemon, profile: str, name: str) -> McpToolsResult:
    """The tools of one server, or of all; raises NotFoundError."""
    hub = daemon.mcp(profile)
    if name:
        hub.entry(name)
    return McpToolsResult(tools=_tools(hub, name))


def definition(daemon: Daemon, profile: str, name: str, tool: str) -> McpDefinitionResult:
    """A tool as its server has sent it, for whoever compares that with what was made of it. Raises NotFoundError."""
    hub = daemon.mcp(profile)
    for each in hub.entry(name).listing.tools:
        if each.get("name") == tool:
            break
    else:
        raise NotFoundError(f"{name} has no tool {tool[:80]!r}", next_step=hub.command("tools", name))
    if len(msgspec.json.encode(each)) > MAX_DEFINITION_BYTES:
        raise UsageError(f"its definition is larger than {MAX_DEFINITION_BYTES} bytes", where=f"mcp/{name}")
    return McpDefinitionResult(definition=dict(each))


def _tools(hub: McpHub, server_name: str) -> list[McpToolRow]:
    return [
        McpToolRow(
            name=name,
            server=offer.server,
            tool=offer.tool,
            kind=offer.kind,
            effect=offer.effect,
            description=offer.description,
            parameters=offer.parameters,
            flags=list(offer.flags),
            quarantined=offer.quarantined,
        )
        for name, offer in hub.offers(server_name).items()
    ]


def _row(hub: McpHub, entry: Entry) -> McpServerRow:
    offers = hub.offers(entry.name).values()
    held = sum(offer.quarantined for offer in offers)
    running = entry.server if entry.config.enabled else None
    return McpServerRow(
        name=entry.name,
        profile=hub.profile_name,
        state=running.state if running else ("connecting" if entry.config.enabled else "disabled"),
        kind=_kind(entry),
        era=running.era if running else "",
        tools=len(offers) - held,
        quarantined=held,
        restarts=running.restarts if running else 0,
        last_error=_clean(running.last_error) if running else "",
        next_try_at=running.next_try_at if running else 0.0,
        lifecycle=entry.config.lifecycle,
        trusted=entry.config.trusted,
    )


def _kind(entry: Entry) -> str:
    if not entry.config.url:
        return "stdio"
    return "sse" if entry.config.transport == "sse" else "http"


def _target(entry: Entry) -> str:
    """What it is reached by; arguments, headers and queries may hold secrets and are not told."""
    if entry.config.url:
        return entry.config.url.partition("?")[0]
    return entry.config.command


def _clean(text: str) -> str:
    return clean(text, MAX_TEXT, set(), "")
