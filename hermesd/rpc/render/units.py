"""Times and sizes as people say them."""

from __future__ import annotations

from datetime import UTC, datetime

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
OLD = 30 * DAY


def span(seconds: float) -> str:
    """A duration in its largest fitting unit: ``42 s``, ``3 min``, ``2 h``, ``5 days``."""
    whole = int(max(seconds, 0))
    if whole < 2 * MINUTE:
        return f"{whole} s"
    if whole < 2 * HOUR:
        return f"{whole // MINUTE} min"
    if whole < 2 * DAY:
        return f"{whole // HOUR} h"
    return f"{whole // DAY} days"


def ago(now: float, then: float) -> str:
    """When something was: ``3 min ago``, ``now``, ``in 4 s``; a date when long past; a dash for 0 (never)."""
    if not then:
        return "–"
    passed = now - then
    if passed > OLD:
        return datetime.fromtimestamp(then, UTC).strftime("%Y-%m-%d")
    if passed >= 1:
        return f"{span(passed)} ago"
    return f"in {span(-passed + 0.5)}" if passed <= -1 else "now"


def size(count: int) -> str:
    """Bytes as ``512 B``, ``21.4 MB`` (powers of 1000, as disks are sold)."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def counted(count: int, noun: str) -> str:
    """A number with its noun: ``1 profile``, ``2 profiles``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
