"""Answers in the documented form of the Bot API, and what each means to the sender."""

from __future__ import annotations

import json

import msgspec
import pytest

from hermesd.gateway.platforms.telegram_api import TelegramError, decode, judge
from hermesd.gateway.platforms.telegram_send import Part, format_ref, parse_ref


def refused(method: str, status: int, body: object) -> TelegramError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(TelegramError) as caught:
        judge(method, status, content)
    return caught.value


def answer(code: int, description: str, **parameters: int) -> dict[str, object]:
    return {"ok": False, "error_code": code, "description": description, "parameters": parameters}


def test_a_result_is_handed_on() -> None:
    """Undecoded, so that each caller reads only what it needs."""
    assert judge("sendMessage", 200, b'{"ok":true,"result":{"message_id":5}}') == msgspec.Raw(b'{"message_id":5}')


@pytest.mark.parametrize(
    ("code", "description"),
    [
        (400, "Bad Request: chat not found"),
        (403, "Forbidden: bot was blocked by the user"),
        (404, "Not Found"),
        (413, "Request Entity Too Large"),
    ],
)
def test_some_refusals_are_for_good(code: int, description: str) -> None:
    """The same request would be refused again; it was certainly not carried out."""
    error = refused("sendMessage", code, answer(code, description))
    assert (error.permanent, error.fatal, error.certainty) == (True, False, "not_sent")


def test_too_many_requests_says_when_to_come_back() -> None:
    """retry_after is honoured, and never zero."""
    assert refused("sendMessage", 429, answer(429, "Too Many Requests", retry_after=17)).retry_after_s == 17
    assert refused("sendMessage", 429, answer(429, "Too Many Requests")).retry_after_s == 1


@pytest.mark.parametrize(
    ("method", "status", "body"),
    [
        ("getMe", 401, answer(401, "Unauthorized")),
        ("getMe", 404, answer(404, "Not Found")),
        ("getMe", 404, b"not found"),
        ("getUpdates", 401, answer(401, "Unauthorized")),
    ],
)
def test_a_token_that_telegram_does_not_know_is_fatal(method: str, status: int, body: object) -> None:
    """At the start, and when it is revoked later."""
    assert refused(method, status, body).fatal


def test_a_404_in_front_of_telegram_is_not_fatal_later() -> None:
    """A proxy's hiccup must not switch a working bot off for good."""
    assert not refused("getUpdates", 404, b"<html>not found</html>").fatal


def test_a_moved_group_says_where_it_is() -> None:
    """A group that became a supergroup is tried again under its new id."""
    error = refused("sendMessage", 400, answer(400, "group chat was upgraded", migrate_to_chat_id=-1005))
    assert (error.moved_to, error.permanent) == ("-1005", False)


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b'{"result":1}', b"[" * 5000])
def test_a_gateway_error_without_a_telegram_answer_may_have_been_carried_out(body: bytes) -> None:
    """Nobody can say; the repeat will be marked."""
    error = refused("sendMessage", 502, body)
    assert (error.certainty, error.permanent) == ("unknown", False)


def test_telegrams_own_server_error_was_not_carried_out() -> None:
    """It answered, and said so."""
    assert refused("sendMessage", 500, answer(500, "Internal Server Error")).certainty == "not_sent"


def test_the_token_is_not_repeated_from_an_answer() -> None:
    """Some proxies echo the path."""
    assert "SECRET" not in str(refused("sendMessage", 400, answer(400, "no such path /bot1:SECRET/sendMessage")))


def test_a_result_of_another_kind_is_an_error_of_telegram() -> None:
    """It does not surface as a decoding error somewhere else."""
    with pytest.raises(TelegramError, match="not understood"):
        decode(msgspec.Raw(b'"text"'), int)


def test_refs_name_messages_and_drafts() -> None:
    """The text form is read back as it was written."""
    parts = [Part("17"), Part("18", draft=True)]
    assert format_ref(parts) == "17,d18"
    assert parse_ref("17,d18") == parts
    assert parse_ref("") == []
