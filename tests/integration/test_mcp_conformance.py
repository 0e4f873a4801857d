"""A handful of the conformance suite's client scenarios, and how runs are judged; `make mcp-conformance` runs all."""

from __future__ import annotations

import sys

import pytest

from tests.conformance import suite
from tests.conformance.__main__ import CLIENT
from tests.conformance.install import NotInstalledError, installed
from tests.conformance.suite import Scenario

INITIALIZE = Scenario("client", "initialize", "2025-11-25", "required")


@pytest.fixture(autouse=True)
def _suite() -> None:
    try:
        installed()
    except NotInstalledError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("name", "version"), [("tools_call", "2025-11-25"), ("tools_call", "2026-07-28"), ("auth/basic-cimd", "2026-07-28")]
)
def test_hermesd_passes_a_scenario_of_the_suite(name: str, version: str) -> None:
    """A real daemon, configured and driven as a person would, satisfies the suite's checks."""
    outcome = suite.run(Scenario("client", name, version, "required"), CLIENT)
    assert outcome.passed, (outcome.problems, outcome.output)


def test_a_client_killed_by_a_signal_has_not_passed() -> None:
    """The suite takes it for a success when all checks were made before; its own summary says PASSED."""
    hello = '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
    hello += '"capabilities":{},"clientInfo":{"name":"n","version":"1"}}}'
    code = "import os,sys,urllib.request as r;"
    code += f"r.urlopen(r.Request(sys.argv[1],{hello.encode()!r},{{'content-type':'application/json'}}));"
    outcome = suite.run(INITIALIZE, (sys.executable, "-c", f"{code}os.kill(os.getpid(),9)"))
    assert outcome.succeeded
    assert not outcome.passed
    assert "SIGKILL" in outcome.problems[0]
    assert suite.run(INITIALIZE, (sys.executable, "-c", code)).passed


def test_a_client_that_does_nothing_has_not_passed() -> None:
    """No check made is no success, though the client's exit status is 0."""
    outcome = suite.run(INITIALIZE, (sys.executable, "-c", "pass"))
    assert not outcome.passed
    assert "no check succeeded" in outcome.problems


def test_what_each_revision_requires_is_read_from_the_suite() -> None:
    """18 and 32 client scenarios, 30 and 37 server scenarios, and every other one the suite lists."""
    counts = {
        (side, version): sum(each.is_required for each in suite.scenarios(side, version=version))
        for side in suite.SIDES
        for version in suite.REVISIONS
    }
    assert counts == {
        ("client", "2025-11-25"): 18,
        ("client", "2026-07-28"): 32,
        ("server", "2025-11-25"): 30,
        ("server", "2026-07-28"): 37,
    }
    assert len({each.name for each in suite.scenarios("client")}) == 48
