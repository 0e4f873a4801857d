"""Which endpoint a ModelConfig means: wire format, URL, model and key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import msgspec

from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.config.schema import ModelConfig

Wire = Literal["offline", "openai", "anthropic"]


class Service(msgspec.Struct, frozen=True):
    """A well-known endpoint. ``models`` are the first letters of model names that only it serves."""

    wire: Wire
    base_url: str
    key_name: str = ""
    base_url_name: str = ""
    models: tuple[str, ...] = ()


SERVICES: dict[str, Service] = {
    "anthropic": Service(
        "anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", ("claude", "anthropic/")
    ),
    "openai": Service("openai", "https://api.openai.com/v1", "OPENAI_API_KEY", "OPENAI_BASE_URL"),
    "openrouter": Service("openai", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "OPENROUTER_BASE_URL"),
    "deepseek": Service("openai", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", models=("deepseek-",)),
    "gemini": Service(
        "openai",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "GEMINI_API_KEY",
        models=("gemini-", "gemma-"),
    ),
    "mistral": Service(
        "openai", "https://api.mistral.ai/v1", "MISTRAL_API_KEY", models=("mistral-", "codestral", "magistral")
    ),
    "groq": Service("openai", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "xai": Service("openai", "https://api.x.ai/v1", "XAI_API_KEY", models=("grok-",)),
    "ollama": Service("openai", "http://127.0.0.1:11434/v1", base_url_name="OLLAMA_BASE_URL"),
}
_CUSTOM = Service("openai", "", "OPENAI_API_KEY", "OPENAI_BASE_URL")


class Route(msgspec.Struct, frozen=True):
    """Where a request goes. ``key`` may be empty: then ``key_name`` is the .env name that would hold it, if any."""

    wire: Wire
    name: str
    model: str
    url: str = ""
    key: str = ""
    key_name: str = ""

    def __repr__(self) -> str:
        return f"Route({self.wire}, {self.model}, {self.url}, key {'set' if self.key else 'not set'})"

    @property
    def needs_key(self) -> bool:
        """Whether this is a public service that answers nobody without a key, and none is configured."""
        hosts = {urlsplit(service.base_url).hostname for service in SERVICES.values() if service.key_name}
        return not self.key and urlsplit(self.url).hostname in hosts


def resolve(model: ModelConfig, secrets: Mapping[str, str]) -> Route:
    """Decide by ``provider``, or under ``auto`` by base_url, model name and the keys there are.

    Keys come from ``model.api_key`` or ``secrets``, never from the process environment. Raises ConfigError for a
    provider nobody knows and a base_url that is no URL.
    """
    name = model.provider.strip().lower() or "auto"
    if name == "auto":
        name = _guess(model, secrets)
    if name == "offline":
        return Route("offline", "offline", "offline")
    service = SERVICES.get(name)
    if service is None:
        if not model.base_url:
            raise ConfigError(
                f"unknown provider {model.provider!r}",
                where="config.yaml: model.provider",
                next_step=f"Use one of auto, offline, {', '.join(SERVICES)}; or give model.base_url",
            )
        service = _CUSTOM
    base_url = model.base_url or secrets.get(service.base_url_name, "") or service.base_url
    key_name = _key_name(service, base_url)
    return Route(
        service.wire,
        name,
        model.default.removeprefix("anthropic/") if name == "anthropic" else model.default,
        _full_url(service.wire, base_url),
        (model.api_key or secrets.get(key_name, "")).strip(),
        key_name,
    )


def _guess(model: ModelConfig, secrets: Mapping[str, str]) -> str:
    wanted = model.default.strip().lower()
    if wanted == "offline" or not (wanted or model.base_url):
        return "offline"
    if model.base_url:
        return _by_url(model.base_url)
    for name, service in SERVICES.items():
        if secrets.get(service.key_name) and wanted.startswith(service.models):
            return name
    if secrets.get("OPENROUTER_API_KEY") and ("/" in wanted or not secrets.get("OPENAI_API_KEY")):
        return "openrouter"
    if wanted.startswith(("claude", "anthropic/")) and not secrets.get("OPENAI_API_KEY"):
        return "anthropic"
    return "openai"


def _by_url(base_url: str) -> str:
    parts = urlsplit(base_url)
    for name, service in SERVICES.items():
        if parts.hostname and parts.hostname == urlsplit(service.base_url).hostname and service.key_name:
            return name
    path = parts.path.rstrip("/")
    return "anthropic" if path.endswith(("/anthropic", "/anthropic/v1", "/messages")) else "openai"


def _key_name(service: Service, base_url: str) -> str:
    """The key of the host that is really asked, so that no service is sent another one's key."""
    host = urlsplit(base_url).hostname
    for known in SERVICES.values():
        if known.key_name and urlsplit(known.base_url).hostname == host:
            return known.key_name
    return service.key_name


def _full_url(wire: Wire, base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"not a URL: {base_url!r}",
            where="config.yaml: model.base_url",
            next_step="Write it as https://host/v1",
        )
    base = base_url.rstrip("/")
    if wire == "anthropic":
        if base.endswith("/messages"):
            return base
        return f"{base}/messages" if base.endswith("/v1") else f"{base}/v1/messages"
    if base.endswith("/chat/completions"):
        return base
    return f"{base}/chat/completions" if parts.path.strip("/") else f"{base}/v1/chat/completions"
