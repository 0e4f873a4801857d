"""What a model provider is, and the neutral records that turns, journal and wire formats share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from hermesd.errors import HermesError

if TYPE_CHECKING:
    from collections.abc import Callable

Role = Literal["system", "user", "assistant", "tool"]
StopReason = Literal["stop", "tool_calls", "length", "refusal"]


class ToolCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call the model asks for. ``arguments`` is JSON text exactly as received: it may be malformed."""

    id: str
    name: str
    arguments: str


class ReasoningBlock(msgspec.Struct, frozen=True, omit_defaults=True):
    """Thinking that must be handed back unchanged (Anthropic: ``signature`` or ``redacted`` data).

    ``origin`` names the wire format or field it came in; no other wire format is ever shown it.
    """

    text: str = ""
    signature: str = ""
    redacted: str = ""
    origin: str = ""


class Message(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One message of a conversation. A ``tool`` message answers ``tool_call_id``."""

    role: Role
    text: str = ""
    tool_calls: list[ToolCall] = []
    tool_call_id: str = ""
    is_error: bool = False
    reasoning: list[ReasoningBlock] = []


class ToolDefinition(msgspec.Struct, frozen=True):
    """A tool as a model sees it; ``parameters`` is a JSON Schema object."""

    name: str
    description: str
    parameters: dict[str, object]


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens as the endpoint counted them; 0 when it did not say."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that goes to a model. ``system`` stands apart because the wire formats differ on it.

    ``exact``: the named model answers, or none does.
    """

    model: str
    system: str
    messages: list[Message]
    tools: list[ToolDefinition] = []
    max_output_tokens: int = 0
    reasoning_effort: str = ""
    exact: bool = False


class ModelReply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A complete answer. An answer whose stream ended without a finish reason never becomes a ModelReply."""

    text: str
    tool_calls: list[ToolCall] = []
    reasoning: list[ReasoningBlock] = []
    stop: StopReason = "stop"
    usage: Usage = Usage()
    model: str = ""
    provider: str = ""


class TextDelta(msgspec.Struct, frozen=True, tag="text"):
    """More of the answer."""

    text: str


class ReasoningDelta(msgspec.Struct, frozen=True, tag="reasoning"):
    """More of the thinking."""

    text: str


class Restarted(msgspec.Struct, frozen=True, tag="restarted"):
    """The attempt broke and another begins: what was streamed so far is void. ``delay_s`` until the next attempt."""

    reason: str
    delay_s: float = 0.0


Delta = TextDelta | ReasoningDelta | Restarted

ProviderErrorKind = Literal["unavailable", "rate_limited", "auth", "overflow", "refused", "malformed"]
"""unavailable, rate_limited: the message waits and is answered later. auth, refused: the user is told what to do.
overflow: the prompt is too long for the model. malformed: the endpoint does not speak the protocol."""


class ProviderError(HermesError):
    """A model endpoint failed after all retries and fallbacks. ``retry_after_s`` is the endpoint's own wish, or 0."""

    rpc_code = -32010

    def __init__(
        self, what: str, *, kind: ProviderErrorKind, where: str = "", next_step: str = "", retry_after_s: float = 0.0
    ) -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.kind = kind
        self.retry_after_s = retry_after_s

    @property
    def temporary(self) -> bool:
        """Whether the same request may succeed later."""
        return self.kind in ("unavailable", "rate_limited")


class Provider(Protocol):
    """A model endpoint, or a chain of them."""

    name: str

    async def complete(self, request: ModelRequest, *, on_delta: Callable[[Delta], None]) -> ModelReply:
        """Ask once (with retries inside); ``on_delta`` is called on the loop as the answer streams in.

        Raises ProviderError. Cancellation closes the connection at once and raises trio.Cancelled.
        """

    async def aclose(self) -> None:
        """Close connections; idempotent."""
