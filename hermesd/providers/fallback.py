"""A chain of models: the next one answers when one cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hermesd.providers.base import ProviderError, Restarted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hermesd.providers.base import Delta, ModelReply, ModelRequest, Provider


class Fallback:
    """Asks the providers in order. ``links`` are (provider, its model); the first also takes the request's own model.

    An overflow is not passed on: the conversation is too long, and the turn shortens it before anybody is asked again.
    Nor is a request that is meant for exactly its model.
    """

    def __init__(self, links: Sequence[tuple[Provider, str]]) -> None:
        self.name = links[0][0].name
        self._links = tuple(links)

    async def complete(self, request: ModelRequest, *, on_delta: Callable[[Delta], None]) -> ModelReply:
        """The first answer there is. Raises ProviderError, temporary if any of the chain may answer later."""
        failures: list[ProviderError] = []
        for position, (provider, model) in enumerate(self._links):
            if failures:
                on_delta(Restarted(reason=f"{failures[-1].what}; asking {model or provider.name} instead"))
            wanted = request.model if position == 0 and request.model else model
            try:
                return await provider.complete(msgspec.structs.replace(request, model=wanted), on_delta=on_delta)
            except ProviderError as failed:
                if failed.kind == "overflow" or request.exact:
                    raise
                failures.append(failed)
        raise _combined(failures)

    async def aclose(self) -> None:
        """Close all connections; idempotent."""
        for provider, _ in self._links:
            await provider.aclose()


def _combined(failures: list[ProviderError]) -> ProviderError:
    """One error for the chain: the first one's, or the first temporary one's, and what each said."""
    if len(failures) == 1:
        return failures[0]
    temporary = [failed for failed in failures if failed.temporary]
    leading = (temporary or failures)[0]
    waits = [failed.retry_after_s for failed in temporary if failed.retry_after_s]
    return ProviderError(
        "no model of the chain answered: " + "; ".join(f"{f.where or 'model'}: {f.what}" for f in failures),
        kind=leading.kind,
        next_step=leading.next_step,
        retry_after_s=min(waits, default=0.0),
    )
