"""A plan as people read it: ``+`` is made, ``~`` changed, ``-`` removed, ``!`` changed on both sides."""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]  # of rpc.wire_routines, as plain data

_MARKS = {"create": "+", "update": "~", "delete": "-", "keep": " ", "forget": " "}
_COLOURS = {"+": "32", "~": "33", "-": "31", "!": "1;31"}
MAX_VALUE = 300


def render(plan: Json, *, color: bool, verbose: bool) -> str:
    """The whole plan, its last line a summary."""
    lines: list[str] = []
    for change in plan["changes"]:
        lines += _change(change, color=color)
    unmanaged = plan.get("unmanaged", [])
    if verbose and unmanaged:
        lines += ["not managed by any file:", *(f"    {_clean(name)}" for name in unmanaged)]
    return "\n".join([*lines, _summary(plan)])


def _summary(plan: Json) -> str:
    if not plan["pending"]:
        return "nothing to do: everything is as the file says"
    actions = [change["action"] for change in plan["changes"]]
    counted = (f"{actions.count(action)} to {action}" for action in ("create", "update", "delete"))
    text = ", ".join(each for each in counted if not each.startswith("0 "))
    if count := plan["conflicts"]:
        text += f"; {count} in conflict: changed by hand and in the file (--force-conflicts takes the file's)"
    return text


def _change(change: Json, *, color: bool) -> list[str]:
    mark = "!" if change.get("conflict") else _MARKS[change["action"]]
    place = "" if change["section"] == "profiles" else f"  (profile {change['profile']})"
    text = change.get("note", "")
    if (change["section"], change["action"]) == ("profiles", "delete"):
        text = "with its files, sessions and everything else it holds"
    note = f"  # {text}" if text else ""
    head = f"{mark} {change['kind']} {_clean(change['name'])}{place}{note}"
    return [_painted(head, mark, color), *(line for field in change.get("fields", []) for line in _field(field, color))]


def _field(field: Json, color: bool) -> list[str]:
    before, after = field.get("before"), field.get("after")
    mark = "!" if field.get("conflict") else "+" if before is None else "-" if after is None else "~"
    shown = " → ".join(_shown(value) for value in (before, after) if value is not None)
    note = "  # changed by hand" if field.get("by_hand") and before is not None else ""
    return [_painted(f"    {mark} {_clean(field['name'])}: {shown}{note}", mark, color)]


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return _clean(text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}… ({len(text)} characters)")


def _clean(text: str) -> str:
    """Without control characters, and on one line: names and values may be of anybody's making."""
    return "".join(char if char.isprintable() else "�" for char in text)


def _painted(line: str, mark: str, color: bool) -> str:
    return f"\x1b[{_COLOURS[mark]}m{line}\x1b[0m" if color and mark in _COLOURS else line
