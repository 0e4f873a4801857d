"""A server's use of our model (sampling/createMessage): allowed, bounded, counted, and never part of a conversation.

Spec: MCP 2025-11-25, client/sampling. The owner pays, so nothing goes to the model that was not switched on, and the
person whose call is under way is asked first (``sampling.ask``).
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Literal

import trio

from hermesd.errors import HermesError
from hermesd.mcp import sampling_messages
from hermesd.mcp.sampling_messages import RequestError
from hermesd.providers.base import ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcp_types import CreateMessageRequestParams, CreateMessageResult, CreateMessageResultWithTools, ErrorData

    from hermesd.config.schema import McpSamplingConfig
    from hermesd.mcp.asking import CallsUnderWay, CallUnderWay
    from hermesd.mcp.elicitation import Record
    from hermesd.providers.base import ModelReply, ModelRequest, Provider

    Result = CreateMessageResult | CreateMessageResultWithTools | ErrorData

log = logging.getLogger("hermesd.mcp")

YES = frozenset({"yes", "y", "ok", "allow", "approve", "once"})
WINDOW_S = 60.0
USER_REJECTED = -1  # as the specification's example has it
NOT_NOW = -32000  # JSON-RPC 2.0, section 5.1: server range
INVALID = -32602
FAILED = -32603


class RefusedError(Exception):
    """The request is not answered. ``reason`` is a word for the event."""

    def __init__(self, text: str, *, code: int, reason: str) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason


class RateLimit:
    """At most ``per_minute`` in any 60 s of monotonic time."""

    def __init__(self, per_minute: int) -> None:
        self._times: deque[float] = deque()
        self._per_minute = per_minute
        self._told = False

    def take(self) -> bool:
        """Whether one more may go; it is then counted."""
        now = trio.current_time()
        while self._times and self._times[0] <= now - WINDOW_S:
            self._times.popleft()
        if len(self._times) >= self._per_minute:
            return False
        self._times.append(now)
        self._told = False
        return True

    def wait_s(self) -> float:
        """Seconds until one more may go."""
        return max(0.0, self._times[0] + WINDOW_S - trio.current_time()) if self._times else 0.0

    def is_news(self) -> bool:
        """Whether this is the first refusal in a row: a server that insists must not fill the event log."""
        news, self._told = not self._told, True
        return news


class Sampler:
    """What one server may ask of the model; it outlives the server's sessions.

    ``model`` gives the profile's provider and the name of its model as they are now, ``record`` keeps events.
    """

    def __init__(
        self, name: str, config: McpSamplingConfig, model: Callable[[], tuple[Provider, str]], record: Record
    ) -> None:
        self._name = name
        self._config = config
        self._model = model
        self._record = record
        self._limit = RateLimit(config.max_rpm)
        self._allowed_sessions: set[str] = set()
        self._in_use: list[Provider] = []

    def uses(self, provider: Provider) -> bool:
        """Whether a request is on its way to this provider."""
        return any(each is provider for each in self._in_use)

    async def answer(self, calls: CallsUnderWay, params: CreateMessageRequestParams) -> Result:
        """The SDK's ``sampling_callback``. Whatever becomes of the request is an event, without the texts."""
        from mcp_types import ErrorData

        began = trio.current_time()
        data: dict[str, object] = {"server": self._name, "max_tokens": self._tokens(params.max_tokens)}
        try:
            result = await self._answer(calls, params, data)
        except RefusedError as refused:
            if refused.reason != "rate" or self._limit.is_news():
                await self._note({**data, "outcome": refused.reason}, began)
            return ErrorData(code=refused.code, message=str(refused))
        await self._note({**data, "outcome": "answered"}, began)
        return result

    async def _answer(
        self, calls: CallsUnderWay, params: CreateMessageRequestParams, data: dict[str, object]
    ) -> Result:
        """Raises RefusedError. ``data`` is filled in on the way."""
        if not self._limit.take():
            text = f"at most {self._config.max_rpm} requests a minute; try again in {self._limit.wait_s():.0f} s"
            raise RefusedError(text, code=NOT_NOW, reason="rate")
        try:
            conversation = sampling_messages.read(params, max_tool_rounds=self._config.max_tool_rounds)
        except RequestError as error:
            raise RefusedError(str(error), code=INVALID, reason="invalid") from None
        provider, own = self._model()
        data["model"] = model = choose(self._config, own, _hints(params))
        request = conversation.request(
            self._name,
            model=model,
            max_tokens=self._tokens(params.max_tokens),
            exact=bool(self._config.allowed_models),
        )
        await self._permission(calls, request)
        reply = await self._complete(provider, request)
        data["model"] = reply.model or model
        data["input_tokens"], data["output_tokens"] = reply.usage.input_tokens, reply.usage.output_tokens
        try:
            return conversation.result(reply, model=reply.model or model)
        except RequestError as error:
            raise RefusedError(str(error), code=FAILED, reason="failed") from None

    def _tokens(self, wanted: int) -> int:
        return max(1, min(wanted, self._config.max_tokens_cap))

    # -- permission --------------------------------------------------------------------------------------------------

    async def _permission(self, calls: CallsUnderWay, request: ModelRequest) -> None:
        """Ask the person whose call this is, if the configuration says so; raises RefusedError.

        Outside a call, and where nobody can be asked, the owner's ``enabled: true`` is the permission. Where it cannot
        be told whose call it is, all of them must have allowed it before.
        """
        attended = [call for call in calls.candidates() if call.attended]
        if self._config.ask == "never" or not attended:
            return
        if (call := calls.concerned()) is None:
            if self._config.ask == "session" and all(self._is_allowed(each) for each in attended):
                return
            raise RefusedError(
                "several calls are under way: whose user is to allow it?", code=NOT_NOW, reason="refused"
            )
        allowed = False
        with call.asking() as turn:
            async with turn:  # a second request of the call waits for what the first one is told
                allowed = await self._allowed(call, request)
        if not allowed:
            raise RefusedError("the user does not allow it", code=USER_REJECTED, reason="refused")

    def _is_allowed(self, call: CallUnderWay) -> bool:
        """Whether its user has said so before."""
        return call.allowed is True or (call.context is not None and call.context.session_id in self._allowed_sessions)

    async def _allowed(self, call: CallUnderWay, request: ModelRequest) -> bool:
        """What the user said to this server in this session or call, or says now."""
        if self._config.ask == "each":
            return _means(await call.ask(self._question(request), ["yes", "no"])) != "no"
        if call.allowed is None and not self._is_allowed(call):
            meant = _means(await call.ask(self._question(request), ["yes", "no", "always"]))
            call.allowed = meant != "no"
            if meant == "always" and call.context is not None:
                self._allowed_sessions.add(call.context.session_id)
        return self._is_allowed(call)

    def _question(self, request: ModelRequest) -> str:
        size = sum(len(message.text) for message in request.messages)
        text = f"The MCP server {self._name} wants to use your model ({request.model}): {size:,} characters to it, "
        text += f"at most {request.max_output_tokens:,} tokens back. Allow it?"
        if self._config.ask == "session":
            text += "\nyes and no hold for this call, always for the rest of this session."
        return text

    # -- the model ---------------------------------------------------------------------------------------------------

    async def _complete(self, provider: Provider, request: ModelRequest) -> ModelReply:
        """The model's answer within the time; raises RefusedError, which tells nothing of how it is reached."""
        self._in_use.append(provider)
        try:
            with trio.move_on_after(self._config.timeout):
                return await provider.complete(request, on_delta=lambda _: None)
        except ProviderError as error:
            log.warning("mcp/%s: sampling: %s", self._name, error)
            raise RefusedError(f"the model did not answer ({error.kind})", code=FAILED, reason="failed") from None
        finally:
            self._in_use.remove(provider)
        text = f"the model did not answer within {self._config.timeout:g} s"
        raise RefusedError(text, code=NOT_NOW, reason="timeout")

    async def _note(self, data: dict[str, object], began: float) -> None:
        data["elapsed_s"] = round(trio.current_time() - began, 3)
        try:
            await self._record("mcp.sampling", data)
        except HermesError as error:  # a full disk must not cost the answer that is paid for already
            log.warning("mcp/%s: an event of sampling could not be kept: %s", self._name, error)


def _means(answer: str | None) -> Literal["yes", "no", "always"]:
    """Anything unclear, and silence, is no."""
    word = (answer or "").strip().casefold().lstrip("/").rstrip(".!")
    if word == "always":
        return "always"
    return "yes" if word in YES else "no"


def choose(config: McpSamplingConfig, own: str, hints: Sequence[str]) -> str:
    """The model for a request: the first that a hint names a part of, among those the owner allows; else ours.

    The owner's ``model`` is always allowed; the profile's is unless ``allowed_models`` leaves it out.
    """
    first = config.model or (own if not config.allowed_models or own in config.allowed_models else "")
    candidates = list(dict.fromkeys([*([first] if first else []), *config.allowed_models]))
    for hint in hints:
        for name in candidates:
            if hint and hint.casefold() in name.casefold():
                return name
    return candidates[0]


def _hints(params: CreateMessageRequestParams) -> list[str]:
    preferences = params.model_preferences
    return [hint.name or "" for hint in preferences.hints or []] if preferences else []
