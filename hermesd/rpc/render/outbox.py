"""``outbox list|show``: messages on their way out, and dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc.render.page import state
from hermesd.rpc.render.table import table
from hermesd.rpc.render.terminal import clean, one_line
from hermesd.rpc.render.units import ago

if TYPE_CHECKING:
    from hermesd.rpc.render.page import Page
    from hermesd.rpc.render.table import Cell
    from hermesd.rpc.wire import OutboxResult
    from hermesd.rpc.wire_outbox import OutboxDetail
    from hermesd.store.records import OutboxRow

HEADER = ("ID", "STATE", "PROFILE", "TO", "CREATED", "TRIES", "TEXT")


def render(page: Page, result: OutboxResult, *, dead: bool = False) -> str:
    """A line a row, and how to decide on held and dead ones. ``dead``: only dead letters were asked for."""
    if not result.rows:
        return "no dead letters\n" if dead else "everything is sent\n"
    lines = table(page, HEADER, [_row(page, row) for row in result.rows])
    if any(row.state in ("held", "dead") for row in result.rows):
        lines += ["", "read one: hermesctl outbox show ID"]
        lines += ["decide: hermesctl outbox retry ID | hermesctl outbox drop ID"]
    return "\n".join(lines) + "\n"


def render_one(page: Page, result: OutboxDetail) -> str:
    """Everything about one: where it goes, its attempts, the last error, the next try, its text."""
    row = result.row
    entries = [
        ("message", f"{row.id}  {page.state(row.state)}  {one_line(row.profile)}  {row.kind}"),
        ("to", one_line(_to(row))),
        ("created", ago(page.now, row.created_at)),
        ("attempts", f"{row.attempts}{', perhaps sent before' if row.repeat else ''}"),
        ("last error", page.paint(one_line(row.error), "red") if row.error else ""),
        ("next try", ago(page.now, row.next_at) if row.state == "pending" and row.next_at > page.now else ""),
        ("sent as", one_line(row.ref)),
        ("turn", row.turn_id),
    ]
    lines = [f"{page.paint(f'{label:<12}', 'dim')}{value}" for label, value in entries if value]
    return "\n".join([*lines, "", clean(row.text), *_decisions(row)]) + "\n"


def _decisions(row: OutboxRow) -> list[str]:
    if row.state not in ("held", "dead", "pending"):
        return []
    return [
        "",
        "decide:",
        f"  hermesctl outbox retry {row.id}   send it now",
        f"  hermesctl outbox drop {row.id}    never send it",
    ]


def _to(row: OutboxRow) -> str:
    return ":".join(filter(None, (row.address.platform, row.address.chat, row.address.thread)))


def _row(page: Page, row: OutboxRow) -> tuple[Cell, ...]:
    due = f"(next try {ago(page.now, row.next_at)}) " if row.state == "pending" and row.next_at > page.now else ""
    text = due + (f"{row.error} | {row.text}" if row.error else row.text)
    return str(row.id), state(row.state), row.profile, _to(row), ago(page.now, row.created_at), str(row.attempts), text
