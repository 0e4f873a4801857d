"""One Docker Engine for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import image as images
from tests.servers.dockerd import IMAGE, Engine, engine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the Engine is run by `make containers` only."""
    for item in items:
        if "docker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.containers)


@pytest.fixture(scope="session")
def docker() -> Iterator[Engine]:
    """Started with the first test that needs it; ``base:1`` and ``base:2`` are names of its only image."""
    with engine() as found:
        found.run("tag", IMAGE, "base:1")
        found.run("tag", IMAGE, "base:2")
        yield found


@pytest.fixture(scope="session")
def image(docker: Engine) -> str:
    """hermesd's own image, built once."""
    return images.build(docker)
