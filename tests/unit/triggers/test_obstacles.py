"""What stands between a target and its delivery."""

from __future__ import annotations

import base64

import pytest

from hermesd.config.schema import (
    DiscordConfig,
    EmailConfig,
    GithubConfig,
    PlatformsConfig,
    SlackConfig,
    SmsConfig,
    TelegramConfig,
    WebhookConfig,
)
from hermesd.errors import ConfigError
from hermesd.triggers.deliver import parse_deliver
from hermesd.triggers.obstacles import SECRET, check_targets, key_of, warnings

READY = PlatformsConfig(
    telegram=TelegramConfig(enabled=True),
    smtp=EmailConfig(host="mail.example.com", sender="a@example.com"),
    slack=SlackConfig(token="xoxb-1"),
    discord=DiscordConfig(token="1"),
    sms=SmsConfig(account_sid="AC1", auth_token="1", sender="+15550000000"),
    github=GithubConfig(token="ghp_1"),
)
KEY = "whsec_" + base64.b64encode(bytes(32)).decode()
TARGETS = {
    "webhook:https://example.com/secret-path": "WEBHOOK_DELIVERY_SECRET",
    "email:a@b.de": "platforms.smtp.host",
    "slack:C1": "SLACK_BOT_TOKEN",
    "discord:123": "DISCORD_BOT_TOKEN",
    "sms:+15551234567": "TWILIO_ACCOUNT_SID",
    "github_comment:a/b#1": "GITHUB_TOKEN",
    "telegram:7": "platforms.telegram.enabled",
}


@pytest.mark.parametrize("target", TARGETS)
def test_a_missing_setting_is_warned_of_and_named_and_refuses_nothing(target: str) -> None:
    """It may be there when the time comes. A URL's path, which may be a secret, is not repeated."""
    to = parse_deliver(target, homes={})
    check_targets(to, PlatformsConfig(), where="deliver")
    (found,) = warnings(to, PlatformsConfig(), {})
    assert TARGETS[target] in found.next_step
    assert found.what.startswith(f"deliver {target.partition(':')[0]}:")
    assert "secret-path" not in found.what
    assert warnings(to, READY, {SECRET: KEY}) == []


@pytest.mark.parametrize(
    "target",
    [
        "webhook:http://example.com/x",
        "webhook:https://127.0.0.1/x",
        "webhook:https://10.1.2.3/x",
        "webhook:https://[::1]/x",
        "webhook:https://169.254.169.254/x",
        "discord:general",
        "sms:abc",
    ],
)
def test_what_no_setting_is_missing_for_is_refused(target: str) -> None:
    """The policy or the target itself would have to be another."""
    with pytest.raises(ConfigError) as caught:
        check_targets(parse_deliver(target, homes={}), READY, where="deliver")
    assert (caught.value.where, bool(caught.value.next_step)) == ("deliver", True)


def test_an_allowed_private_address_is_no_obstacle() -> None:
    """``deliver_private`` is the permission."""
    allowed = PlatformsConfig(webhook=WebhookConfig(deliver_private=True))
    to = parse_deliver("webhook:http://127.0.0.1:1/x", homes={})
    check_targets(to, allowed, where="deliver")
    assert warnings(to, allowed, {SECRET: KEY}) == []


@pytest.mark.parametrize("secret", ["", "whsec_", "no*base64", "c2hvcnQ="])
def test_a_weak_secret_is_no_key(secret: str) -> None:
    """What cannot be read is as good as none."""
    assert key_of(secret) == b""
    assert key_of(KEY) == bytes(32)
