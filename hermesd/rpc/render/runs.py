"""Runs of jobs and of watches, a line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc.render.page import state
from hermesd.rpc.render.table import table
from hermesd.rpc.render.terminal import one_line
from hermesd.rpc.render.units import ago

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.rpc.render.page import Page
    from hermesd.rpc.wire_cron import CronRun


def run_rows(page: Page, runs: list[CronRun], *, header: Sequence[str]) -> str:
    """A line for each run of jobs, or of a watch."""
    if not runs:
        return "no runs yet\n"
    rows = [
        (
            str(each.run.id),
            one_line(each.job_name),
            ago(page.now, each.run.due_at),
            state(each.state),
            f"{each.ended_at - each.started_at:.1f} s" if each.ended_at and each.started_at else "–",
            f"{each.input_tokens}+{each.output_tokens}" if each.input_tokens or each.output_tokens else "–",
            one_line(", ".join(each.deliveries)) or "–",
            each.session_id or "–",
            one_line(each.error) or "–",
        )
        for each in runs
    ]
    return "\n".join(table(page, header, rows)) + "\n"
