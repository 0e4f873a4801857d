"""``outbox list``: messages on their way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc.render.page import state
from hermesd.rpc.render.table import table
from hermesd.rpc.render.units import ago

if TYPE_CHECKING:
    from hermesd.rpc.render.page import Page
    from hermesd.rpc.render.table import Cell
    from hermesd.rpc.wire import OutboxResult
    from hermesd.store.records import OutboxRow

HEADER = ("ID", "STATE", "PROFILE", "TO", "CREATED", "TRIES", "TEXT")


def render(page: Page, result: OutboxResult) -> str:
    """A line a row, and how to decide on held and dead ones."""
    if not result.rows:
        return "everything is sent\n"
    lines = table(page, HEADER, [_row(page, row) for row in result.rows])
    if any(row.state in ("held", "dead") for row in result.rows):
        lines += ["", "decide: hermesctl outbox retry ID | hermesctl outbox drop ID"]
    return "\n".join(lines) + "\n"


def _row(page: Page, row: OutboxRow) -> tuple[Cell, ...]:
    to = ":".join(filter(None, (row.address.platform, row.address.chat, row.address.thread)))
    due = f"(next try {ago(page.now, row.next_at)}) " if row.state == "pending" and row.next_at > page.now else ""
    text = due + (f"{row.error} | {row.text}" if row.error else row.text)
    return str(row.id), state(row.state), row.profile, to, ago(page.now, row.created_at), str(row.attempts), text
