"""A home channel as a hermes-agent home writes it: a mapping, or variables in .env."""

from __future__ import annotations

import pytest

from hermesd.config.load import Examination, examine_contents
from hermesd.config.settings import Secrets
from hermesd.home import Profile
from hermesd.triggers.deliver import homes
from tests.unit.config.test_load import PROFILE


def examined(home_channel: str, **secrets: str) -> Examination:
    text = f"platforms: {{telegram: {{enabled: true, token: t, {home_channel}}}}}\n"
    profile: Profile = PROFILE
    return examine_contents(profile, text.encode(), Secrets(secrets))


@pytest.mark.parametrize(
    ("written", "secrets", "means"),
    [
        ("home_channel: {platform: telegram, chat_id: '-100123', name: Home}", {}, "-100123"),
        ("home_channel: {chat_id: -100123, thread_id: 42}", {}, "-100123:42"),
        ("home_channel: {chat_id: -100123, thread_id: null}", {}, "-100123"),
        ("home_channel: -100123", {}, "-100123"),
        ("extra: {home_channel: {chat_id: 7}}", {}, "7"),
        ("home_channel: {chat_id: '${WHERE}'}", {"WHERE": "9"}, "9"),
        ("stream: true", {"TELEGRAM_HOME_CHANNEL": "7", "TELEGRAM_HOME_CHANNEL_THREAD_ID": "3"}, "7:3"),
        ("home_channel: 8", {"TELEGRAM_HOME_CHANNEL": "7", "TELEGRAM_HOME_CHANNEL_THREAD_ID": "3"}, "8"),
    ],
)
def test_every_form_means_a_chat_and_perhaps_a_topic(written: str, secrets: dict[str, str], means: str) -> None:
    """What stands in config.yaml wins over .env."""
    found = examined(written, **secrets)
    assert found.settings is not None, found.problems
    assert homes(found.settings.config.platforms) == {"telegram": means}


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ("{name: Home}", "no chat_id"),
        ("{chat_id: 7, chat: 8}", "unknown key 'chat'"),
        ("{chat_id: 7, platform: slack}", "is on 'slack'"),
        ("{chat_id: [7]}", "must be one word"),
    ],
)
def test_a_mapping_that_names_no_chat_is_refused_at_its_line(written: str, what: str) -> None:
    """With what to write."""
    found = examined(f"home_channel: {written}")
    [problem] = found.problems
    assert what in problem.what
    assert problem.where.endswith(":1")
    assert problem.next_step
