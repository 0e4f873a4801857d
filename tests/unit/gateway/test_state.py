"""gateway_state.json and boot.log: read tolerantly, written in one step, never silently reset (case 27)."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermesd.errors import ConfigError
from hermesd.gateway.state import (
    MAX_BOOT_LOG_BYTES,
    MAX_STATE_BYTES,
    GatewayState,
    PlatformState,
    append_boot_log,
    read_state,
    write_state,
)
from hermesd.home import Home, Profile

HERMES_AGENT = {
    "pid": 4711,
    "kind": "hermes-gateway",
    "argv": ["hermes", "gateway", "run"],
    "start_time": 12345,
    "gateway_state": "running",
    "exit_reason": None,
    "restart_requested": False,
    "active_agents": 2,
    "platforms": {
        "telegram": {
            "state": "connected",
            "error_code": None,
            "error_message": None,
            "updated_at": "2026-01-01T00:00:00+00:00",
        }
    },
    "served_profiles": ["default"],
    "desired_state": "running",
    "updated_at": "2026-01-01T00:00:00+00:00",
}


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    root = tmp_path / "home"
    root.mkdir(mode=0o700)
    return Profile("default", root)


def put(profile: Profile, content: object) -> None:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    profile.gateway_state_path.write_bytes(data)


def test_no_file_means_stopped(profile: Profile) -> None:
    """And nothing to report."""
    assert read_state(profile) == GatewayState()


def test_the_file_of_hermes_agent_is_read(profile: Profile) -> None:
    """With its platforms."""
    put(profile, HERMES_AGENT)
    found = read_state(profile)
    assert (found.desired_state, found.gateway_state, found.pid, found.problem) == ("running", "running", 4711, "")
    assert found.platforms["telegram"].state == "connected"


@pytest.mark.parametrize(
    ("ran", "desired"),
    [
        ("running", "running"),
        ("draining", "running"),
        ("degraded", "running"),
        ("starting", "stopped"),
        ("stopped", "stopped"),
        ("startup_failed", "stopped"),
        ("of another version", "stopped"),
    ],
)
def test_without_a_desired_state_what_ran_counts(profile: Profile, ran: str, desired: str) -> None:
    """As an older hermes-agent wrote it: draining and degraded were running."""
    put(profile, {"gateway_state": ran})
    assert (read_state(profile).desired_state, read_state(profile).problem) == (desired, "")
    put(profile, {"gateway_state": ran, "desired_state": "stopped"})
    assert read_state(profile).desired_state == "stopped"


def test_what_is_written_is_read_back(profile: Profile) -> None:
    """0600, with the time, and with the keys of hermes-agent that are not ours."""
    put(profile, HERMES_AGENT)
    state = GatewayState(
        desired_state="running",
        gateway_state="degraded",
        exit_reason="why",
        platforms={"webhook": PlatformState(state="failed", error_message="ü")},
        pid=1,
    )
    write_state(profile, state)
    found = read_state(profile)
    assert found == GatewayState(
        **{**{name: getattr(state, name) for name in state.__struct_fields__}, "updated_at": found.updated_at}
    )
    assert found.updated_at > "2026-01-01"
    assert stat.S_IMODE(profile.gateway_state_path.stat().st_mode) == 0o600
    raw = json.loads(profile.gateway_state_path.read_bytes())
    assert (raw["kind"], raw["served_profiles"]) == ("hermes-gateway", ["default"])
    assert "problem" not in raw


def test_a_truncated_file_is_quarantined_at_every_length(profile: Profile) -> None:
    """It starts, reports and keeps the bytes; nothing is started on account of half a file."""
    whole = json.dumps(HERMES_AGENT).encode()
    for length in range(0, len(whole), 7):
        put(profile, whole[:length])
        found = read_state(profile)
        assert found.desired_state == "stopped"
        assert ".corrupt-" in found.problem
        kept = profile.root / found.problem.partition("kept as ")[2].partition(",")[0]
        assert kept.read_bytes() == whole[:length]
        assert not profile.gateway_state_path.exists()
        assert read_state(profile) == GatewayState()
        kept.unlink()


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"desired_state": "runnin"}',
        b'{"desired_state": 1}',
        b'{"desired_state": ["running"]}',
        b'{"gateway_state": {}, "desired_state": {}}',
        b"[" * 100_000,
        b'{"a":' * 30_000,
        b"\0" * 100,
    ],
)
def test_a_garbled_file_is_quarantined(profile: Profile, content: bytes) -> None:
    """Each copy under a name of its own."""
    for _ in range(3):
        put(profile, content)
        assert ".corrupt-" in read_state(profile).problem
    assert len(list(profile.root.glob("gateway_state.json.corrupt-*"))) == 3


def test_oddities_beside_the_states_are_passed_over(profile: Profile) -> None:
    """They are only shown to people."""
    put(
        profile,
        {"desired_state": "running", "gateway_state": 5, "pid": True, "platforms": [1], "exit_reason": {"a": 1}},
    )
    found = read_state(profile)
    assert (found.desired_state, found.gateway_state, found.pid, found.platforms) == ("running", "stopped", 0, {})
    put(profile, {"desired_state": "running", "platforms": {"a": 1, "b": {}, "c": {"state": 3}}})
    assert {name: row.state for name, row in read_state(profile).platforms.items()} == {"b": "unknown", "c": "3"}


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(st.text(max_size=8), below, max_size=3)),
    max_leaves=8,
)
STATES = st.fixed_dictionaries(
    {}, optional={name: st.one_of(JSON, st.just("running")) for name in (*GatewayState.__struct_fields__, "other")}
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(STATES.map(json.dumps), JSON.map(json.dumps), st.text(max_size=50)))
def test_any_file_is_a_state_or_is_kept_aside(profile: Profile, content: str) -> None:
    """And after writing it is a state again."""
    put(profile, content.encode("utf-8", "replace"))
    found = read_state(profile)
    assert profile.gateway_state_path.exists() == (not found.problem)
    write_state(profile, found, durable=False)
    assert read_state(profile).desired_state == found.desired_state
    for kept in profile.root.glob("*.corrupt-*"):
        kept.unlink()


def test_a_link_or_a_huge_file_is_refused_and_left(profile: Profile, tmp_path: Path) -> None:
    """Neither is ours, so neither is renamed or written."""
    victim = tmp_path / "victim"
    victim.write_text('{"desired_state": "running"}')
    profile.gateway_state_path.symlink_to(victim)
    with pytest.raises((OSError, ConfigError)):
        read_state(profile)
    with pytest.raises((OSError, ConfigError)):
        write_state(profile, GatewayState())
    assert victim.read_text() == '{"desired_state": "running"}'
    profile.gateway_state_path.unlink()
    put(profile, b" " * (MAX_STATE_BYTES + 1))
    with pytest.raises(ConfigError, match="larger"):
        read_state(profile)
    assert profile.gateway_state_path.exists()


# -- boot.log ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.create()
    return home


def test_a_line_is_one_line(home: Home) -> None:
    """With the time, 0600, and without line ends or terminal sequences of others."""
    append_boot_log(home, "started coder")
    append_boot_log(home, "name\r\n2026-01-01T00:00:00Z forged \x1b[31mred\u2028x")
    lines = (home.logs / "boot.log").read_text().splitlines()
    assert [line.partition(" ")[2] for line in lines] == [
        "started coder",
        "name  2026-01-01T00:00:00Z forged  [31mred x",
    ]
    assert stat.S_IMODE((home.logs / "boot.log").stat().st_mode) == 0o600


def test_the_log_rotates_once(home: Home) -> None:
    """At 256 KiB to .1, which replaces the one before."""
    log, old = home.logs / "boot.log", home.logs / "boot.log.1"
    old.write_text("of long ago")
    log.write_bytes(b"x" * (MAX_BOOT_LOG_BYTES - 10))
    append_boot_log(home, "next")
    assert old.stat().st_size == MAX_BOOT_LOG_BYTES - 10
    assert log.read_text().endswith(" next\n")
    append_boot_log(home, "y" * 100_000)
    assert log.stat().st_size < 5000


def test_links_and_pipes_at_the_log_are_refused(home: Home, tmp_path: Path) -> None:
    """Case 2: symbolic link, hard link, a pipe that would block, a directory that others may write."""
    log, victim = home.logs / "boot.log", tmp_path / "victim"
    victim.write_text("before")
    log.symlink_to(victim)
    with pytest.raises(ConfigError, match="symbolic link"):
        append_boot_log(home, "x")
    log.unlink()
    log.hardlink_to(victim)
    with pytest.raises(ConfigError, match="no file of our own"):
        append_boot_log(home, "x")
    log.unlink()
    os.mkfifo(log)
    with pytest.raises((OSError, ConfigError)):
        append_boot_log(home, "x")
    log.unlink()
    home.logs.chmod(0o777)
    with pytest.raises(ConfigError, match="others may write"):
        append_boot_log(home, "x")
    assert victim.read_text() == "before"
