"""Schedules: what is understood, what is refused, and when a job is due over changes of the clocks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermesd.errors import UsageError
from hermesd.triggers.schedule import Schedule, parse, spell

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC).timestamp()


def understood(text: str, *, zone: str = "UTC", now: float = NOW) -> Schedule:
    return parse(text, zone_name=zone, now=now)


def dues(schedule: Schedule, start: str, end: str) -> list[str]:
    """Due instants between two UTC instants, as the job's owner reads them."""
    first, last = (datetime.fromisoformat(each).replace(tzinfo=UTC).timestamp() for each in (start, end))
    found = []
    due = schedule.after(first)
    while due is not None and due <= last:
        found.append(schedule.local(due))
        due = schedule.after(due)
    return found


@pytest.mark.parametrize(
    ("text", "kind", "canonical"),
    [
        ("0 2 * * *", "cron", "0 2 * * *"),
        ("0 9 * * mon-fri", "cron", "0 9 * * MON-FRI"),
        ("0 0 l * *", "cron", "0 0 L * *"),
        ("0 0 * * mon#1", "cron", "0 0 * * MON#1"),
        ("@daily", "cron", "0 0 * * *"),
        ("every 30m", "interval", "every 30m"),
        ("every 1h", "interval", "every 1h"),
        ("every 90m", "interval", "every 1h30m"),
        ("Every 2h30m", "interval", "every 2h30m"),
        ("every 5 minutes", "interval", "every 5m"),
        ("every hour", "interval", "every 1h"),
        ("every 10s", "interval", "every 10s"),
        ("every 366d", "interval", "every 366d"),
        ("every day at 9:05", "cron", "5 9 * * *"),
        ("every weekday at 09:00", "cron", "0 9 * * 1-5"),
        ("every mon,thu at 18:30", "cron", "30 18 * * 1,4"),
        ("every sunday at 0:00", "cron", "0 0 * * 0"),
        ("30m", "once", "2026-11-21T10:30:00+00:00"),
        ("in 2 hours", "once", "2026-11-21T12:00:00+00:00"),
        ("2026-12-24T18:00", "once", "2026-12-24T18:00:00+00:00"),
        ("2026-12-24T18:00+02:00", "once", "2026-12-24T16:00:00+00:00"),
    ],
)
def test_what_is_understood_has_a_canonical_form(text: str, kind: str, canonical: str) -> None:
    """The canonical form is understood as the same again."""
    found = understood(text)
    assert (found.kind, found.text) == (kind, canonical)
    assert understood(found.text) == found
    assert len(found.preview(NOW)) == (1 if kind == "once" else 5)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not a schedule"),
        ("every", "is not understood"),
        ("every 9s", "out of bounds"),
        ("every 367d", "out of bounds"),
        ("every 30m2h", "is not understood"),
        ("every 1h1h", "is not understood"),
        ("every funday at 9:00", "is no day"),
        ("every mon,funday at 9:00", "is no day"),
        ("every day at 24:00", "is no time of day"),
        ("every ३०m", "is not a schedule"),
        ("30 2 30 2 *", "never comes due"),
        ("0 0 31 4,6 *", "never comes due"),
        ("0 0 32 * *", "bad day-of-month"),
        ("61 * * * *", "bad minute"),
        ("* * * *", "is not understood"),
        ("0 * * * * *", "has six fields"),
        ("@reboot", "is no name"),
        ("2020-01-01T00:00", "has passed"),
        ("9999-12-31T23:59", "too far away"),
        ("2026-13-01", "is no date"),
        ("x" * 300, "is not a schedule"),
        ("0 9 * * *\n0 10 * * *", "is not a schedule"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(text: str, why: str) -> None:
    """At creation, with a next step."""
    with pytest.raises(UsageError, match=why) as caught:
        understood(text)
    assert caught.value.next_step


def test_a_zone_of_its_own_goes_before_the_jobs() -> None:
    """``CRON_TZ=`` names where the fields are read."""
    found = understood("CRON_TZ=Asia/Tokyo 0 9 * * *", zone="Europe/Berlin")
    assert (found.zone, found.text) == ("Asia/Tokyo", "0 9 * * *")
    assert found.local(found.preview(NOW)[0]) == "2026-11-22 09:00:00+09:00"
    with pytest.raises(UsageError, match="not a time zone"):
        understood("CRON_TZ=Mars/Olympus 0 9 * * *")


def test_an_instant_that_the_clocks_skip_is_refused() -> None:
    """02:30 on the last Sunday of March is no time in Berlin."""
    with pytest.raises(UsageError, match="does not exist in Europe/Berlin"):
        understood("2027-03-28T02:30", zone="Europe/Berlin")


def test_an_interval_keeps_its_phase() -> None:
    """Due instants are counted from its making, however late one asks."""
    found = understood("every 30m")
    assert found.after(NOW) == NOW + 1800
    assert found.after(NOW + 1800) == NOW + 3600
    assert found.after(NOW + 10_000 * 1800 + 1) == NOW + 10_001 * 1800


FIXED = "30 2 * * *"
WILD = "*/30 * * * *"


@pytest.mark.parametrize(
    ("zone", "text", "start", "end", "expected"),
    [
        # clocks go forward: 02:00 → 03:00
        ("Europe/Berlin", FIXED, "2026-03-29T00:00", "2026-03-29T04:00", ["2026-03-29 03:00:00+02:00"]),
        (
            "Europe/Berlin",
            WILD,
            "2026-03-29T00:15",
            "2026-03-29T01:30",
            ["2026-03-29 01:30:00+01:00", "2026-03-29 03:00:00+02:00", "2026-03-29 03:30:00+02:00"],
        ),
        # and back: 03:00 → 02:00
        ("Europe/Berlin", FIXED, "2026-10-24T23:00", "2026-10-25T03:00", ["2026-10-25 02:30:00+02:00"]),
        (
            "Europe/Berlin",
            WILD,
            "2026-10-25T00:15",
            "2026-10-25T01:30",
            ["2026-10-25 02:30:00+02:00", "2026-10-25 02:00:00+01:00", "2026-10-25 02:30:00+01:00"],
        ),
        ("America/New_York", FIXED, "2026-03-08T06:00", "2026-03-08T12:00", ["2026-03-08 03:00:00-04:00"]),
        ("America/New_York", "30 1 * * *", "2026-11-01T04:00", "2026-11-01T12:00", ["2026-11-01 01:30:00-04:00"]),
        # half an hour: 02:00 → 02:30 and back
        ("Australia/Lord_Howe", "15 2 * * *", "2026-10-03T12:00", "2026-10-03T18:00", ["2026-10-04 02:30:00+11:00"]),
        ("Australia/Lord_Howe", "45 1 * * *", "2026-04-04T12:00", "2026-04-04T18:00", ["2026-04-05 01:45:00+11:00"]),
        (
            "Australia/Lord_Howe",
            "*/15 * * * *",
            "2026-04-04T14:31",
            "2026-04-04T15:30",
            [
                "2026-04-05 01:45:00+11:00",
                "2026-04-05 01:30:00+10:30",
                "2026-04-05 01:45:00+10:30",
                "2026-04-05 02:00:00+10:30",
            ],
        ),
        # a day that was not: 2011-12-30
        (
            "Pacific/Apia",
            "0 12 * * *",
            "2011-12-29T00:00",
            "2011-12-31T12:00",
            ["2011-12-29 12:00:00-10:00", "2011-12-31 00:00:00+14:00", "2011-12-31 12:00:00+14:00"],
        ),
        (
            "Pacific/Apia",
            "0 */12 * * *",
            "2011-12-29T12:00",
            "2011-12-30T12:00",
            ["2011-12-29 12:00:00-10:00", "2011-12-31 00:00:00+14:00"],
        ),
        # midnight is skipped, and comes twice
        ("America/Sao_Paulo", "0 0 * * *", "2018-11-03T12:00", "2018-11-04T12:00", ["2018-11-04 01:00:00-02:00"]),
        ("America/Sao_Paulo", "30 23 * * *", "2019-02-16T12:00", "2019-02-17T12:00", ["2019-02-16 23:30:00-02:00"]),
    ],
)
def test_the_clocks_are_changed(zone: str, text: str, start: str, end: str, expected: list[str]) -> None:
    """A fixed time comes once, a wildcard goes by real time."""
    schedule = understood(text, zone=zone, now=datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp())
    assert dues(schedule, start, end) == expected


# -- against an oracle that goes through every minute ------------------------------------------------------------------

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "America/Sao_Paulo", "UTC"]
CHANGES = [
    datetime(2026, 3, 27, tzinfo=UTC),
    datetime(2026, 10, 23, tzinfo=UTC),
    datetime(2026, 3, 6, tzinfo=UTC),
    datetime(2026, 10, 30, tzinfo=UTC),
    datetime(2026, 10, 2, tzinfo=UTC),
    datetime(2026, 4, 3, tzinfo=UTC),
    datetime(2011, 12, 28, tzinfo=UTC),
    datetime(2018, 11, 2, tzinfo=UTC),
    datetime(2019, 2, 15, tzinfo=UTC),
]
SPAN = timedelta(days=4)

