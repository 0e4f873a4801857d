"""``home_channel`` as a mapping, which is how a hermes-agent home may write it: chat_id, thread_id, platform, name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.config.document import Mapping, Scalar

if TYPE_CHECKING:
    from hermesd.config.document import Node

KEYS = ("chat_id", "thread_id", "platform", "name")


def as_text(node: Mapping, platform: str) -> Scalar:
    """``chat`` or ``chat:thread``. Raises ValueError saying what is wrong, and what to write."""
    for key, value in node.values.items():
        if key not in KEYS:
            raise ValueError(f"has an unknown key {key[:40]!r}", f"known keys: {', '.join(KEYS)}")
        if not isinstance(value, Scalar):
            raise ValueError(f"{key} must be one word", f"write {key}: VALUE")  # noqa: TRY004 - of a file, not a type
    chat, thread = _text(node.values.get("chat_id")), _text(node.values.get("thread_id"))
    if not chat:
        raise ValueError("has no chat_id", "add chat_id: CHAT")
    named = _text(node.values.get("platform"))
    if named not in ("", platform):
        raise ValueError(f"is on {named[:40]!r}", f"write platform: {platform}, or leave it out")
    return Scalar(f"{chat}:{thread}" if thread else chat, node.line)


def _text(node: Node | None) -> str:
    return node.text if isinstance(node, Scalar) and not node.is_null else ""
