"""``plugins list|show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc.render.page import state
from hermesd.rpc.render.table import table
from hermesd.rpc.render.terminal import one_line

if TYPE_CHECKING:
    from hermesd.rpc.render.page import Page
    from hermesd.rpc.wire_plugins import PluginDetail, PluginsResult

HEADER = ("PLUGIN", "STATE", "KIND", "VERSION", "TOOLS", "ERROR")
TOOLS = ("TOOL", "EFFECT", "TIMEOUT", "DESCRIPTION")


def render_list(page: Page, result: PluginsResult) -> str:
    """A line for each plugin."""
    if not result.plugins:
        return "no plugins; put one into plugins/NAME/ of the home\n"
    rows = [
        (
            plugin.name,
            state(plugin.state),
            plugin.kind or "–",
            one_line(plugin.version) or "–",
            str(plugin.tools) if plugin.state == "ready" else "–",
            one_line(plugin.error) or "–",
        )
        for plugin in result.plugins
    ]
    return "\n".join(table(page, HEADER, rows)) + "\n"


def render_one(page: Page, result: PluginDetail) -> str:
    """Everything about one."""
    plugin = result.plugin
    entries = [
        ("plugin", f"{plugin.name} {one_line(plugin.version)}".rstrip()),
        ("is", one_line(result.description)),
        ("state", page.state(plugin.state)),
        ("place", one_line(result.place)),
        ("needs", one_line(", ".join(result.requires_env))),
        ("error", one_line(plugin.error)),
        ("next step", one_line(result.next_step)),
        *(("noticed", one_line(note)) for note in result.notes),
    ]
    width = max(len(label) for label, _ in entries) + 2
    text = "".join(f"{page.paint(f'{label:<{width}}', 'dim')}{value}\n" for label, value in entries if value)
    if result.tools:
        rows = [
            (tool.name, tool.effect.replace("_", " "), f"{tool.timeout_s:g} s", one_line(tool.description))
            for tool in result.tools
        ]
        text += "\n" + "\n".join(table(page, TOOLS, rows)) + "\n"
    return text
