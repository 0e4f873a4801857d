"""What of the MCP SDK a client loads, each in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOADED = """
import functools, sys, trio
from hermesd.mcp import sdk
trio.run(functools.partial(sdk.load, http=True))
assert sdk.is_loaded()
"""


def run_python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", LOADED + program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_client_does_not_load_the_half_for_servers() -> None:
    """It costs as much memory as a daemon without any server, nearly, and a fifth of the time."""
    loaded = run_python("print(*(name for name in sys.modules if name.startswith('mcp')))").split()
    assert "mcp.client.session" in loaded
    assert "mcp.client.streamable_http" in loaded
    assert [name for name in loaded if name.startswith("mcp.server")] == []


def test_what_a_session_needs_of_ours_is_loaded_with_it() -> None:
    """Imported at its first use it would hold up the loop for a tenth of a second."""
    loaded = run_python("print(*(name for name in sys.modules if name.startswith('hermesd.mcp')))").split()
    assert {"hermesd.mcp.stdio", "hermesd.mcp.callbacks", "hermesd.mcp.client_session"} <= set(loaded)


@pytest.mark.parametrize(
    "use",
    [
        "import mcp; Session = mcp.ClientSession",
        "from mcp import ClientSession as Session",
        "from mcp.client import ClientSession as Session",
        "import mcp.client.session; Session = mcp.client.session.ClientSession",
        "from mcp.client import session; Session = session.ClientSession",
        "from mcp import *; Session = ClientSession",
    ],
)
def test_the_sdk_is_whole_for_whoever_uses_it_otherwise(use: str) -> None:
    """A plugin, say: the same classes, and all names."""
    found = run_python(
        f"{use}\nfrom mcp.client.session import ClientSession as Ours\nassert Session is Ours\n"
        "import mcp\nfrom mcp.server import Server\nprint(mcp.server.Server is Server, mcp.types.Tool.__name__)"
    )
    assert found.split() == ["True", "Tool"]


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """As of every module, before its own file has run and after."""
    found = run_python(
        "import mcp\n"
        "print(hasattr(mcp, '__wrapped__'), 'mcp.server' in sys.modules)\n"
        "print(hasattr(mcp, 'nonsense'), hasattr(mcp, 'nonsense'))"
    )
    assert found.split() == ["False", "False", "False", "False"]


def test_a_call_that_is_answered_by_a_question_does_not_load_it_either() -> None:
    """Nor stands the loop still for it: the whole package would be run for one name."""
    found = run_python(
        "from hermesd.mcp import rounds\nrounds._context(None, 1)\n"
        "print([name for name in sys.modules if name.startswith('mcp.server')])"
    )
    assert found.split() == ["[]"]
