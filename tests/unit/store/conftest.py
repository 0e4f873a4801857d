"""A store on a real file, running as a service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from hermesd.store.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "state.db"


@pytest.fixture
async def store(path: Path, nursery: trio.Nursery) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore.open(path)
    await nursery.start(lambda task_status: opened.run(task_status=task_status))
    yield opened
    opened.close()
