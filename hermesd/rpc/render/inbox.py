"""``inbox list|show``: accepted messages, and all that is known to decide on one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc.render.page import state
from hermesd.rpc.render.table import table
from hermesd.rpc.render.terminal import clean, one_line
from hermesd.rpc.render.units import ago

if TYPE_CHECKING:
    from hermesd.rpc.render.page import Page
    from hermesd.rpc.wire import InboxDetail, InboxResult
    from hermesd.store.records import InboxRow

HEADER = ("ID", "STATE", "PROFILE", "SOURCE", "RECEIVED", "TEXT")


def render_list(page: Page, result: InboxResult) -> str:
    """A line a row."""
    if not result.rows:
        return "nothing waits, runs or needs a decision\n"
    rows = [
        (str(row.id), state(row.state), row.profile, row.source, ago(page.now, row.received_at), _text(page, row))
        for row in result.rows
    ]
    return "\n".join(table(page, HEADER, rows)) + "\n"


def _text(page: Page, row: InboxRow) -> str:
    if row.error:
        return f"{row.error} | {row.text}"
    return f"(not before {ago(page.now, row.not_before)}) {row.text}" if row.not_before > page.now else row.text


def render_one(page: Page, result: InboxDetail) -> str:
    """A row, its turn, its journal, and the commands that decide on it."""
    row = result.row
    lines = [
        f"message {row.id}  {page.state(row.state)}  {one_line(row.profile)}  {one_line(row.source)}{_sender(row)}",
        page.paint(f"received {ago(page.now, row.received_at)}, delivery id {one_line(row.delivery_id)}", "dim"),
        "",
        clean(row.text),
    ]
    if row.error:
        lines += ["", page.paint(one_line(row.error), "red")]
    if result.turn is not None:
        turn = result.turn
        lines += ["", f"turn {turn.id}  {page.state(turn.state)}  started {ago(page.now, turn.started_at)}"]
        lines[-1] += f"  attempts {turn.attempts}  crashes {turn.crashes}"
    if result.steps:
        header = ("STEP", "KIND", "NAME", "STATE", "EFFECT", "REQUEST")
        rows = [(str(s.seq), s.kind, s.name, state(s.state), s.effect, s.request) for s in result.steps]
        lines += table(page, header, rows)
    lines += _decisions(row)
    return "\n".join(lines) + "\n"


def _sender(row: InboxRow) -> str:
    return f"  from {one_line(row.sender)}" if row.sender else ""


def _decisions(row: InboxRow) -> list[str]:
    if row.state not in ("parked", "failed"):
        return []
    resume = [f"  hermesctl inbox resume {row.id} --note TEXT   go on; TEXT stands for the step's result"]
    return [
        "",
        "decide:",
        f"  hermesctl inbox retry {row.id}                answer it again from the beginning",
        *(resume if row.state == "parked" else []),
        f"  hermesctl inbox drop {row.id}                 forget it",
    ]
