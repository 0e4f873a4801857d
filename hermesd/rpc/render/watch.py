"""``watch list|show|runs``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc.render.entries import entry_lines, field_entries
from hermesd.rpc.render.page import state
from hermesd.rpc.render.runs import run_rows
from hermesd.rpc.render.table import table
from hermesd.rpc.render.terminal import one_line
from hermesd.rpc.render.units import ago

if TYPE_CHECKING:
    from hermesd.rpc.render.page import Page
    from hermesd.rpc.wire_cron import CronRunsResult
    from hermesd.rpc.wire_watch import WatchListResult, WatchResult

RUNS = ("RUN", "WATCH", "AT", "STATE", "TOOK", "TOKENS", "DELIVERED", "SESSION", "ERROR")
HEADER = ("ID", "NAME", "STATE", "MODE", "WATCHES", "LAST", "RUNS", "DELIVER")


def render_list(page: Page, result: WatchListResult) -> str:
    """A line for each watch."""
    if not result.watches:
        return "no watches; make one with `hermesctl watch add --file PATTERN PROMPT`\n"
    rows = [
        (
            watch.id,
            one_line(watch.name),
            state("failed" if watch.error else watch.state),
            watch.fields.mode or "suggest",
            one_line(watch.what),
            ago(page.now, watch.last_at) if watch.last_at else "–",
            str(watch.fired),
            one_line(watch.fields.deliver or "local"),
        )
        for watch in result.watches
    ]
    return "\n".join(table(page, HEADER, rows)) + "\n"


def render_one(page: Page, result: WatchResult) -> str:
    """Everything about one."""
    watch = result.watch
    entries = [
        ("watch", f"{watch.id} {one_line(watch.name)} (profile {watch.profile})"),
        ("state", page.state(watch.state)),
        ("trouble", one_line(watch.error)),
        ("watches", one_line(watch.what)),
        *field_entries(watch.fields),
        ("runs", str(watch.fired)),
        ("last", ago(page.now, watch.last_at) if watch.last_at else ""),
        ("asks", one_line(watch.question)),
        ("answer", f"hermesctl watch answer {watch.id} yes|no|always" if watch.question else ""),
    ]
    return entry_lines(page, entries)


def render_runs(page: Page, result: CronRunsResult) -> str:
    """A line for each run."""
    return run_rows(page, result.runs, header=RUNS)
