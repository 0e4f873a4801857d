"""``webhook list|show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hermesd.rpc.render.entries import entry_lines
from hermesd.rpc.render.page import state
from hermesd.rpc.render.table import table
from hermesd.rpc.render.terminal import one_line
from hermesd.rpc.render.units import ago

if TYPE_CHECKING:
    from hermesd.rpc.render.page import Page
    from hermesd.rpc.wire_webhook import WebhooksResult, WebhookView

HEADER = ("NAME", "STATE", "ACCEPTED", "REPEATED", "IGNORED", "REFUSED", "LAST", "DELIVER", "URL")


def render_list(page: Page, result: WebhooksResult) -> str:
    """A line for each route."""
    if not result.routes:
        return "no routes; make one with `hermesctl webhook subscribe NAME --prompt TEXT`\n"
    rows = [
        (
            route.name,
            state(_state(route)),
            str(route.accepted),
            str(route.duplicates),
            str(route.ignored),
            str(sum(route.refused.values())),
            ago(page.now, route.last_at),
            one_line(route.deliver),
            route.url,
        )
        for route in result.routes
    ]
    lines = table(page, HEADER, rows)
    if not result.listening:
        lines.append("they are not answered now: `hermesctl gateway start`")
    return "\n".join(lines) + "\n"


def render_one(page: Page, route: WebhookView) -> str:
    """Everything about one but its secret."""
    refused = ", ".join(f"{count} {reason}" for reason, count in sorted(route.refused.items()))
    filters = [msgspec.json.encode(each).decode() for each in route.filters]
    extra = [f"{name}={value}" for name, value in route.deliver_extra.items()]
    entries = [
        ("route", f"{one_line(route.name)} (profile {route.profile})"),
        ("state", page.state(_state(route))),
        ("url", route.url),
        ("scheme", route.scheme),
        ("events", ", ".join(route.events)),
        *(("filters" if number == 0 else "", each) for number, each in enumerate(filters)),
        ("prompt", one_line(route.prompt)),
        ("skills", ", ".join(route.skills)),
        ("deliver", f"{route.deliver}{' (without an agent)' if route.deliver_only else ''}"),
        ("with", ", ".join(extra)),
        ("for", route.description),
        ("accepted", f"{route.accepted}, {route.duplicates} repeated, {route.ignored} ignored"),
        ("refused", refused or "none"),
        ("last", ago(page.now, route.last_at)),
    ]
    return entry_lines(page, [(label, one_line(value)) for label, value in entries])


def _state(route: WebhookView) -> str:
    if not route.has_secret:
        return "no secret"
    return "enabled" if route.enabled else "disabled"
