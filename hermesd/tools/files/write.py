"""write_file: make a file's contents exactly this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from hermesd.tools.files.paths import Reach
from hermesd.tools.files.replace import encode, replace_file
from hermesd.tools.files.work import in_thread
from hermesd.tools.schema import parameters_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.store.records import Effect
    from hermesd.tools.base import ToolContext, ToolResult


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of ``write_file``."""

    path: Annotated[str, msgspec.Meta(description="file, relative to the workspace", min_length=1)]
    content: Annotated[str, msgspec.Meta(description="the whole new contents")]


class WriteFile:
    """Write a whole file, atomically."""

    name = "write_file"
    description = (
        "Make a file of the workspace hold exactly `content`, creating it and its directories if needed. "
        "To change a part of a file, use patch_file."
    )
    parameters = parameters_of(Arguments)

    def effect(self, arguments: Mapping[str, object]) -> Effect:
        """The same contents written twice are the same file."""
        return "idempotent"

    async def run(self, arguments: Mapping[str, object], context: ToolContext) -> ToolResult:
        """How many bytes were written."""
        wanted = msgspec.convert(arguments, Arguments, strict=False)
        reach = Reach.of(context)
        return await in_thread(lambda: _write(reach, wanted), reads_only=False)


def _write(reach: Reach, wanted: Arguments) -> str:
    data = encode(wanted.content, "the content")
    with reach.locate(wanted.path, write=True, create_parents=True) as located:
        created = replace_file(located, data)
    return f"{'created' if created else 'replaced'} {wanted.path} ({len(data)} bytes)"


TOOLS = (WriteFile(),)
