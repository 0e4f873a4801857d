"""``doctor``: findings, the bad ones with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc.render.page import STATE_COLORS
from hermesd.rpc.render.terminal import one_line
from hermesd.rpc.render.units import counted

if TYPE_CHECKING:
    from hermesd.rpc.render.page import Page
    from hermesd.rpc.wire import DoctorResult

MARKS = {"ok": "✓", "warning": "!", "problem": "✗"}


def render(page: Page, result: DoctorResult) -> str:
    """A line a check, and a closing count."""
    lines = []
    width = max((len(check.name) for check in result.checks), default=0)
    for check in result.checks:
        mark = page.paint(MARKS[check.verdict], STATE_COLORS[check.verdict])
        lines.append(f"{mark} {one_line(check.name):<{width}}  {page.fit(one_line(check.detail), width + 4)}")
        if check.next_step and check.verdict != "ok":
            lines.append(f"  {'':<{width}}  → {one_line(check.next_step)}")
    problems = sum(check.verdict == "problem" for check in result.checks)
    warnings = sum(check.verdict == "warning" for check in result.checks)
    lines.append(
        f"{counted(len(result.checks), 'check')}, {counted(problems, 'problem')}, {counted(warnings, 'warning')}"
    )
    return "\n".join(lines) + "\n"
