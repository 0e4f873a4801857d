"""What a server may ask of us in a session, as the SDK's ClientSession takes it; what is switched off is not announced.

Imported with the first session: it needs the SDK's types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_types import SamplingCapability, SamplingToolsCapability

from hermesd.mcp.elicitation import Elicitation

if TYPE_CHECKING:
    from mcp.client import ClientRequestContext
    from mcp_types import CreateMessageRequestParams

    from hermesd.config.schema import McpServerConfig
    from hermesd.mcp.asking import CallsUnderWay
    from hermesd.mcp.elicitation import Record
    from hermesd.mcp.sampling import Result, Sampler


def session_callbacks(
    name: str, config: McpServerConfig, calls: CallsUnderWay, sampler: Sampler, record: Record
) -> dict[str, Any]:  # ClientSession's keyword arguments
    """``sampling_callback``, ``sampling_capabilities`` and ``elicitation_callback``, as far as they are switched on."""

    async def sample(_context: ClientRequestContext, params: CreateMessageRequestParams) -> Result:
        return await sampler.answer(calls, params)

    found: dict[str, Any] = {}
    if config.sampling.enabled:
        tools = SamplingToolsCapability() if config.sampling.max_tool_rounds else None
        found["sampling_callback"] = sample
        found["sampling_capabilities"] = SamplingCapability(tools=tools)
    if config.elicitation.enabled:
        found["elicitation_callback"] = Elicitation(name, calls, record)
    return found
