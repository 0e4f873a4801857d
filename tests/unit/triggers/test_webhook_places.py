"""Where the answer to a webhook goes: deliver_extra, templates, and what a payload may and may not fill in."""

from __future__ import annotations

import pytest

from hermesd.config.schema import WebhookRoute
from hermesd.errors import ConfigError
from hermesd.store.records import Address
from hermesd.triggers import webhook_places
from hermesd.triggers.webhook_places import UNDELIVERABLE, Places

HOMES = {"telegram": "1"}


def places(deliver: str, payload: dict[str, object] | None = None, **extra: str) -> tuple[list[Address], str]:
    route = WebhookRoute(deliver=deliver, deliver_extra=extra)
    return Places(route, homes=HOMES, where="here").for_event(payload or {}, "push")


def test_a_chat_and_its_thread_complete_a_platform() -> None:
    """Without them it is the home channel; a chat that the target names itself stays."""
    assert places("telegram") == ([Address(platform="telegram", chat="1")], "")
    assert places("telegram", chat_id="-100") == ([Address(platform="telegram", chat="-100")], "")
    for name in ("thread_id", "message_thread_id"):
        found = places("telegram,log", **{"chat_id": "-100", name: "42"})
        assert found == ([Address(platform="telegram", chat="-100", thread="42"), Address(platform="log")], "")
    assert places("telegram:5", chat_id="7") == ([Address(platform="telegram", chat="5")], "")


def test_a_template_is_filled_from_the_payload() -> None:
    """Numbers too; nothing but a chat can come of it."""
    found = places(
        "telegram,log", {"team": {"chat": -100, "topic": "9"}}, chat_id="{team.chat}", thread_id="{team.topic}"
    )
    assert found == ([Address(platform="telegram", chat="-100", thread="9"), Address(platform="log")], "")


@pytest.mark.parametrize("value", ["7,log", "7:8", "a b", "", "7\n8", "x" * 200, ["7"], None])
def test_a_payload_cannot_name_another_target(value: object) -> None:
    """What is no chat is none: the answer is kept as local, and it is said."""
    addresses, said = places("telegram", {"chat": value}, chat_id="{chat}")
    assert addresses == [UNDELIVERABLE]
    assert "telegram (chat)" in said


def test_what_is_missing_takes_no_other_target_along() -> None:
    """The others are delivered to."""
    addresses, said = places("telegram,email:a@example.org", {}, chat_id="{chat}")
    assert addresses == [UNDELIVERABLE, Address(platform="email", chat="a@example.org")]
    assert said


def test_a_github_comment_knows_its_place_from_the_payload_or_from_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pull requests and issues alike; the target's own form is made of it."""
    seen: list[str] = []

    def parse(text: str, **_others: object) -> list[Address]:
        seen.append(text)
        return [Address(platform="log")]

    monkeypatch.setattr(webhook_places, "parse_deliver", parse)
    repository = {"repository": {"full_name": "acme/site"}}
    for payload in ({"pull_request": {"number": 7}}, {"issue": {"number": 7}}, {"number": 7}):
        places("github_comment", repository | payload)
        assert seen[-1] == "github_comment:acme/site#7"
    places("github_comment", {"n": "12"}, repo="acme/other", pr_number="{n}")
    assert seen[-1] == "github_comment:acme/other#12"
    places("github_comment", repository | {"n": 3}, issue_number="{n}")
    assert seen[-1] == "github_comment:acme/site#3"
    addresses, said = places("github_comment", {"repository": {"full_name": "acme/../x?y"}, "number": "1,log"})
    assert addresses == [UNDELIVERABLE]
    assert "github_comment (repo, number)" in said


@pytest.mark.parametrize(
    ("deliver", "extra", "said"),
    [
        ("telegram", {"chatid": "7"}, "unknown key 'chatid'"),
        ("telegram", {"chat_id": "7,log"}, "chat_id cannot be '7,log'"),
        ("telegram", {"thread_id": "7"}, "a thread without a chat_id"),
        ("log", {"repo": "acme"}, "repo cannot be 'acme'"),
        ("nowhere", {"chat_id": "{a}"}, "is not a target"),
    ],
)
def test_what_cannot_be_used_is_refused_when_it_is_configured(deliver: str, extra: dict[str, str], said: str) -> None:
    """Before a sender relies on it."""
    with pytest.raises(ConfigError) as caught:
        Places(WebhookRoute(deliver=deliver, deliver_extra=extra), homes=HOMES, where="here")
    assert said in caught.value.what
