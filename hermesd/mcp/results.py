"""A server's answer as text for a model: content blocks in order, bounded, without terminal controls.

Shapes: CallToolResult, ReadResourceResult, GetPromptResult, List…Result of the MCP schema, as plain data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from hermesd.mcp.sanitize import clean_result

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_TEXT = 64 * 1024  # characters of one result; of more, the middle is left out
MAX_LISTED = 500

Plain = dict[str, Any]  # JSON from a server, of any shape


def call_text(result: Plain) -> str:
    """A tool's result; structured content stands in where there are no blocks."""
    text = _blocks(_list(result.get("content")))
    if not text and result.get("structuredContent") is not None:
        text = msgspec.json.encode(result["structuredContent"]).decode()
    return bounded(text) or "[empty result]"


def resource_text(result: Plain) -> str:
    """The contents of a resource."""
    return bounded("\n".join(_contents(each) for each in _list(result.get("contents")))) or "[empty resource]"


def prompt_text(result: Plain) -> str:
    """A prompt's messages, each with its role."""
    parts = [str(result.get("description") or "")]
    for message in _list(result.get("messages")):
        content = message.get("content")
        blocks = content if isinstance(content, list) else [content]
        parts.append(f"{message.get('role', '')}: {_blocks(each for each in blocks if isinstance(each, dict))}")
    return bounded("\n".join(part for part in parts if part)) or "[empty prompt]"


def listing(items: object, *keys: str) -> str:
    """One line of JSON an item, with these keys of it."""
    rows = _list(items)
    lines = [
        msgspec.json.encode({key: row[key] for key in keys if row.get(key) is not None}).decode()
        for row in rows[:MAX_LISTED]
    ]
    if len(rows) > MAX_LISTED:
        lines.append(f"[{len(rows) - MAX_LISTED} more not shown]")
    return bounded("\n".join(lines)) or "[none]"


def bounded(text: str) -> str:
    """Clean text of at most MAX_TEXT characters."""
    if len(text) > MAX_TEXT:
        half = MAX_TEXT // 2
        text = f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"
    return clean_result(text)


def _blocks(blocks: Iterable[Mapping[str, Any]]) -> str:
    return "\n".join(_block(block) for block in blocks)


def _block(block: Mapping[str, Any]) -> str:
    kind = block.get("type")
    if kind == "text":
        return str(block.get("text") or "")
    if kind in ("image", "audio"):
        return f"[{kind}: {_short(block.get('mimeType'))}, {_bytes_of(block.get('data'))} bytes, not shown]"
    if kind == "resource":
        inner = block.get("resource")
        return _contents(inner) if isinstance(inner, dict) else ""
    if kind == "resource_link":
        return f"[resource {_short(block.get('uri'))}: {_short(block.get('name'))}]"
    return f"[a block of kind {_short(kind)}, not shown]"


def _contents(item: Mapping[str, Any]) -> str:
    if isinstance(item.get("text"), str):
        return str(item["text"])
    return (
        f"[{_short(item.get('uri'))}: {_short(item.get('mimeType'))}, {_bytes_of(item.get('blob'))} bytes, not shown]"
    )


def _bytes_of(data: object) -> int:
    """Bytes that base64 text stands for."""
    return len(data) * 3 // 4 if isinstance(data, str) else 0


def _short(value: object) -> str:
    return str(value or "?")[:256]


def _list(value: object) -> list[Plain]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
