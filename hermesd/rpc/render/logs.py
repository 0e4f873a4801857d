"""``logs``: the daemon's JSON lines for people. ``line`` takes one as it stands; hermesctl uses it when following."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

from hermesd.rpc.render.terminal import clean, one_line

if TYPE_CHECKING:
    from hermesd.rpc.render.page import Page
    from hermesd.rpc.wire import LogsResult

LEVEL_COLORS = {"debug": "dim", "info": "", "warning": "yellow", "error": "red", "critical": "red"}
TIME, LEVEL, TEXT = ("at", "ts", "time", "timestamp"), ("level",), ("event", "message", "msg")


def render(page: Page, result: LogsResult) -> str:
    """A line an entry."""
    return "".join(line(page, text) + "\n" for text in result.lines) or "the log is empty\n"


def line(page: Page, text: str, *, untimed: str = "– ") -> str:
    """``12:00:01 warning what happened key=value``; a line that is not a JSON object is shown as it is, made safe.

    ``untimed`` stands where a line has no time: journald adds its own.
    """
    try:
        entry = json.loads(text)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        return clean(text).rstrip("\n")
    at = _take(entry, TIME)
    when = untimed if at is None else f"{_time(at)} "
    level = one_line(str(_take(entry, LEVEL) or "info")).lower()
    what = clean(str(_take(entry, TEXT) or ""))
    rest = " ".join(
        f"{one_line(str(name))}={one_line(str(value))}" for name, value in entry.items() if _tells(name, value, what)
    )
    level_shown = page.paint(f"{level:<7}", LEVEL_COLORS.get(level, ""))
    return f"{page.paint(when, 'dim')}{level_shown} {what}{page.paint(' ' + rest, 'dim') if rest else ''}".rstrip()


def _tells(name: str, value: object, what: str) -> bool:
    """Whether a field says more than the message: no module, no traceback (both are in ``--json``), no repetition."""
    if name == "logger" or (name == "error" and "Traceback" in str(value)):
        return False
    return name != "service" or str(value) not in what


def _take(entry: dict[str, object], names: tuple[str, ...]) -> object:
    for name in names:
        if name in entry:
            return entry.pop(name)
    return None


def _time(value: object) -> str:
    """Local time of epoch seconds or an ISO 8601 text; anything else as it is."""
    try:
        when = datetime.fromisoformat(value) if isinstance(value, str) else datetime.fromtimestamp(float(str(value)))
        return when.astimezone().strftime("%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return one_line(str(value or "–"))
