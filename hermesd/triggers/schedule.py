"""When a job is due: a closed grammar of schedules, and the instants that follow from one.

    0 9 * * MON-FRI       cron, five fields with names, L, LW and # (cronsim), or @hourly … @yearly
    CRON_TZ=Asia/Tokyo …  the same in a zone of its own
    every 2h30m           an interval, from the moment the job is made
    every weekday at 9:00 (day, weekday, weekend, or days: mon,thu)
    30m                   once, that long from now
    2026-12-24T18:00      once, in the job's zone unless the instant has an offset

Over a change of clocks cron is Debian's (cron(8)): a job at a fixed time runs once, also when that time is skipped or
comes twice; a job with a wildcard minute or hour goes by real time.
"""

from __future__ import annotations

import math
import os
import re
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Literal

import msgspec

from hermesd.errors import UsageError

MAX_TEXT = 256
MIN_INTERVAL_S = 10
MAX_INTERVAL_S = 366 * 86400
PREVIEW = 5

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
DAY_SETS = {"day": "*", "weekday": "1-5", "weekend": "0,6"}
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
WORDS = {"second": "s", "sec": "s", "minute": "m", "min": "m", "hour": "h", "hr": "h", "day": "d", "week": "w"}

_DURATION = re.compile(r"(?:\d{1,9}[wdhms])+", re.ASCII)
_PART = re.compile(r"(\d{1,9})([wdhms])", re.ASCII)
_WORDED = re.compile(r"(?:(\d{1,9}) )?([a-z]+?)s?", re.ASCII)
_AT = re.compile(r"([a-z,]+) at (\d{1,2}):(\d{2})", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_ZONED = re.compile(r"(?:CRON_)?TZ=(\S+) (.+)", re.ASCII)
_CRON_FIELDS = 5
_BAD_DAY = "Bad day-of-month"  # cronsim says so also of a day that none of the months has
_NO_DATE = "no such date exists; change the day or the month"

EXAMPLES = 'write "0 9 * * MON-FRI", "every 30m", "every weekday at 09:00", "30m" or "2026-12-24T18:00"'

Kind = Literal["cron", "interval", "once"]


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule that has been understood. ``zone`` is an IANA name.

    ``text`` is its canonical form: cron fields, ``every 9000s``'s shortest spelling, or an instant with its offset.
    ``seconds`` and ``anchor`` (epoch seconds) belong to an interval, ``at`` (epoch seconds) to a single instant.
    """

    kind: Kind
    text: str
    zone: str
    seconds: int = 0
    anchor: float = 0.0
    at: float = 0.0

    def after(self, instant: float) -> float | None:
        """The first due instant later than this one (epoch seconds); None when there is none."""
        match self.kind:
            case "once":
                return self.at if self.at > instant else None
            case "interval":
                passed = (instant - self.anchor) // self.seconds
                if self.anchor - 1 < instant < self.anchor:
                    passed = 0  # it was made just now; before that only a clock that was put back can be
                due = self.anchor + (passed + 1) * self.seconds
                return due if due > instant else due + self.seconds
            case "cron":
                return _cron_after(self.text, zone(self.zone), instant)

    def preview(self, instant: float, count: int = PREVIEW) -> list[float]:
        """The next due instants."""
        found: list[float] = []
        due = self.after(instant)
        while due is not None and len(found) < count:
            found.append(due)
            due = self.after(due)
        return found

    def local(self, instant: float) -> str:
        """An instant as the job's owner reads it: with the offset that is in force then; in UTC where the zone's data
        is gone."""
        try:
            tz = zone(self.zone)
        except UsageError:
            tz = UTC
        return datetime.fromtimestamp(instant, tz).isoformat(sep=" ", timespec="seconds")


def parse(text: str, *, zone_name: str, now: float) -> Schedule:
    """Understand a schedule written by a person or a model. ``now``: epoch seconds. Raises UsageError."""
    text = " ".join(text.split(" ")).strip()
    if not text or len(text) > MAX_TEXT or not text.isascii() or not text.isprintable():
        raise _refused(text, "is not a schedule")
    if found := _ZONED.fullmatch(text):
        zone_name, text = found.group(1), found.group(2).strip()
        zone(zone_name)
        return _cron(text, zone_name, now)
    zone(zone_name)
    lower = text.lower()
    if lower.startswith("@") or (len(text.split()) == _CRON_FIELDS and lower[0] in "*0123456789"):
        return _cron(text, zone_name, now)
    if lower.startswith("every "):
        return _every(lower.removeprefix("every ").strip(), text, zone_name, now)
    lower = lower.removeprefix("in ")
    if (seconds := _duration(lower)) is not None:
        return _once(now + _bounded(seconds, text), zone_name, now, text)
    return _instant(text, zone_name, now)


def zone(name: str) -> tzinfo:
    """A time zone by its IANA name; UTC is known without any data. Raises UsageError."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        if name == "UTC":
            return UTC
        step = "use a name like Europe/Berlin or UTC; if it is one, install the system's tzdata"
        raise UsageError(f"{name[:64]!r} is not a time zone that is known here", next_step=step) from None


def system_zone() -> str:
    """The IANA name of this machine's zone, as systemd has it (/etc/localtime, localtime(5)); UTC when it has none."""
    for name in (os.environ.get("TZ", "").lstrip(":"), _linked_zone()):
        if name:
            try:
                zone(name)
            except UsageError:
                continue
            return name
    return "UTC"


def _linked_zone() -> str:
    try:
        return str(Path("/etc/localtime").readlink()).partition("zoneinfo/")[2]
    except OSError:
        return ""


# -- cron ----------------------------------------------------------------------------------------------------------


def _cron(text: str, zone_name: str, now: float) -> Schedule:
    if text.startswith("@") and text.lower() not in ALIASES:
        raise _refused(text, "is no name of a schedule", f"one of {', '.join(ALIASES)}")
    fields = ALIASES.get(text.lower(), text).upper().split()
    if len(fields) != _CRON_FIELDS:
        raise _refused(text, f"has {len(fields)} fields, a cron expression has {_CRON_FIELDS}")
    expression = " ".join(fields)
    _check_cron(expression, text)
    if _cron_after(expression, zone(zone_name), now) is None:
        raise _refused(text, "never comes due", _NO_DATE)
    return Schedule(kind="cron", text=expression, zone=zone_name)


def _check_cron(expression: str, text: str) -> None:
    said = _cron_error(expression)
    if not said:
        return
    fields = expression.split()
    if said == _BAD_DAY and not _cron_error(" ".join((*fields[:3], "*", fields[4]))):
        raise _refused(text, "never comes due", _NO_DATE)
    raise _refused(text, f"is no cron expression: {said.lower()}")


def _cron_error(expression: str) -> str:
    """What cronsim says of five fields; '' when it takes them."""
    from cronsim import CronSim, CronSimError

    try:
        CronSim(expression, datetime.now(UTC))
    except CronSimError as error:
        return str(error) or "bad"
    return ""


def _cron_after(expression: str, tz: tzinfo, instant: float) -> float | None:
    """A skipped time is due at the end of the gap; several that fall on one instant are one."""
    from hermesd.triggers.cron import Cron

    for moment in Cron(expression, datetime.fromtimestamp(instant, tz)):
        due = moment.timestamp()
        # In the second of two equal hours the first one's times are proposed again; and where a whole day is skipped
        # (Pacific/Apia, 2011-12-30) times of that day.
        if due > instant and moment.astimezone(UTC).astimezone(tz) == moment:
            return due
    return None


# -- ours ----------------------------------------------------------------------------------------------------------


def _every(rest: str, text: str, zone_name: str, now: float) -> Schedule:
    if found := _AT.fullmatch(rest):
        days, hour, minute = found.group(1), int(found.group(2)), int(found.group(3))
        if hour > 23 or minute > 59:
            raise _refused(text, f"{hour}:{minute:02} is no time of day", "write it as HH:MM, 00:00 to 23:59")
        return _cron(f"{minute} {hour} * * {_days(days, text)}", zone_name, now)
    seconds = _duration(rest)
    if seconds is None:
        raise _refused(text, "is not understood")
    seconds = _bounded(seconds, text)
    return Schedule(
        kind="interval", text=f"every {spell(seconds)}", zone=zone_name, seconds=seconds, anchor=float(math.ceil(now))
    )


def _days(words: str, text: str) -> str:
    if words in DAY_SETS:
        return DAY_SETS[words]
    numbers = sorted({DAYS.index(word[:3]) for word in words.split(",") if _is_day(word)})
    if not numbers or not all(_is_day(word) for word in words.split(",")):
        raise _refused(text, f"{words[:40]!r} is no day", "use day, weekday, weekend, or names like mon,thu")
    return ",".join(str(number) for number in numbers)


def _is_day(word: str) -> bool:
    full = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
    return word in DAYS or word in full


def _duration(text: str) -> int | None:
    """Seconds of ``2h30m`` or ``30 minutes``; None for anything else. Units go from large to small, each once."""
    if _DURATION.fullmatch(text):
        parts = _PART.findall(text)
        units = [unit for _, unit in parts]
        if sorted(set(units), key="wdhms".index) != units:
            return None
        return sum(int(number) * UNITS[unit] for number, unit in parts)
    if (found := _WORDED.fullmatch(text)) and found.group(2) in WORDS:
        return int(found.group(1) or 1) * UNITS[WORDS[found.group(2)]]
    return None


def _bounded(seconds: int, text: str) -> int:
    if not MIN_INTERVAL_S <= seconds <= MAX_INTERVAL_S:
        raise _refused(text, "is out of bounds", f"use {MIN_INTERVAL_S} s to 366 d")
    return seconds


def spell(seconds: int) -> str:
    """``9000`` → ``2h30m``."""
    parts = []
    for unit in "dhms":
        count, seconds = divmod(seconds, UNITS[unit])
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts)


