"""The kinds of entries, in the order in which they are shown. A new kind is a module with a class, named here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.manifest.jobs import Jobs
from hermesd.manifest.mcp_servers import McpServers
from hermesd.manifest.profiles import Profiles
from hermesd.manifest.watches import Watches
from hermesd.manifest.webhooks import Webhooks

if TYPE_CHECKING:
    from hermesd.manifest.entry import Kind

KINDS: tuple[type[Kind], ...] = (Profiles, McpServers, Webhooks, Watches, Jobs)
