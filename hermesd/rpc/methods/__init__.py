"""Every method, a file a namespace. Importing this fills the table of routes."""

from hermesd.rpc.methods import (
    chat,
    config,
    cron,
    daemon,
    events,
    lists,
    logs,
    mcp,
    plugins,
    profiles,
    protocol,
    routines,
    skills,
    watch,
    webhook,
)
from hermesd.rpc.routes import ROUTES

__all__ = [
    "ROUTES",
    "chat",
    "config",
    "cron",
    "daemon",
    "events",
    "lists",
    "logs",
    "mcp",
    "plugins",
    "profiles",
    "protocol",
    "routines",
    "skills",
    "watch",
    "webhook",
]
