"""``sessions list|show|search``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc.render.page import Painted
from hermesd.rpc.render.table import table
from hermesd.rpc.render.terminal import clean, one_line
from hermesd.rpc.render.units import ago

if TYPE_CHECKING:
    from hermesd.rpc.render.page import Page
    from hermesd.rpc.wire import SearchResult, SessionResult, SessionsResult
    from hermesd.store.records import SessionRow

ROLE_COLORS = {"user": "cyan", "assistant": "green"}


def render_list(page: Page, result: SessionsResult) -> str:
    """A line a session."""
    if not result.sessions:
        return "no sessions yet\n"
    rows = [
        (row.id, row.profile, row.source, ago(page.now, row.updated_at), str(row.messages), _title(row))
        for row in result.sessions
    ]
    return "\n".join(table(page, ("SESSION", "PROFILE", "SOURCE", "USED", "MESSAGES", "TITLE"), rows)) + "\n"


def _title(row: SessionRow) -> str:
    """Its title, else where it takes place: the key without the profile, which has a column."""
    return row.title or row.key.removeprefix(f"agent:{row.profile}:")


def render_one(page: Page, result: SessionResult) -> str:
    """A session's messages in order."""
    row = result.session
    head = f"{row.id}  {row.profile}  {row.source}  {ago(page.now, row.updated_at)}"
    lines = [page.paint(one_line(row.title), "bold")] if row.title else []
    lines.append(page.paint(one_line(head), "dim"))
    for message in result.messages:
        role = page.paint(one_line(message.role), ROLE_COLORS.get(message.role, "dim"))
        lines += ["", f"{role}  {page.paint(ago(page.now, message.created_at), 'dim')}", clean(message.text)]
    return "\n".join(lines) + "\n"


def render_hits(page: Page, result: SearchResult) -> str:
    """A line a hit, the found words marked where there is colour."""
    if not result.hits:
        return "nothing found\n"
    header = ("SESSION", "WHEN", "ROLE", "TEXT")
    rows = [
        (
            hit.session_id,
            ago(page.now, hit.created_at),
            Painted(hit.role, ROLE_COLORS.get(hit.role, "dim")),
            _plain(hit.snippet),
        )
        for hit in result.hits
    ]
    return "\n".join(table(page, header, rows)) + "\n"


def _plain(snippet: str) -> str:
    """A snippet with its marks as brackets, which survive cutting and files."""
    return snippet.replace("\x02", "[").replace("\x03", "]")
