"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.servers.bytecode import keep_bytecode
from tests.servers.daemon import Daemon

LONGEST = ("test_kill.py", "test_first_run.py", "test_packaging.py")  # half a minute a test


def pytest_configure(config: pytest.Config) -> None:
    """Before the workers of pytest-xdist start: they inherit the environment."""
    config.add_cleanup(keep_bytecode())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests first, so that in the end no worker is alone with one of them."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Lone surrogates, which some tests log on purpose, cannot be sent from one test process to another."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture
def daemon(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """A hermesd that the test configures and starts itself; gone afterwards however the test ends."""
    marked = request.node.get_closest_marker("loaded")
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    found = Daemon(home, loaded=marked.args[0] if marked else ())
    yield found
    found.kill()
