"""A ModelRequest as the body of an Anthropic message.

https://docs.anthropic.com/en/api/messages. All results of one round of tool calls stand in one user message, thinking
goes back exactly as it came, and nothing empty is sent: the API refuses empty text blocks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from hermesd.providers.encoding import call_arguments, wire_name

if TYPE_CHECKING:
    from hermesd.providers.base import Message, ModelRequest, ReasoningBlock, ToolDefinition

Block = dict[str, object]
Blocks = list[tuple[str, list[Block]]]

ORIGIN = "anthropic"
DEFAULT_MAX_TOKENS = 16_384
_CLAUDE_3_MAX_TOKENS = 4_096
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384}
_THINKS_BY_BUDGET = re.compile(r"claude-(3-7|(opus|sonnet|haiku)-4(-[0-5])?(-20\d{6})?$)")
_CACHE: Block = {"type": "ephemeral"}


def encode_request(request: ModelRequest, *, model: str) -> bytes:
    """The JSON body. Equal requests give equal bytes, so a retry is recognisable as one."""
    system = [request.system, *(message.text for message in request.messages if message.role == "system")]
    conversation = _conversation(request.messages)
    body: Block = {
        "model": model,
        "max_tokens": request.max_output_tokens or _default_max_tokens(model),
        "stream": True,
        "messages": [{"role": role, "content": blocks} for role, blocks in conversation],
    }
    text = "\n\n".join(part for part in system if part)
    if text:
        body["system"] = [{"type": "text", "text": text, "cache_control": _CACHE}]
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if request.reasoning_effort and not _lost_its_thinking(conversation):
        _think(body, model, request.reasoning_effort)
    return msgspec.json.encode(body)


def _default_max_tokens(model: str) -> int:
    return _CLAUDE_3_MAX_TOKENS if model.startswith("claude-3-") else DEFAULT_MAX_TOKENS


def _think(body: Block, model: str, effort: str) -> None:
    """Ask for thinking: by a token budget up to Claude 4.5, adaptively from 4.6 on."""
    if not _THINKS_BY_BUDGET.match(model):
        body["thinking"] = {"type": "adaptive"}
        body["output_config"] = {"effort": "low" if effort == "minimal" else effort}
        return
    budget = _BUDGETS.get(effort, _BUDGETS["high"])
    body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    body["max_tokens"] = max(int(str(body["max_tokens"])), budget + 4096)


def _conversation(messages: list[Message]) -> Blocks:
    """Messages as alternating turns of blocks, the first one the user's, the last block marked for the cache."""
    turns: Blocks = []
    for message in messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message)
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        elif blocks:
            turns.append((role, blocks))
    if not turns or turns[0][0] != "user":
        turns.insert(0, ("user", [{"type": "text", "text": "(earlier messages are left out)"}]))
    last = turns[-1][1][-1]
    if last["type"] in ("text", "tool_result"):
        last["cache_control"] = _CACHE
    return turns


def _blocks(message: Message) -> list[Block]:
    if message.role == "tool":
        result: Block = {
            "type": "tool_result",
            "tool_use_id": wire_name(message.tool_call_id),
            "content": message.text,
        }
        return [result | {"is_error": True}] if message.is_error else [result]
    blocks = [_thinking(block) for block in message.reasoning if _ours(block)]
    if message.text.strip():
        blocks.append({"type": "text", "text": message.text})
    blocks.extend(
        {"type": "tool_use", "id": wire_name(call.id), "name": wire_name(call.name), "input": call_arguments(call)}
        for call in message.tool_calls
    )
    return blocks


def _ours(block: ReasoningBlock) -> bool:
    """Whether the API would take it back: it checks the signature of thinking."""
    return block.origin == ORIGIN and bool(block.signature or block.redacted)


def _thinking(block: ReasoningBlock) -> Block:
    if block.redacted:
        return {"type": "redacted_thinking", "data": block.redacted}
    return {"type": "thinking", "thinking": block.text, "signature": block.signature}


def _lost_its_thinking(turns: Blocks) -> bool:
    """Whether a round of tool calls is open that began without thinking (another model made it): then 400 follows."""
    if len(turns) < 2 or turns[-1][1][0]["type"] != "tool_result":
        return False
    return turns[-2][1][0]["type"] not in ("thinking", "redacted_thinking")


def _tool(tool: ToolDefinition) -> Block:
    return {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
