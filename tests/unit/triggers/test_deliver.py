"""Targets of answers that are URLs."""

from __future__ import annotations

import pytest

from hermesd.errors import ConfigError
from hermesd.store.records import Address
from hermesd.triggers.deliver import parse_deliver


def test_a_webhook_target_is_its_url_and_stands_among_others() -> None:
    """Colons and slashes of the URL stay as they are."""
    found = parse_deliver("local, webhook:https://example.com:8443/in?a=b", homes={})
    assert found == [Address(platform="local"), Address(platform="webhook", chat="https://example.com:8443/in?a=b")]


@pytest.mark.parametrize(
    "target",
    ["webhook:", "webhook:example.com", "webhook:ftp://example.com", "webhook:https://", "webhook:https://a:99999/",
     "webhook:https://u:pass@example.com/", "webhook:https://exämple.com/", "webhook:https://[::1/",
     "webhook:https://example.com/a b", "webhook:https://example.com/" + "a" * 2000, "matrix:!room"],
)  # fmt: skip
def test_what_cannot_be_delivered_to_is_refused_at_once(target: str) -> None:
    """With a next step, and without repeating a password."""
    with pytest.raises(ConfigError) as caught:
        parse_deliver(target, homes={}, where="here")
    assert caught.value.next_step
    assert "pass" not in str(caught.value).replace("password", "")
