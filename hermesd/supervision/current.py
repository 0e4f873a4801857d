"""Which service the running code belongs to: set by the supervisor, inherited by every task the service starts."""

from __future__ import annotations

from contextvars import ContextVar

service_path: ContextVar[str] = ContextVar("service_path", default="")
"""The path of the service (``profile/coder/telegram``); an empty string outside any."""
