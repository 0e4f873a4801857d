"""``status``: who runs, what waits, what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc.render import profiles
from hermesd.rpc.render.page import STATE_COLORS
from hermesd.rpc.render.terminal import one_line
from hermesd.rpc.render.units import counted, size, span

if TYPE_CHECKING:
    from hermesd.rpc.render.page import Page
    from hermesd.rpc.wire import ProfileSummary, StatusResult

PROFILES_SHOWN = 10
PROBLEMS_SHOWN = 10
LABEL_WIDTH = 10


def render(page: Page, result: StatusResult) -> str:
    """The whole text. Long lists are cut: this is the glance, and it costs the same for a thousand services."""
    uptime = span(page.now - result.started_at)
    first = f"{page.paint('hermesd', 'bold')} {result.version}"
    lines = [
        f"{first}  pid {result.pid}  up {uptime}  {size(result.rss_bytes)}",
        _entry(page, "home", page.fit(one_line(result.home), LABEL_WIDTH)),
        _entry(page, "services", _counts(page, result.services)),
        _entry(page, "turns", f"{result.turns_running} running"),
        _entry(page, "inbox", _counts(page, result.inbox)),
        _entry(page, "outbox", _counts(page, result.outbox)),
        "",
        *profiles.lines(page, sorted(result.profiles, key=_attention)[:PROFILES_SHOWN]),
    ]
    if len(result.profiles) > PROFILES_SHOWN:
        more = counted(len(result.profiles) - PROFILES_SHOWN, "more profile")
        lines.append(page.paint(f"… {more}: hermesctl profile list", "dim"))
    if result.problems:
        lines += ["", page.paint(counted(len(result.problems), "problem"), "red")]
        lines += [f"  {page.fit(one_line(problem), 2)}" for problem in result.problems[:PROBLEMS_SHOWN]]
    if len(result.problems) > PROBLEMS_SHOWN:
        lines.append(page.paint(f"  … {len(result.problems) - PROBLEMS_SHOWN} more: hermesctl doctor", "dim"))
    return "\n".join(lines) + "\n"


def _entry(page: Page, label: str, text: str) -> str:
    return page.paint(f"{label:<{LABEL_WIDTH}}", "dim") + text


def _counts(page: Page, counts: dict[str, int]) -> str:
    shown = [page.paint(f"{count} {name}", STATE_COLORS.get(name, "")) for name, count in counts.items() if count]
    return ", ".join(shown) or "none"


def _attention(profile: ProfileSummary) -> tuple[bool, bool, bool]:
    """Sort key: broken ones first, then the current one, then those that run."""
    healthy = not profile.error and profile.state not in ("failed", "startup_failed", "degraded")
    return healthy, not profile.current, profile.state != "running"
