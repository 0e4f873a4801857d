"""``tree``: the supervision tree, a line a service."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hermesd.rpc.render.page import display_width, truncate
from hermesd.rpc.render.terminal import one_line
from hermesd.rpc.render.units import ago, counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermesd.rpc.render.page import Page
    from hermesd.rpc.wire import TreeResult
    from hermesd.supervision.service import ServiceStatus

STATE_WIDTH = 9
SINCE_WIDTH = 12
WIDEST_LABEL = 48


class _Row(NamedTuple):
    label: str
    rail: str
    service: ServiceStatus


def render(page: Page, result: TreeResult) -> str:
    """The tree with branches, then aligned: state, since, restarts, next try, detail; the last error below."""
    rows = list(_walk(result.root, "", "", ""))
    width = min(max(display_width(row.label) for row in rows), WIDEST_LABEL)
    return "".join(line + "\n" for row in rows for line in _lines(page, row, width))


def _walk(service: ServiceStatus, branch: str, rail: str, above: str) -> Iterator[_Row]:
    name = one_line(service.name)
    yield _Row(branch + name.removeprefix(above), rail, service)
    below = name + "/"
    for child in service.children:
        is_last = child is service.children[-1]
        yield from _walk(child, rail + ("└─ " if is_last else "├─ "), rail + ("   " if is_last else "│  "), below)


def _lines(page: Page, row: _Row, width: int) -> Iterator[str]:
    service = row.service
    label = truncate(row.label, width)
    label += " " * (width - display_width(label))
    words = [f"{ago(page.now, service.since):<{SINCE_WIDTH}}"]
    if service.restarts:
        words.append(counted(service.restarts, "restart"))
    if service.next_try_at:
        words.append(f"next try {ago(page.now, service.next_try_at)}")
    if service.detail:
        words.append(one_line(service.detail))
    text = "  ".join(words)
    yield f"{label}  {page.state(service.state, STATE_WIDTH)}{page.fit(text, width + 2 + STATE_WIDTH)}".rstrip()
    if service.last_error and service.state != "ready":
        lead = row.rail + ("│  " if service.children else "   ")
        yield lead + page.paint(page.fit(one_line(service.last_error), len(lead)), "red")
