"""What the statements of a concern run in: a view for reading, a transaction for changing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from hermesd.store.records import EventRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

Row = tuple[Any, ...]  # Any: SQLite's columns are dynamically typed; rows.py gives them their types
_encode = msgspec.json.Encoder().encode


def clean(value: object) -> object:
    """The value without lone surrogates (which UTF-8 cannot hold), also inside lists and mappings."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8") if not value.isascii() else value
    if isinstance(value, Mapping):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return msgspec.to_builtins(value) if isinstance(value, msgspec.Struct) else value


def to_json(value: object) -> str:
    """Compact JSON; lone surrogates become question marks."""
    try:
        return _encode(value).decode()
    except UnicodeEncodeError:
        return _encode(clean(clean(value))).decode()  # twice: a Struct becomes a dict, then its texts are cleaned


def filters(*, profile: str | None, states: Sequence[str]) -> tuple[str, list[str]]:
    """A WHERE clause for lists, and its values; no profile and no states mean all."""
    clauses: list[str] = []
    values: list[str] = []
    if states:
        clauses.append(f"state IN ({', '.join('?' * len(states))})")
        values.extend(states)
    if profile is not None:
        clauses.append("profile = ?")
        values.append(profile)
    return (f"WHERE {' AND '.join(clauses)}" if clauses else ""), values


class View:
    """Reads. Every cursor is exhausted before a method returns, so no snapshot is held."""

    __slots__ = ("_db",)

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def all(self, statement: str, *values: object) -> list[Row]:
        """Every row."""
        try:
            return self._db.execute(statement, values).fetchall()
        except UnicodeEncodeError:
            return self._db.execute(statement, clean(values)).fetchall()  # type: ignore[arg-type]  # checked by apsw

    def one(self, statement: str, *values: object) -> Row | None:
        """The first row, if there is one."""
        rows = self.all(statement, *values)
        return rows[0] if rows else None

    def value(self, statement: str, *values: object) -> Any:  # noqa: ANN401 - Any: as a column is
        """The first column of the first row, or None."""
        rows = self.all(statement, *values)
        return rows[0][0] if rows else None


class Transaction(View):
    """Changes, and the events that tell of them. ``now`` is the time (epoch seconds) of everything in it."""

    __slots__ = ("events", "now")

    def __init__(self, db: apsw.Connection) -> None:
        super().__init__(db)
        self.now = time.time()
        self.events: list[EventRow] = []

    def run(self, statement: str, *values: object) -> int:
        """Execute; returns how many rows changed."""
        self.all(statement, *values)
        return self._db.changes()

    def last_id(self) -> int:
        """The id of the row inserted last."""
        return self._db.last_insert_rowid()

    def event(self, kind: str, subject: str, profile: str, data: dict[str, object]) -> EventRow:
        """Append an event: committed with the change it tells of, then handed to subscribers."""
        text = to_json(data)
        if "?" in text:  # perhaps a surrogate: subscribers get what is stored
            data = msgspec.json.decode(text)
        self.all(
            "INSERT INTO events (at, kind, subject, profile, data) VALUES (?, ?, ?, ?, ?)",
            self.now,
            kind,
            subject,
            profile,
            text,
        )
        row = EventRow(id=self.last_id(), at=self.now, kind=kind, subject=subject, profile=profile, data=data)
        self.events.append(row)
        return row
