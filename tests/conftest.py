"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.daemon import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A hermesd that the test configures and starts itself; gone afterwards however the test ends."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    found = Daemon(home)
    yield found
    found.kill()
