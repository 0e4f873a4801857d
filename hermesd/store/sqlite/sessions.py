"""Sessions: the conversation a key is bound to, and its messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.errors import ConflictError, NotFoundError
from hermesd.store.sqlite.ids import new_id
from hermesd.store.sqlite.rows import MESSAGE_COLUMNS, SESSION_COLUMNS, cut_body, message_row, session_row
from hermesd.store.sqlite.transaction import clean, filters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.store.records import MessageRow, NewMessage, SessionRow, TurnRow
    from hermesd.store.sqlite.transaction import Transaction, View


def bound(view: View, profile: str, key: str) -> SessionRow | None:
    """The session the key is bound to."""
    row = view.one(
        f"SELECT {SESSION_COLUMNS} FROM sessions WHERE id = "  # noqa: S608 - constant
        "(SELECT session_id FROM session_keys WHERE profile = ? AND key = ?)",
        profile,
        key,
    )
    return session_row(row) if row else None


def open_or_create(tx: Transaction, profile: str, key: str, source: str) -> SessionRow:
    """The session the key is bound to, made when there is none."""
    return bound(tx, profile, key) or create(tx, profile, key, source)


def create(tx: Transaction, profile: str, key: str, source: str) -> SessionRow:
    """Bind the key to a fresh session."""
    session_id = new_id("s")
    tx.run(
        "INSERT INTO sessions (id, profile, key, source, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
        session_id,
        profile,
        key,
        source,
        tx.now,
        tx.now,
    )
    tx.run(
        "INSERT INTO session_keys (profile, key, session_id) VALUES (?, ?, ?) "
        "ON CONFLICT (profile, key) DO UPDATE SET session_id = excluded.session_id",
        profile,
        key,
        session_id,
    )
    tx.event("session.created", session_id, profile, {"id": session_id, "key": key, "source": source})
    return get(tx, session_id)


def append(tx: Transaction, turn: TurnRow, new: Sequence[NewMessage]) -> None:
    """A turn's messages, in order."""
    if not new:
        return
    for message in new:
        text = str(clean(message.text))
        body, cut = cut_body(str(clean(message.body)), text)
        tx.run(
            "INSERT INTO messages (session_id, turn_id, role, text, body, body_cut, created_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            turn.session_id,
            turn.id,
            message.role,
            text,
            body,
            cut,
            tx.now,
        )
    tx.run(
        "UPDATE sessions SET messages = messages + ?, updated_at = ? WHERE id = ?", len(new), tx.now, turn.session_id
    )


def get(view: View, session_id: str) -> SessionRow:
    """By its whole id; raises NotFoundError."""
    row = view.one(f"SELECT {SESSION_COLUMNS} FROM sessions WHERE id = ?", session_id)  # noqa: S608 - constant
    if row is None:
        raise _missing(session_id)
    return session_row(row)


def find(view: View, prefix: str, profile: str | None) -> SessionRow:
    """By id or unique prefix of one; raises NotFoundError, ConflictError (ambiguous)."""
    rows = view.all(
        f"SELECT {SESSION_COLUMNS} FROM sessions WHERE id >= ?1 AND id < ?2 "  # noqa: S608 - constant
        "AND (?3 IS NULL OR profile = ?3) ORDER BY id LIMIT 2",
        prefix,
        f"{prefix}\U0010ffff",
        profile,
    )
    if not rows or not prefix:
        raise _missing(prefix)
    if len(rows) > 1 and rows[0][0] != prefix:
        raise ConflictError(f"several sessions begin with {prefix[:80]!r}", next_step="give more of the id")
    return session_row(rows[0])


def _missing(session_id: str) -> NotFoundError:
    return NotFoundError(f"no session {session_id[:80]!r}", next_step="see `hermesctl sessions list`")


def listing(view: View, profile: str | None, limit: int) -> list[SessionRow]:
    """Most recently used first."""
    where, values = filters(profile=profile, states=())
    rows = view.all(
        f"SELECT {SESSION_COLUMNS} FROM sessions {where} ORDER BY updated_at DESC LIMIT ?",  # noqa: S608 - constant
        *values,
        limit,
    )
    return [session_row(row) for row in rows]


def messages(view: View, session_id: str, limit: int) -> list[MessageRow]:
    """The newest ``limit`` messages, in order."""
    rows = view.all(
        f"SELECT {MESSAGE_COLUMNS} FROM messages WHERE session_id = ? ORDER BY id DESC LIMIT ?",  # noqa: S608 - constant
        session_id,
        limit,
    )
    return [message_row(row) for row in reversed(rows)]


def set_title(tx: Transaction, session_id: str, title: str) -> None:
    """Name a session; raises NotFoundError."""
    profile = get(tx, session_id).profile
    tx.run("UPDATE sessions SET title = ? WHERE id = ?", title, session_id)
    tx.event("session.titled", session_id, profile, {"id": session_id, "title": title})
