"""todo: the plan a model keeps for itself, stored with the session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from hermesd.tools.base import ToolResult
from hermesd.tools.schema import parameters_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.store.records import Effect
    from hermesd.tools.base import ToolContext

STATE_NAME = "todo"
MAX_ITEMS = 100
MARKS = {"pending": "[ ]", "in_progress": "[~]", "completed": "[x]", "cancelled": "[-]"}


class Item(msgspec.Struct, frozen=True):
    """One line of the list."""

    content: Annotated[str, msgspec.Meta(description="what is to be done", max_length=500)]
    status: Literal["pending", "in_progress", "completed", "cancelled"] = "pending"


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of ``todo``."""

    todos: (
        Annotated[
            list[Item], msgspec.Meta(description="the whole new list; leave out to read it", max_length=MAX_ITEMS)
        ]
        | msgspec.UnsetType
    ) = msgspec.UNSET


class Todo:
    """Read or replace the list. Replacing it twice by the same list is the same as once."""

    name = "todo"
    description = (
        "Your task list for this conversation. Give `todos` to replace the whole list (content, status: pending, "
        "in_progress, completed, cancelled), or nothing to read it. Use it for work of three steps or more."
    )
    parameters = parameters_of(Arguments)

    def effect(self, arguments: Mapping[str, object]) -> Effect:
        """Reading only reads; writing sets the whole list."""
        return "idempotent" if "todos" in arguments else "read_only"

    async def run(self, arguments: Mapping[str, object], context: ToolContext) -> ToolResult:
        """The list as it is now."""
        wanted = msgspec.convert(arguments, Arguments, strict=False).todos
        if wanted is not msgspec.UNSET:
            await context.state.set(STATE_NAME, msgspec.json.encode(wanted) if wanted else None)
            return ToolResult(_show(wanted))
        kept = await context.state.get(STATE_NAME)
        return ToolResult(_show(msgspec.json.decode(kept, type=list[Item]) if kept else []))


def _show(items: list[Item]) -> str:
    if not items:
        return "the list is empty"
    return "\n".join(f"{MARKS[item.status]} {item.content}" for item in items)


TOOLS = (Todo(),)
