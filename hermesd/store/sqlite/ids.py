"""Ids that people paste: short, sortable by creation, unique."""

from __future__ import annotations

import os
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base32, lower case: no i, l, o, u
_TIME_DIGITS = 9  # 45 bits of milliseconds: until the year 3084
_RANDOM_DIGITS = 6


def _base32(number: int, digits: int) -> str:
    return "".join(ALPHABET[(number >> shift) & 31] for shift in range(5 * (digits - 1), -1, -5))


def new_id(prefix: str) -> str:
    """``prefix`` + ``_`` + 9 digits of time (ms) + 6 random digits, e.g. ``t_1k2m3n4p5abc123``."""
    moment = _base32(time.time_ns() // 1_000_000, _TIME_DIGITS)
    return f"{prefix}_{moment}{_base32(int.from_bytes(os.urandom(4), 'big'), _RANDOM_DIGITS)}"
