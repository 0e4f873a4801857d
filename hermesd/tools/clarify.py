"""clarify: ask the person a question and wait for the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from hermesd.tools.base import ToolResult
from hermesd.tools.schema import parameters_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.store.records import Effect
    from hermesd.tools.base import ToolContext


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of ``clarify``."""

    question: Annotated[
        str, msgspec.Meta(description="one question, complete in itself", min_length=1, max_length=2000)
    ]
    options: Annotated[
        list[Annotated[str, msgspec.Meta(max_length=200)]],
        msgspec.Meta(description="answers to choose from, if there are a few", max_length=10),
    ] = []


class Clarify:
    """A question to the user. It changes nothing, and the same call is only ever asked once (by its turn's journal)."""

    name = "clarify"
    description = (
        "Ask the user a question when you cannot go on without the answer. Gives their answer. "
        "Do not ask what you can find out yourself."
    )
    parameters = parameters_of(Arguments)

    def effect(self, arguments: Mapping[str, object]) -> Effect:
        """Asking changes nothing."""
        return "read_only"

    async def run(self, arguments: Mapping[str, object], context: ToolContext) -> ToolResult:
        """The answer, or an error when nobody gave one."""
        wanted = msgspec.convert(arguments, Arguments, strict=False)
        answer = await context.ask(wanted.question, wanted.options)
        if answer is None:
            return ToolResult("nobody answered; go on with what is safest, and say what you assumed", is_error=True)
        return ToolResult(answer)


TOOLS = (Clarify(),)
