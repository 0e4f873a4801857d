"""``-p NAME`` finds the daemon of a profile that has one of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermesctl import fast
from hermesctl.context import Context
from hermesd.config.managed import manager_of
from hermesd.home import Home
from hermesd.mcp.typed import mcp_command


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """coder has a socket of its own, writer has none."""
    for name in ("coder", "writer"):
        (tmp_path / "profiles" / name).mkdir(parents=True)
    (tmp_path / "profiles/coder/hermesd.sock").touch()
    return Home(tmp_path)


@pytest.mark.parametrize(
    ("argv", "kept"),
    [
        (["-p", "coder", "sessions", "list"], ["sessions", "list"]),
        (["sessions", "list", "--profile", "coder", "-n", "3"], ["sessions", "list", "-n", "3"]),
        (["--profile=coder", "chat", "-q", "hello"], ["chat", "-q", "hello"]),
        (["-pcoder", "tree", "--", "-p", "x"], ["tree", "--", "-p", "x"]),
    ],
)
def test_a_call_for_such_a_profile_goes_to_its_home_as_a_call_for_default(
    home: Home, argv: list[str], kept: list[str]
) -> None:
    """Its daemon knows no other name for it."""
    found = Context(argv, "coder", json=True, home=home).at_its_own_daemon("sessions")
    assert (found.home.root, found.profile, found.argv, found.json) == (home.root / "profiles/coder", "", kept, True)
    assert found.home.socket_path == home.root / "profiles/coder/hermesd.sock"


@pytest.mark.parametrize(
    ("profile", "verb"), [("writer", "sessions"), ("", "sessions"), ("coder", "gateway"), ("../x", "chat")]
)
def test_every_other_call_stays_where_it_was(home: Home, profile: str, verb: str) -> None:
    """Profiles without a daemon of their own, and verbs for the one that owns the home."""
    context = Context(["-p", profile, verb], profile, home=home)
    assert context.at_its_own_daemon(verb) is context


def test_the_fast_path_leaves_such_a_call_to_the_parser(home: Home) -> None:
    """It knows one socket only."""
    path = str(home.root / "hermesd.sock")
    assert fast._is_apart(path, ["-p", "coder", "status"])
    assert fast._is_apart(path, ["status", "--profile=coder"])
    assert not fast._is_apart(path, ["status", "-p", "writer"])
    assert not fast._is_apart(path, ["status"])


def test_what_manages_a_home_manages_its_profiles_that_are_homes(home: Home) -> None:
    """``.managed`` lies in the home alone."""
    own = Home(home.root / "profiles" / "coder")
    assert manager_of(own, {}) is None
    (home.root / ".managed").write_text("nixos\n")
    found = manager_of(own, {})
    assert found is not None
    assert found.name == "NixOS"


def test_a_profile_that_is_a_home_is_told_by_the_name_that_the_home_around_knows_it_by(home: Home) -> None:
    """Its own daemon calls it default; that name leads a person to another one. Other homes' default is just that."""
    own = Home(home.root / "profiles" / "coder")
    assert own.default_profile.told_name == "default"  # nothing says that what is around is a home
    (home.root / "state.db").touch()
    assert own.default_profile.told_name == "coder"
    assert home.default_profile.told_name == "default"
    assert home.profile("coder").told_name == "coder"
    assert mcp_command(own.default_profile.told_name, "login", "x") == "hermesctl -p coder mcp login x"
    assert mcp_command(home.default_profile.told_name, "login", "x") == "hermesctl mcp login x"


@pytest.mark.parametrize("verb", ["mcp", "config"])
def test_what_is_told_works_where_that_home_is_the_callers_too(home: Home, verb: str) -> None:
    """``HERMES_HOME=…/profiles/coder hermesctl -p coder`` means that home, not a profile of its own."""
    (home.root / "state.db").touch()
    own = Home(home.root / "profiles" / "coder")
    found = Context(["-p", "coder", verb], "coder", home=own).at_its_own_daemon(verb)
    assert (found.home, found.profile, found.argv) == (own, "", [verb])
    other = Context(["-p", "writer", verb], "writer", home=own)
    assert other.at_its_own_daemon(verb) is other
