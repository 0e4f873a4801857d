"""A look into the store of another daemon, which may run or not: read-only, nothing is made or mended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

from hermesd.store.records import Backlog
from hermesd.store.sqlite import maintenance
from hermesd.store.sqlite.connection import open_reader, refusal
from hermesd.store.sqlite.file import find
from hermesd.store.sqlite.transaction import View

if TYPE_CHECKING:
    from pathlib import Path


def backlog_of(path: Path) -> Backlog:
    """What that daemon has yet to do, of all its profiles. ``path`` as for ``SqliteStore.open``. Blocking.

    Raises StoreError (the file cannot be read, or is none of a hermesd) and OSError.
    """
    chosen, is_there = find(path)
    if not is_there:
        return Backlog(messages=0, answers=0)
    try:
        db = open_reader(chosen)
        try:
            return maintenance.backlog(View(db), None)
        finally:
            db.close()
    except apsw.Error as error:
        raise refusal(error, chosen) from error
