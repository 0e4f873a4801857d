"""``events``: state changes with their revisions. ``line`` takes plain values: hermesctl uses it when following."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from hermesd.rpc.render.terminal import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.rpc.render.page import Page
    from hermesd.store.records import EventPage


def render(page: Page, result: EventPage) -> str:
    """A line an event."""
    lines = []
    if result.truncated:
        lines.append(page.paint(f"older events than revision {result.oldest_id} have been removed", "yellow"))
    lines += [
        line(page, id=row.id, at=row.at, kind=row.kind, subject=row.subject, profile=row.profile, data=row.data)
        for row in result.events
    ]
    return "\n".join(lines or ["no events"]) + "\n"


def line(
    page: Page,
    *,
    id: int,  # noqa: A002 - the record's own field name
    at: float,
    kind: str,
    subject: str,
    profile: str = "",
    data: Mapping[str, object] | None = None,
) -> str:
    """One event: revision, local time, kind, subject, and its data as ``name=value``."""
    when = datetime.fromtimestamp(at).astimezone().strftime("%m-%d %H:%M:%S")
    head = f"{id:>6}  {when}  "
    words = [one_line(subject)]
    words += [f"({one_line(profile)})"] if profile else []
    words += [
        f"{one_line(name)}={one_line(str(value))}"
        for name, value in (data or {}).items()
        if value not in ("", None, profile) and str(value) != subject
    ]
    name = f"{one_line(kind):<18} "
    return page.paint(head, "dim") + page.paint(name, "cyan") + page.fit(" ".join(words), len(head) + len(name))
