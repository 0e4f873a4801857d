"""``mcp list|show|tools``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.mcp.typed import mcp_command
from hermesd.rpc.render.entries import entry_lines
from hermesd.rpc.render.page import Painted, state
from hermesd.rpc.render.table import table
from hermesd.rpc.render.terminal import one_line
from hermesd.rpc.render.units import ago

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.rpc.render.page import Page
    from hermesd.rpc.render.table import Cell
    from hermesd.rpc.wire import McpServerDetail, McpServerRow, McpServersResult, McpToolRow, McpToolsResult

HEADER = ("SERVER", "STATE", "KIND", "TOOLS", "RESTARTS", "ERA", "NEXT TRY", "LAST ERROR")
DISPENSABLE = (2, 4, 5)
"""Columns that a narrow page does without; `mcp show` has them."""
NARROW = 100
TOOLS = ("TOOL", "EFFECT", "NOTE", "DESCRIPTION")


def render_list(page: Page, result: McpServersResult) -> str:
    """A line for each server."""
    if not result.servers:
        return "no MCP servers; add one with `hermesctl mcp add`\n"
    rows: list[Sequence[Cell]] = [
        (
            server.name,
            state(server.state),
            server.kind,
            _count(server),
            str(server.restarts) if server.restarts else "–",
            server.era or "–",
            ago(page.now, server.next_try_at),
            one_line(server.last_error) or "–",
        )
        for server in result.servers
    ]
    kept = [at for at in range(len(HEADER)) if page.width == 0 or page.width >= NARROW or at not in DISPENSABLE]
    header, rows = [HEADER[at] for at in kept], [[row[at] for at in kept] for row in rows]
    return "\n".join(table(page, header, rows, whole=2)) + "\n"


def render_tools(page: Page, result: McpToolsResult) -> str:
    """A line for each tool."""
    return "\n".join(_tools(page, result.tools)) + "\n" if result.tools else "no tools\n"


def render_one(page: Page, result: McpServerDetail) -> str:
    """Everything about one."""
    server = result.server
    entries = [
        ("server", f"{server.name} ({server.kind}, {server.lifecycle}{', trusted' if server.trusted else ''})"),
        ("target", one_line(result.target)),
        ("state", page.state(server.state)),
        ("is", one_line(result.info)),
        ("era", server.era),
        ("pid", str(result.pid or "")),
        ("restarts", str(server.restarts or "")),
        ("last error", one_line(server.last_error)),
        ("next try", ago(page.now, server.next_try_at) if server.next_try_at else ""),
        ("left out", one_line(", ".join(result.left_out))),
        *(("noticed", one_line(flag)) for flag in result.flags),
    ]
    text = entry_lines(page, entries)
    for line in result.stderr[-5:]:
        text += page.paint(page.fit(f"  {one_line(line)}"), "dim") + "\n"
    if result.tools:
        text += "\n" + "\n".join(_tools(page, result.tools)) + "\n"
    if server.quarantined:
        text += _held(page, result)
    return text


def _held(page: Page, result: McpServerDetail) -> str:
    """What a person has to read before approving it: the whole description, and where the rest stands."""
    name = result.server.name
    text = "\n"
    for tool in result.tools:
        if tool.quarantined:
            text += page.paint(f"{tool.tool} is held back: it has changed. It now says:", "red") + "\n"
            text += "".join(f"  {one_line(line)}\n" for line in tool.description.splitlines())
    profile = result.told_as
    text += f"all of it, with the arguments: `{mcp_command(profile, 'tools', name, '--json')}`\n"
    return text + f"if that is what you want: `{mcp_command(profile, 'approve', name, '--expect', result.held)}`\n"


def _count(server: McpServerRow) -> str:
    return f"{server.tools} +{server.quarantined} held" if server.quarantined else str(server.tools)


def _tools(page: Page, tools: Sequence[McpToolRow]) -> list[str]:
    rows = [
        (
            Painted(tool.name, "red") if tool.quarantined else tool.name,
            tool.effect.replace("_", " "),
            ("held back" if tool.quarantined else "") or ("; ".join(tool.flags)) or "–",
            one_line(tool.description),
        )
        for tool in tools
    ]
    return table(page, TOOLS, rows, whole=1)
