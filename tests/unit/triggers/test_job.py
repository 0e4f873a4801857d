"""What is due of a job: missed occurrences, repeats, expiry, jitter."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.triggers.job import Due, JobSpec, decode, due, encode, jitter
from hermesd.triggers.schedule import Schedule, parse

START = 1_800_000_000.0
HOUR = 3600.0


def spec(**fields: object) -> JobSpec:
    schedule = parse("every 1h", zone_name="UTC", now=START)
    return msgspec.structs.replace(JobSpec(schedule=schedule), **fields)


def at(given: JobSpec, now: float, *, due_at: float = START + HOUR, fired: int = 0) -> Due:
    return due(given, "j", due_at=due_at, fired=fired, now=now)


def test_on_time_it_runs_and_moves_on() -> None:
    """The next instant is an hour later."""
    assert at(spec(), START + HOUR + 0.01) == Due((START + HOUR,), (), START + 2 * HOUR, START + 2 * HOUR)


@pytest.mark.parametrize(
    ("fields", "run", "skipped"),
    [
        ({"misfire": "skip"}, [], [24]),
        ({"misfire": "run_once"}, [24], []),
        ({"misfire": "run_all", "catch_up": 3}, [22, 23, 24], []),
        ({"misfire": "run_all", "catch_up": 3, "repeat": 2}, [22, 23], []),
    ],
)
def test_after_a_day_away_the_misfire_policy_decides(
    fields: dict[str, object], run: list[int], skipped: list[int]
) -> None:
    """24 occurrences were missed; the next one is in the future."""
    found = at(spec(**fields), START + 24.5 * HOUR)
    assert [(each - START) / HOUR for each in found.run] == run
    assert [(each - START) / HOUR for each in found.skipped] == skipped
    assert found.due_at == (0.0 if fields.get("repeat") else START + 25 * HOUR)


def test_a_missed_one_is_not_made_up_for_when_one_is_on_time() -> None:
    """run_once means one run, not one more."""
    found = at(spec(catch_up=5), START + 5 * HOUR + 1)
    assert found.run == (START + 5 * HOUR,)
    assert found.skipped == (START + 4 * HOUR,)


def test_it_ends_with_its_last_repeat_or_its_expiry() -> None:
    """Then there is no next instant."""
    assert at(spec(repeat=3), START + HOUR, fired=2) == Due((START + HOUR,), (), 0.0, 0.0)
    assert at(spec(expires_at=START + 1.5 * HOUR), START + HOUR) == Due((START + HOUR,), (), 0.0, 0.0)
    assert at(spec(expires_at=START + 0.5 * HOUR), START + HOUR).run == ()


def test_a_single_instant_runs_once_also_when_it_was_missed() -> None:
    """A reminder of yesterday is still said."""
    once = Schedule(kind="once", text="", zone="UTC", at=START + HOUR)
    assert at(spec(schedule=once), START + 30 * HOUR) == Due((START + HOUR,), (), 0.0, 0.0)


def test_years_away_are_not_gone_through_one_by_one() -> None:
    """Ten years of every ten seconds: the last occurrence, at once."""
    often = parse("every 10s", zone_name="UTC", now=START)
    now = START + 10 * 365 * 86400 + 5
    found = at(spec(schedule=often, misfire="run_all", catch_up=2, grace_s=0), now, due_at=START + 10)
    assert found.run == (now - 15, now - 5)


@given(st.floats(0, 3600), st.text(max_size=8), st.floats(0, 4e9))
def test_jitter_is_within_its_bound_and_always_the_same(bound: float, job_id: str, instant: float) -> None:
    """By job and occurrence."""
    wanted = spec(jitter_s=bound)
    assert 0 <= jitter(wanted, job_id, instant) <= bound
    assert jitter(wanted, job_id, instant) == jitter(wanted, job_id, instant)


def test_a_spec_is_read_back() -> None:
    """As JSON text."""
    wanted = spec(prompt="hello", skills=["a"], deliver="telegram", repeat=3)
    assert decode(encode(wanted)) == wanted


@given(
    now=st.floats(START + HOUR, START + 400 * 86400),
    repeat=st.integers(0, 5),
    fired=st.integers(0, 5),
    catch_up=st.integers(1, 5),
    misfire=st.sampled_from(["skip", "run_once", "run_all"]),
)
def test_whatever_was_missed_the_next_instant_is_in_the_future(
    now: float, repeat: int, fired: int, catch_up: int, misfire: str
) -> None:
    """No burst: at most ``catch_up`` runs; never more than ``repeat`` in all."""
    found = at(spec(repeat=repeat, catch_up=catch_up, misfire=misfire), now, fired=fired)
    assert len(found.run) <= catch_up
    assert found.due_at == 0 or found.due_at > now
    assert not repeat or fired + len(found.run) <= max(repeat, fired)
    assert list(found.run) == sorted(set(found.run))
