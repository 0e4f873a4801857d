"""What a release would do with a state file, found out without changing it.

What migrations promise stands in ``schema``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import apsw

from hermesd.errors import StoreError
from hermesd.store.sqlite.connection import open_reader, refusal
from hermesd.store.sqlite.file import find
from hermesd.store.sqlite.schema import MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hermesd.store.sqlite.schema import Migration

Verdict = Literal["missing", "same", "migrates", "newer", "refused"]


class UpgradePlan(NamedTuple):
    """A state file beside a release.

    ``found`` is the file's schema version (0: there is no file), ``known`` the newest that the release knows.
    ``can_go_back``: afterwards the release that wrote the file can still read it.
    """

    path: Path
    found: int
    known: int
    verdict: Verdict
    can_go_back: bool


def plan_upgrade(path: Path, migrations: Sequence[Migration] = MIGRATIONS) -> UpgradePlan:
    """What opening the store in ``path`` would mean. Raises StoreError when it cannot be read."""
    known = migrations[-1].version
    try:
        chosen, is_there = find(path)
        if not is_there:
            return UpgradePlan(chosen, 0, known, "missing", can_go_back=True)
        found, oldest_reader = _read(chosen)
    except OSError as error:
        raise StoreError(
            f"the state file cannot be read: {error.strerror}",
            where=str(error.filename or path),
            next_step="run this as the user whose home it is",
        ) from error
    if found == known:
        return UpgradePlan(chosen, found, known, "same", can_go_back=True)
    if found > known:
        verdict: Verdict = "newer" if oldest_reader <= known else "refused"
        return UpgradePlan(chosen, found, known, verdict, can_go_back=True)
    needed = max(migration.oldest_reader for migration in migrations if migration.version > found)
    return UpgradePlan(chosen, found, known, "migrates", can_go_back=needed <= found)


def _read(path: Path) -> tuple[int, int]:
    """Schema version and the lowest that may still read the file."""
    try:
        db = open_reader(path)
        try:
            return int(db.pragma("user_version")), int(db.execute("SELECT oldest_reader FROM compatibility").get)
        finally:
            db.close()
    except apsw.Error as error:
        raise refusal(error, path) from error
