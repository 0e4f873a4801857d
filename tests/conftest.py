"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.servers.bytecode import keep_bytecode
from tests.servers.daemon import Daemon


def pytest_configure(config: pytest.Config) -> None:
    """Before the workers of pytest-xdist start: they inherit the environment."""
    config.add_cleanup(keep_bytecode())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Lone surrogates, which some tests log on purpose, cannot be sent from one test process to another."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A hermesd that the test configures and starts itself; gone afterwards however the test ends."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    found = Daemon(home)
    yield found
    found.kill()
