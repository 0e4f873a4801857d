"""A ModelRequest as the body of an OpenAI chat completion.

https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from hermesd.providers.encoding import call_arguments, wire_name

if TYPE_CHECKING:
    from hermesd.providers.base import Message, ModelRequest, ToolCall, ToolDefinition

Body = dict[str, object]
_REASONING_FIELDS = ("reasoning_content", "reasoning")


def encode_request(request: ModelRequest, *, model: str, url: str) -> bytes:
    """The JSON body. Equal requests give equal bytes, so a retry is recognisable as one."""
    messages: list[Body] = []
    if request.system:
        messages.append({"role": "system", "content": request.system})
    messages.extend(_message(message) for message in request.messages)
    body: Body = {
        "model": model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if request.max_output_tokens:
        # OpenAI's own models refuse max_tokens; nearly everybody else knows only that.
        own = urlsplit(url).hostname == "api.openai.com"
        body["max_completion_tokens" if own else "max_tokens"] = request.max_output_tokens
    if request.reasoning_effort:
        body["reasoning_effort"] = request.reasoning_effort
    return msgspec.json.encode(body)


def _message(message: Message) -> Body:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": wire_name(message.tool_call_id), "content": message.text}
    if message.role != "assistant" or not message.tool_calls:
        return {"role": message.role, "content": message.text}
    body: Body = {
        "role": "assistant",
        "content": message.text or None,
        "tool_calls": [_call(call) for call in message.tool_calls],
    }
    for block in message.reasoning:
        # DeepSeek answers 400 when the thinking before a tool call is missing; endpoints without it ignore the field.
        if block.origin in _REASONING_FIELDS:
            body[block.origin] = block.text
    return body


def _call(call: ToolCall) -> Body:
    arguments = call_arguments(call)
    text = msgspec.json.encode(arguments).decode() if "malformed_arguments" in arguments else call.arguments
    return {
        "id": wire_name(call.id),
        "type": "function",
        "function": {"name": wire_name(call.name), "arguments": text},
    }


def _tool(tool: ToolDefinition) -> Body:
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
    }
