"""What a failed attempt means: which kind of error it is, whether to try again, and how long to wait first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from hermesd.providers.base import ProviderError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.providers.base import ProviderErrorKind

MAX_MESSAGE_CHARS = 300

_OVERFLOW_SIGNS = (
    "context_length_exceeded",
    "exceed_context_size",
    "maximum context length",
    "maximum number of tokens",
    "context window",
    "context size",
    "context length",
    "prompt is too long",
    "input is too long",
    "too many tokens",
    "request_too_large",
)
_BILLING_SIGNS = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
_MODERATION_SIGNS = ("content_filter", "content_policy", "moderation")

_STATUS_OF_TYPE = {
    "overloaded_error": 529,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "authentication_error": 401,
    "permission_error": 403,
    "billing_error": 402,
    "not_found_error": 404,
    "invalid_request_error": 400,
    "request_too_large": 413,
}


class AttemptError(ProviderError):
    """One attempt failed. ``retry`` says whether the very same request is worth sending again."""

    def __init__(
        self,
        what: str,
        *,
        kind: ProviderErrorKind,
        retry: bool,
        where: str = "",
        next_step: str = "",
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(what, kind=kind, where=where, next_step=next_step, retry_after_s=retry_after_s)
        self.retry = retry


def broken(what: str, *, where: str) -> AttemptError:
    """The connection or the stream broke: the endpoint may well answer the next time."""
    return AttemptError(
        what,
        kind="unavailable",
        retry=True,
        where=where,
        next_step="Check the network and the endpoint; the message is kept",
    )


def malformed(what: str, *, where: str, retry: bool = True) -> AttemptError:
    """The endpoint sent something that is not the protocol."""
    return AttemptError(
        what,
        kind="malformed",
        retry=retry,
        where=where,
        next_step="Check that model.base_url names an endpoint of the configured provider",
    )


def from_response(
    status: int, headers: Mapping[str, str], body: bytes, *, where: str, secret: str, now: float
) -> AttemptError:
    """The meaning of an HTTP error answer. ``now`` is epoch seconds, for a Retry-After that is a date."""
    return classify(
        status, _ErrorText.parse(body), where=where, secret=secret, retry_after_s=retry_after(headers, now=now)
    )


def from_stream(error: object, *, where: str, secret: str) -> AttemptError:
    """The meaning of an error object that arrives inside a stream that had begun with 200."""
    text = _ErrorText.of(error)
    status = _STATUS_OF_TYPE.get(text.type) or _STATUS_OF_TYPE.get(text.code)
    if status is None:
        status = int(text.code) if text.code.isdecimal() and 400 <= int(text.code) < 600 else 500
    return classify(status, text, where=where, secret=secret)


def classify(status: int, text: _ErrorText, *, where: str, secret: str, retry_after_s: float = 0.0) -> AttemptError:
    """Map status and error text to kind, retry and next step."""
    kind, retry, next_step = _meaning(status, text)
    shown = "" if status == 401 else text.shown(secret)  # some endpoints repeat the key in a 401
    what = f"the endpoint answered {status}" + (f": {shown}" if shown else "")
    return AttemptError(
        what, kind=kind, retry=retry, where=where, next_step=next_step, retry_after_s=retry_after_s if retry else 0.0
    )


def _meaning(status: int, text: _ErrorText) -> tuple[ProviderErrorKind, bool, str]:
    if status in (400, 413, 422) and text.has(_OVERFLOW_SIGNS):
        return "overflow", False, "Shorten the conversation, or choose a model with a larger context"
    if status == 402 or (status == 429 and text.has(_BILLING_SIGNS)):
        return "auth", False, "Check plan, credit and billing of this key at the provider"
    if status == 403 and text.has(_MODERATION_SIGNS):
        return "refused", False, "Rephrase the message: the endpoint's moderation refused it"
    if status in (401, 403):
        return "auth", False, "Put a key that is valid for this model into .env, then: hermesctl reload"
    if status == 429:
        return "rate_limited", True, "Wait, or raise the limit of this key at the provider"
    if status in (408, 409) or status >= 500:
        return "unavailable", True, "Nothing to do: the message is kept and asked again later"
    if status == 404:
        return "refused", False, "Check model.default and model.base_url in config.yaml"
    return "refused", False, "Check model settings in config.yaml against what the endpoint supports"


class _ErrorText(msgspec.Struct, frozen=True):
    """What the common error bodies have: OpenAI ``{error: {message, type, code}}``, Anthropic the same."""

    message: str = ""
    type: str = ""
    code: str = ""

    @classmethod
    def parse(cls, body: bytes) -> _ErrorText:
        try:
            data = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError):
            return cls()
        return cls.of(data.get("error", data) if isinstance(data, dict) else data)

    @classmethod
    def of(cls, error: object) -> _ErrorText:
        if isinstance(error, str):
            return cls(message=error)
        if not isinstance(error, dict):
            return cls()
        message: Any = error.get("message") or error.get("detail") or ""  # any JSON; made text below
        return cls(message=str(message), type=str(error.get("type") or ""), code=str(error.get("code") or ""))

    def has(self, signs: tuple[str, ...]) -> bool:
        everything = f"{self.code} {self.type} {self.message}".lower()
        return any(sign in everything for sign in signs)

    def shown(self, secret: str) -> str:
        text = self.message.replace(secret, "***") if secret else self.message
        text = " ".join(text[: 4 * MAX_MESSAGE_CHARS].split())
        return text if len(text) <= MAX_MESSAGE_CHARS else text[: MAX_MESSAGE_CHARS - 1] + "…"


def retry_after(headers: Mapping[str, str], *, now: float) -> float:
    """Seconds the endpoint asks to wait, or 0.

    ``retry-after-ms`` (OpenAI, Azure) goes before ``Retry-After`` (RFC 9110, section 10.2.3: seconds or HTTP date).
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after", "")
    seconds = _number(text)
    if seconds is not None:
        return seconds
    if not text:
        return 0.0
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0


def _number(text: str) -> float | None:
    """A finite number of at least 0, at most a year of milliseconds; None for anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 366 * 86_400_000 else None


def reject_key(where: str) -> NoReturn:
    """A key with characters that no header may hold; its text must never reach an error of the HTTP library."""
    raise AttemptError(
        "the configured key holds characters that cannot be sent in a header",
        kind="auth",
        retry=False,
        where=where,
        next_step="Copy the key into .env again, without line breaks or quotes inside",
    )
