"""From configuration to a provider: the chain of models, each with its retries."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import trio

from hermesd.providers.base import ProviderError
from hermesd.providers.fallback import Fallback
from hermesd.providers.retry import BACKOFF_S, Retrying
from hermesd.providers.routes import resolve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from hermesd.config.schema import Config, ModelConfig
    from hermesd.providers.base import Delta, ModelReply, ModelRequest, Provider
    from hermesd.providers.routes import Route

_ANTHROPIC_VERSION = "2023-06-01"


def build_provider(
    config: Config,
    secrets: Mapping[str, str],
    *,
    backoff_s: float = BACKOFF_S,
    sleep: Callable[[float], Awaitable[None]] = trio.sleep,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Provider:
    """The provider a profile asks: ``config.model``, then ``config.fallback_providers`` in order.

    Opens nothing: connections come with the first request. A missing key is not an error here but an answer
    (ProviderError, kind auth) to each request, so that a profile can start without. Raises ConfigError.
    """
    links: list[tuple[Provider, str]] = []
    for model in (config.model, *config.fallback_providers):
        route = resolve(model, secrets)
        leg = _leg(route, model)
        if route.wire != "offline":
            leg = Retrying(leg, max_attempts=model.max_attempts, backoff_s=backoff_s, sleep=sleep, uniform=uniform)
        links.append((leg, route.model))
    return Fallback(links)


def _leg(route: Route, model: ModelConfig) -> Provider:
    """One model without retries. Each wire format is imported only where it is used."""
    if route.wire == "offline":
        from hermesd.providers.offline import OfflineProvider

        return OfflineProvider()
    if route.needs_key:
        return _Keyless(route)
    from hermesd.providers.http import Endpoint

    endpoint = Endpoint(
        route.url,
        headers=_headers(route),
        secret=route.key,
        connect_timeout_s=model.connect_timeout_s,
        read_timeout_s=model.read_timeout_s,
    )
    if route.wire == "anthropic":
        from hermesd.providers.anthropic import AnthropicProvider

        return AnthropicProvider(endpoint, model=route.model, name=route.name)
    from hermesd.providers.openai import OpenAIProvider

    return OpenAIProvider(endpoint, model=route.model, name=route.name)


def _headers(route: Route) -> dict[str, str]:
    if route.wire == "anthropic":
        version = {"anthropic-version": _ANTHROPIC_VERSION}
        return version | ({"x-api-key": route.key} if route.key else {})
    return {"authorization": f"Bearer {route.key}"} if route.key else {}


class _Keyless:
    """Stands where a key is missing and says which."""

    def __init__(self, route: Route) -> None:
        self.name = route.name
        self._route = route

    async def complete(self, request: ModelRequest, *, on_delta: Callable[[Delta], None]) -> ModelReply:
        """Raise ProviderError (auth)."""
        await trio.lowlevel.checkpoint()
        raise ProviderError(
            f"there is no key for {request.model or self._route.model}",
            kind="auth",
            where=self._route.name,
            next_step=f"Put {self._route.key_name}=… into .env, then: hermesctl reload; or set model.default: offline",
        )

    async def aclose(self) -> None:
        """Nothing is open."""
