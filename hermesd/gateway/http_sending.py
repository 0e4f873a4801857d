"""What sending over HTTP has in common: errors of the connection, and how long a service asks to wait."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hermesd.gateway.platform import PlatformError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermesd.gateway.platform import Certainty

MAX_RETRY_AFTER_S = 86_400.0


@contextlib.contextmanager
def sending(where: str, *, unanswered: Certainty = "unknown") -> Iterator[None]:
    """Tell errors of httpx2 as PlatformError: not sent without a connection, ``unanswered`` without an answer."""
    import httpx2

    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
        raise PlatformError(f"no connection: {error}", where=where) from error
    except httpx2.TransportError as error:
        words = f"no answer: {type(error).__name__}"
        raise PlatformError(words, where=where, certainty=unanswered) from error


def retry_after_s(value: str, now: float) -> float:
    """Seconds to wait for a Retry-After field (RFC 9110, 10.2.3: seconds or a date), a day at most; 0 for none."""
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), MAX_RETRY_AFTER_S)
    from email.utils import parsedate_to_datetime

    try:
        seconds = parsedate_to_datetime(value).timestamp() - now
    except (ValueError, OverflowError):
        return 0.0
    return min(max(0.0, seconds), MAX_RETRY_AFTER_S)
