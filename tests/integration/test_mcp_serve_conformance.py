"""A handful of the conformance suite's server scenarios against the endpoint; `make mcp-conformance` runs all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance import suite
from tests.conformance.install import NotInstalledError, installed
from tests.conformance.server import serving
from tests.conformance.suite import Scenario


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a real daemon's endpoint."""
    try:
        installed()
    except NotInstalledError as error:
        pytest.skip(str(error))
    with serving() as address:
        yield address


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("server-initialize", "2025-11-25"),
        ("tools-call-elicitation", "2025-11-25"),
        ("dns-rebinding-protection", "2025-11-25"),
        ("server-stateless", "2026-07-28"),
        ("input-required-result-multi-round", "2026-07-28"),
    ],
)
def test_the_endpoint_passes_a_scenario_of_the_suite(url: str, name: str, version: str) -> None:
    """The SDK's protocol, our guard and our listener together satisfy the suite's checks."""
    outcome = suite.run(Scenario("server", name, version, "required"), url)
    assert outcome.passed, (outcome.problems, outcome.output)
