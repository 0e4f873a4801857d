"""Which endpoint a configuration means."""

from __future__ import annotations

import pytest

from hermesd.config.schema import Config, ModelConfig
from hermesd.config.settings import Secrets
from hermesd.errors import ConfigError
from hermesd.providers.base import Message, ModelRequest, ProviderError
from hermesd.providers.build import build_provider
from hermesd.providers.routes import resolve

OPENAI = "https://api.openai.com/v1/chat/completions"
ANTHROPIC = "https://api.anthropic.com/v1/messages"
OPENROUTER = "https://openrouter.ai/api/v1/chat/completions"
KEYS = {name: f"key of {name}" for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENROUTER_API_KEY")}


@pytest.mark.parametrize(
    ("model", "keys", "wire", "url", "wanted"),
    [
        ({}, "", "offline", "", "offline"),
        ({}, "OPENAI_API_KEY", "offline", "", "offline"),
        ({"default": ""}, "", "offline", "", "offline"),
        ({"default": "anything", "provider": "offline"}, "OPENAI_API_KEY", "offline", "", "offline"),
        ({"default": "gpt-4o"}, "OPENAI_API_KEY", "openai", OPENAI, "gpt-4o"),
        ({"default": "gpt-4o"}, "", "openai", OPENAI, "gpt-4o"),
        ({"default": "claude-sonnet-4-6"}, "ANTHROPIC_API_KEY", "anthropic", ANTHROPIC, "claude-sonnet-4-6"),
        ({"default": "claude-sonnet-4-6"}, "", "anthropic", ANTHROPIC, "claude-sonnet-4-6"),
        ({"default": "anthropic/claude-x"}, "ANTHROPIC_API_KEY", "anthropic", ANTHROPIC, "claude-x"),
        ({"default": "anthropic/claude-x"}, "OPENROUTER_API_KEY", "openai", OPENROUTER, "anthropic/claude-x"),
        ({"default": "meta/llama"}, "OPENROUTER_API_KEY OPENAI_API_KEY", "openai", OPENROUTER, "meta/llama"),
        ({"default": "m", "base_url": "http://h:80/v1"}, "", "openai", "http://h:80/v1/chat/completions", "m"),
        ({"default": "m", "base_url": "http://h:80"}, "", "openai", "http://h:80/v1/chat/completions", "m"),
        ({"default": "m", "base_url": "http://h/chat/completions/"}, "", "openai", "http://h/chat/completions", "m"),
        ({"default": "m", "base_url": "http://h/anthropic"}, "", "anthropic", "http://h/anthropic/v1/messages", "m"),
        ({"base_url": "http://h/v1"}, "", "offline", "", "offline"),
        ({"base_url": "http://h/v1", "provider": "anthropic"}, "", "anthropic", "http://h/v1/messages", "offline"),
        ({"default": "m", "provider": "ollama"}, "", "openai", "http://127.0.0.1:11434/v1/chat/completions", "m"),
        ({"provider": "custom", "base_url": "http://h/x"}, "", "openai", "http://h/x/chat/completions", "offline"),
    ],
)  # fmt: skip
def test_base_url_model_and_keys_decide(model: dict[str, str], keys: str, wire: str, url: str, wanted: str) -> None:
    """Offline unless a model is named; then the endpoint whose key there is."""
    route = resolve(ModelConfig(**model), {name: KEYS[name] for name in keys.split()})  # type: ignore[arg-type]  # literals as text
    assert (route.wire, route.url, route.model) == (wire, url, wanted)


def test_a_key_goes_only_to_its_own_service() -> None:
    """Whatever the provider is called, the host that is asked decides; a key in the configuration goes first."""
    openrouter = ModelConfig(default="m", provider="openai", base_url="https://openrouter.ai/api/v1")
    assert resolve(openrouter, KEYS).key == KEYS["OPENROUTER_API_KEY"]
    assert resolve(ModelConfig(default="m", api_key="mine"), KEYS).key == "mine"
    assert "mine" not in repr(resolve(ModelConfig(default="m", api_key="mine"), KEYS))


def test_the_process_environment_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two profiles in one process must not see each other's keys."""
    monkeypatch.setenv("OPENAI_API_KEY", "leaked")
    assert resolve(ModelConfig(default="gpt-4o"), Secrets({})).key == ""


@pytest.mark.parametrize(
    ("model", "where"),
    [
        (ModelConfig(default="m", provider="opneai"), "provider"),
        (ModelConfig(default="m", base_url="localhost:8000"), "base_url"),
        (ModelConfig(default="m", base_url="ftp://h/v1"), "base_url"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(model: ModelConfig, where: str) -> None:
    """When it is loaded, not when the first message comes."""
    with pytest.raises(ConfigError) as caught:
        build_provider(Config(model=model), {})
    assert where in caught.value.where
    assert caught.value.next_step


async def test_a_missing_key_is_named_in_the_answer() -> None:
    """The profile starts; each request says which line of .env is missing, and a fallback may still answer."""
    request = ModelRequest(model="", system="", messages=[Message(role="user", text="hi")])
    keyless = ModelConfig(default="claude-x")
    provider = build_provider(Config(model=keyless), {})
    with pytest.raises(ProviderError, match="ANTHROPIC_API_KEY") as caught:
        await provider.complete(request, on_delta=lambda _: None)
    assert caught.value.kind == "auth"
    chain = build_provider(Config(model=keyless, fallback_providers=[ModelConfig()]), {})
    reply = await chain.complete(request, on_delta=lambda _: None)
    assert reply.provider == "offline"
    await chain.aclose()
