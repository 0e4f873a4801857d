"""What an activation did or would do, for people and as JSON."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hermesd.activation.additions import Addition
    from hermesd.activation.run import Report
    from hermesd.activation.steps import Step

_COLOURS = {"+": "32", "~": "33", "-": "31"}
_KINDS = {"make": "+", "keep": "+", "link": "+", "build": "+", "remove": "-"}


def as_json(report: Report, *, dry_run: bool) -> dict[str, Any]:
    """``changed`` is whether there was, or is, anything to do."""
    return {
        "changed": bool(report.changes),
        "dry_run": dry_run,
        "actions": [_action(step) for step in report.changes],
        "notices": report.notices,
    }


def as_text(report: Report, *, dry_run: bool, color: bool) -> str:
    """A line for each step, with what of it changes below."""
    if not report.changes:
        return "nothing to do: everything is as declared"
    lines = []
    for step in report.changes:
        mark = _KINDS.get(step.action) or ("+" if step.before is None else "~")
        lines.append(_painted(f"{mark} {step.action} {step.path}", mark, color))
        lines += [_painted(f"    {each.mark} {each.text}", each.mark, color) for each in step.details]
    count = f"{len(report.changes)} change{'' if len(report.changes) == 1 else 's'}"
    return "\n".join([*lines, f"{count} to make; nothing was changed" if dry_run else f"{count} made"])


def print_notices(report: Report) -> None:
    """On standard error."""
    for notice in report.notices:
        print(f"notice: {notice}", file=sys.stderr)


def _action(step: Step | Addition) -> dict[str, Any]:
    found: dict[str, Any] = {"action": step.action, "path": step.path}
    if step.data is not None:
        found["mode"] = f"{step.mode:04o}"
    if step.details:
        found["changes"] = [f"{each.mark} {each.text}" for each in step.details]
    return found


def _painted(line: str, mark: str, color: bool) -> str:
    return f"\x1b[{_COLOURS[mark]}m{line}\x1b[0m" if color and mark in _COLOURS else line
