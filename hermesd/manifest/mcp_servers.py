"""``mcp_servers:``, with the fields that config.yaml has for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.config.schema import McpServerConfig
from hermesd.errors import UsageError
from hermesd.manifest.config_entries import ConfigEntries
from hermesd.manifest.document import entry_shape
from hermesd.mcp.configure import NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.config.schema import Config
    from hermesd.manifest.entry import Entry
    from hermesd.manifest.merge import Fields


class McpServers(ConfigEntries):
    """See ``entry.Kind``."""

    section = "mcp_servers"
    noun = "MCP server"
    shape = entry_shape(McpServerConfig)
    path = ("mcp_servers",)
    blank = McpServerConfig()

    def sections(self, config: Config) -> Mapping[str, McpServerConfig]:
        """The servers."""
        return config.mcp_servers

    def check(self, entry: Entry) -> Fields:
        """A name that other verbs take, too."""
        if not NAME.fullmatch(entry.key.name):
            raise UsageError(
                f"{entry.key.name[:80]!r} is not a server's name", next_step="use letters, digits, - and _"
            )
        return super().check(entry)