minutes = st.lists(st.integers(0, 59), min_size=1, max_size=3, unique=True)
hours = st.lists(st.integers(0, 23), min_size=1, max_size=3, unique=True)


def field(values: list[int] | None, step: int) -> str:
    return ",".join(map(str, values)) if values is not None else f"*/{step}" if step > 1 else "*"


def matches(expression: str, moment: datetime) -> bool:
    """Whether a wall time fits ``minute hour * * weekdays``."""
    minute, hour, _, _, day = expression.split()

    def fits(text: str, value: int) -> bool:
        if text.startswith("*"):
            return value % int(text.partition("/")[2] or 1) == 0
        return value in map(int, text.split(","))

    return fits(minute, moment.minute) and fits(hour, moment.hour) and fits(day, moment.isoweekday() % 7)


def every_minute(expression: str, tz: ZoneInfo, start: datetime) -> Iterator[float]:
    """What is due in SPAN after ``start``, by looking at each minute on the wall (fixed) or of real time (wildcard)."""
    found: set[float] = set()
    minute, hour = expression.split()[:2]
    count = int(SPAN.total_seconds() // 60)
    if minute.startswith("*") or hour.startswith("*"):
        for n in range(1, count + 1):
            moment = (start + timedelta(minutes=n)).astimezone(tz)
            if matches(expression, moment):
                found.add(moment.timestamp())
    else:
        wall = start.astimezone(tz).replace(tzinfo=None) - timedelta(days=2)
        for _ in range(count + 4 * 1440):
            wall += timedelta(minutes=1)
            if matches(expression, wall):
                found.add(first_real(wall, tz).timestamp())
    end = (start + SPAN).timestamp()
    return iter(sorted(each for each in found if start.timestamp() < each <= end))


def first_real(wall: datetime, tz: ZoneInfo) -> datetime:
    """The first instant at which a clock on the wall shows this or, if it never does, has passed it."""
    moment = wall.replace(tzinfo=tz, fold=0)
    while moment.astimezone(UTC).astimezone(tz) != moment:
        wall += timedelta(minutes=1)
        moment = wall.replace(tzinfo=tz, fold=0)
    return moment


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    change=st.sampled_from(CHANGES),
    minute=st.none() | minutes,
    hour=st.none() | hours,
    step=st.sampled_from([1, 2, 5, 7, 15, 30]),
    day=st.none() | st.lists(st.integers(0, 6), min_size=1, max_size=3, unique=True),
)
def test_due_instants_are_those_of_a_look_at_every_minute(
    zone: str,
    change: datetime,
    minute: list[int] | None,
    hour: list[int] | None,
    step: int,
    day: list[int] | None,
) -> None:
    """Over changes of the clocks in six zones; an instant is proposed once and in order."""
    expression = f"{field(minute, step)} {field(hour, step)} * * {field(day, 1)}"
    schedule = understood(expression, zone=zone, now=change.timestamp())
    found = []
    due = schedule.after(change.timestamp())
    while due is not None and due <= (change + SPAN).timestamp():
        found.append(due)
        due = schedule.after(due)
    assert found == list(every_minute(expression, ZoneInfo(zone), change))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.from_regex(r"[0-9*/,\-LW# A-Z@a-z:.+]{1,40}", fullmatch=True))
def test_any_text_is_understood_or_refused(text: str) -> None:
    """Nothing else is raised, and what is understood is due in the future."""
    try:
        found = understood(text)
    except UsageError:
        return
    due = found.after(NOW)
    assert due is not None
    assert due > NOW


@given(st.integers(10, 366 * 86400))
def test_a_spelled_interval_is_read_back(seconds: int) -> None:
    """For every length that is allowed."""
    assert understood(f"every {spell(seconds)}").seconds == seconds
