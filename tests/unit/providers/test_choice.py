"""Another model or provider than the profile's."""

from __future__ import annotations

import pytest

from hermesd.config.schema import Config, ModelConfig
from hermesd.errors import UsageError
from hermesd.providers.choice import check_provider, chosen, warnings

CONFIG = Config(
    model=ModelConfig(default="claude-sonnet-4-5", provider="anthropic"),
    fallback_providers=[ModelConfig(default="gpt-5-mini", provider="openai")],
)
KEYS = {"ANTHROPIC_API_KEY": "1", "OPENAI_API_KEY": "1"}


@pytest.mark.parametrize(("given", "meant"), [("antropic", "anthropic"), ("OpenAl", "openai"), ("zzz", "one of auto")])
def test_an_unknown_provider_is_refused_with_the_nearest_name(given: str, meant: str) -> None:
    """Or with all of them."""
    with pytest.raises(UsageError) as caught:
        check_provider(given)
    assert given in caught.value.what
    assert meant in caught.value.next_step


@pytest.mark.parametrize("given", ["", "auto", "offline", "OpenAI", "ollama"])
def test_a_known_provider_is_none_too_many(given: str) -> None:
    """However it is written."""
    assert check_provider(given) is None  # type: ignore[func-returns-value]  # that it returns is the point


@pytest.mark.parametrize(
    ("provider", "name", "said"),
    [
        ("", "", []),
        ("", "claude-opus-4-5", []),
        ("", "claude-sonnet-4-6", []),
        ("", "claude-sonet-4-5", ["did you mean 'claude-sonnet-4-5'?"]),
        ("", "gpt-5", ["its models begin with claude, anthropic/"]),
        ("openai", "gpt-5-mni", ["did you mean 'gpt-5-mini'?"]),
        ("openai", "gpt-5.1", []),
        ("groq", "llama-4", ["put GROQ_API_KEY=… into .env"]),
        ("ollama", "gemma-3", []),
    ],
)
def test_what_may_not_work_of_a_choice_is_said(provider: str, name: str, said: list[str]) -> None:
    """A missing key, a model of another service, and one that is almost one of the configuration's."""
    assert [each.next_step for each in warnings(CONFIG, KEYS, provider=provider, name=name)] == said


def test_another_provider_does_not_get_the_key_of_the_first() -> None:
    """Nor is it asked at the first one's address."""
    model = ModelConfig(default="m", provider="openai", base_url="https://own.example/v1", api_key="k")
    found = chosen(model, provider="groq", name="n")
    assert (found.provider, found.default, found.base_url, found.api_key) == ("groq", "n", "", "")
    assert chosen(model, provider="", name="").api_key == "k"