def _instant(text: str, zone_name: str, now: float) -> Schedule:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        if _DATE.match(text):
            raise _refused(text, "is no date and time that exists", "write it like 2026-12-24T18:00") from None
        if len(text.split()) == _CRON_FIELDS + 1 and text[0] in "*0123456789":
            raise _refused(text, "has six fields", "leave out the seconds; for less than a minute: every 30s") from None
        raise _refused(text, "is not understood") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone(zone_name))
        if moment.astimezone(UTC).astimezone(moment.tzinfo) != moment:
            raise _refused(text, f"does not exist in {zone_name}", "the clocks are put forward over it; name another")
    try:
        return _once(moment.timestamp(), zone_name, now, text)
    except (OverflowError, OSError):
        raise _refused(text, "is too far away", "name an instant within 50 years") from None


def _once(at: float, zone_name: str, now: float, text: str) -> Schedule:
    if at <= now:
        raise _refused(text, "has passed", "name an instant in the future")
    if at > now + timedelta(days=366 * 50).total_seconds():
        raise _refused(text, "is too far away", "name an instant within 50 years")
    shown = datetime.fromtimestamp(at, zone(zone_name)).isoformat(timespec="seconds")
    return Schedule(kind="once", text=shown, zone=zone_name, at=at)


def _refused(text: str, what: str, step: str = EXAMPLES) -> UsageError:
    return UsageError(f"schedule {text[:80]!r} {what}", next_step=step)
