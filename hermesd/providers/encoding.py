"""What both wire formats need to make a stored conversation acceptable to a strict endpoint."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from hermesd.providers.base import ToolCall

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]")


def wire_name(name: str) -> str:
    """A tool name or call id as both APIs accept it (``[A-Za-z0-9_-]``, at most 128): a model may have made it up."""
    return _NOT_IN_A_NAME.sub("_", name)[:128] or "_"


def call_arguments(call: ToolCall) -> dict[str, object]:
    """The arguments as an object. Malformed ones are wrapped: many endpoints answer 400 or 500 to such a history."""
    try:
        arguments = msgspec.json.decode(call.arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        arguments = None
    return arguments if isinstance(arguments, dict) else {"malformed_arguments": call.arguments}
