"""What an HTTP error means."""

from __future__ import annotations

import pytest

from hermesd.providers.failures import MAX_MESSAGE_CHARS, AttemptError, from_response, from_stream, retry_after

NOW = 1_750_000_000.0


def meaning(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> AttemptError:
    return from_response(status, headers or {}, body, where="host", secret="sk-secret", now=NOW)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0.0),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "Sun, 15 Jun 2025 15:07:10 GMT"}, 30.0),
        ({"retry-after": "Sun, 15 Jun 2024 15:07:10 GMT"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "nan"}, 0.0),
        ({"retry-after": "inf"}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "tomorrow"}, 0.0),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: float) -> None:
    """Seconds, milliseconds, an HTTP date; nonsense is no wish at all."""
    assert retry_after(headers, now=NOW) == seconds


@pytest.mark.parametrize(
    ("status", "body", "kind", "retry"),
    [
        (400, b'{"error":{"message":"m","code":"context_length_exceeded"}}', "overflow", False),
        (400, b'{"error":{"type":"exceed_context_size_error","message":"m"}}', "overflow", False),
        (400, b'{"type":"error","error":{"message":"prompt is too long: 9 tokens > 5 maximum"}}', "overflow", False),
        (413, b'{"error":{"type":"request_too_large"}}', "overflow", False),
        (400, b'{"error":{"message":"unknown field"}}', "refused", False),
        (402, b"", "auth", False),
        (429, b'{"error":{"code":"insufficient_quota"}}', "auth", False),
        (429, b"", "rate_limited", True),
        (403, b'{"error":{"message":"flagged by moderation"}}', "refused", False),
        (403, b"", "auth", False),
        (301, b"", "refused", False),
        (500, b"<html>", "unavailable", True),
        (529, b'{"error":{"type":"overloaded_error"}}', "unavailable", True),
        (500, b"[" * 100_000, "unavailable", True),
    ],
)
def test_status_and_body_decide_the_kind(status: int, body: bytes, kind: str, retry: bool) -> None:
    """Each kind leads the turn to something else, so the common error bodies are told apart."""
    error = meaning(status, body)
    assert (error.kind, error.retry) == (kind, retry)
    assert error.next_step


def test_the_key_never_stands_in_an_error() -> None:
    """Endpoints do repeat keys; a 401's text is not shown at all, because they abbreviate them in their own ways."""
    body = b'{"error":{"message":"bad key sk-secret given"}}'
    assert "sk-secret" not in str(meaning(400, body))
    assert "given" in str(meaning(400, body))
    assert "given" not in str(meaning(401, body))


def test_a_long_error_text_is_cut_and_kept_to_one_line() -> None:
    """An endpoint does not get to fill the log."""
    text = meaning(500, b'{"error":{"message":"a\\n' + b"b" * 10_000 + b'"}}').what
    assert "\n" not in text
    assert len(text) < MAX_MESSAGE_CHARS + 50


@pytest.mark.parametrize(
    ("error", "kind", "retry"),
    [
        ({"type": "overloaded_error", "message": "m"}, "unavailable", True),
        ({"type": "rate_limit_error"}, "rate_limited", True),
        ({"type": "invalid_request_error", "message": "prompt is too long"}, "overflow", False),
        ({"code": 502, "message": "upstream"}, "unavailable", True),
        ({"code": 429}, "rate_limited", True),
        ("something", "unavailable", True),
        (None, "unavailable", True),
    ],
)
def test_an_error_inside_a_stream_means_what_its_status_would(error: object, kind: str, retry: bool) -> None:
    """A stream begins with 200, so type and code must tell."""
    caught = from_stream(error, where="host", secret="")
    assert (caught.kind, caught.retry) == (kind, retry)
