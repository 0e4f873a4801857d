"""Plain values as people write them: numbers, and the formats that a form's text may have (RFC 3339, 3986, 5321)."""

from __future__ import annotations

import math
import re
from datetime import date, datetime
from urllib.parse import urlsplit

NAMES = {
    "email": "an e-mail address",
    "uri": "a URL",
    "date": "a date as 2026-12-31",
    "date-time": "a time as 2026-12-31T23:59:00Z",
}
_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
_EMAIL = re.compile(r"[^\s@<>\"]{1,64}@[^\s@<>\"]{1,255}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:[Zz]|[+-][0-9:]{5})")


def integer(text: str) -> int:
    """A whole number; raises ValueError."""
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    return int(text)


def number(text: str) -> int | float:
    """A finite number; raises ValueError."""
    if _INTEGER.fullmatch(text):
        return int(text)
    if not _NUMBER.fullmatch(text) or not math.isfinite(found := float(text)):
        raise ValueError(text)
    return found


def fits(text: str, name: str) -> bool:
    """Whether a text has the format; one that is not known holds anything."""
    match name:
        case "email":
            return _EMAIL.fullmatch(text) is not None
        case "uri":
            return _is_uri(text)
        case "date":
            return _DATE.fullmatch(text) is not None and _parses(date.fromisoformat, text)
        case "date-time":
            return _TIME.fullmatch(text) is not None and _parses(datetime.fromisoformat, text)
    return True


def _is_uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path)) and not any(char.isspace() for char in text)


def _parses(parse: object, text: str) -> bool:
    assert callable(parse)
    try:
        parse(text.upper())
    except ValueError:
        return False
    return True
