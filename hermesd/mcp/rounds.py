"""Calls that a server answers by asking back first.

From 2026-07-28 on a server asks in its answer (InputRequiredResult) and the call is made again with what was answered.
At 2025-11-25 it may refuse a call until the user has been to an address (error -32042), and it is made once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import trio

if TYPE_CHECKING:
    from mcp import ClientSession
    from mcp.client import ClientRequestContext
    from mcp.shared.exceptions import MCPError
    from mcp_types import InputRequest, InputResponses
    from pydantic import BaseModel

MAX_ROUNDS = 10
PAUSE_S = 0.1  # between rounds in which nothing is asked, growing


class Request(Protocol):
    """A call of the session's, to be made with what was answered so far."""

    async def __call__(
        self, *, input_responses: InputResponses | None, request_state: str | None, allow_input_required: bool
    ) -> BaseModel:
        """The result, or an InputRequiredResult."""


async def answered(session: ClientSession, request: Request) -> BaseModel:
    """The final result of the call; raises MCPError, also when one of the server's own requests is refused."""
    from mcp.shared.exceptions import MCPError
    from mcp_types import URL_ELICITATION_REQUIRED

    try:
        return await _rounds(session, request)
    except MCPError as error:
        if error.code != URL_ELICITATION_REQUIRED or not await _visited(session, error):
            raise
    return await _rounds(session, request)


async def _rounds(session: ClientSession, request: Request) -> BaseModel:
    from mcp.shared.exceptions import MCPError
    from mcp_types import INVALID_REQUEST, InputRequiredResult

    responses: InputResponses | None = None
    state: str | None = None
    for number in range(MAX_ROUNDS + 1):
        result = await request(input_responses=responses, request_state=state, allow_input_required=True)
        if not isinstance(result, InputRequiredResult):
            return result
        state = result.request_state
        responses = await _responses(session, result.input_requests) if result.input_requests else None
        if responses is None:
            await trio.sleep(min(PAUSE_S * 2**number, 5.0))
    raise MCPError(code=INVALID_REQUEST, message=f"it asked back more than {MAX_ROUNDS} times")


async def _responses(session: ClientSession, requests: dict[str, InputRequest]) -> InputResponses:
    """What the callbacks answer, one after the other: most are questions to one person."""
    from mcp.shared.exceptions import MCPError
    from mcp_types import ErrorData

    found: InputResponses = {}
    for key, request in requests.items():
        answer = await session.dispatch_input_request(_context(session, key), request)
        if isinstance(answer, ErrorData):
            raise MCPError.from_error_data(answer)
        found[key] = answer
    return found


async def _visited(session: ClientSession, error: MCPError) -> bool:
    """Whether the user has been to every address that the call depends on."""
    from mcp_types import ElicitationRequiredErrorData, ElicitRequest, ElicitResult

    try:
        wanted = ElicitationRequiredErrorData.model_validate(error.data)
    except ValueError:
        return False
    for params in wanted.elicitations[:MAX_ROUNDS]:
        answer = await session.dispatch_input_request(_context(session, ""), ElicitRequest(params=params))
        if not isinstance(answer, ElicitResult) or answer.action != "accept":
            return False
    return bool(wanted.elicitations)


def _context(session: ClientSession, key: Any) -> ClientRequestContext:  # noqa: ANN401 - a server's own key
    from mcp.client.session import ClientRequestContext  # from the package it would bring the half for servers

    return ClientRequestContext(session=session, request_id=key)
