"""patch_file: replace one text by another in a file, safely repeatable.

A patch is declared ``idempotent``, so a call cut by a crash is simply run again. That holds because of two rules:

1. where every ``old`` that is found lies within a ``new`` that is there already, the patch has been applied: nothing
   is changed, and that is said;
2. a patch after which rule 1 would not hold (its result would match again) is refused before anything is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from hermesd.tools.files.paths import PathError, Reach
from hermesd.tools.files.replace import encode, read_whole, replace_file
from hermesd.tools.files.work import in_thread
from hermesd.tools.schema import parameters_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.store.records import Effect
    from hermesd.tools.base import ToolContext, ToolResult

MAX_FILE_BYTES = 10 * 1024 * 1024
State = Literal["absent", "applied", "applicable"]


class Arguments(msgspec.Struct, forbid_unknown_fields=True, rename={"every": "all"}):
    """Arguments of ``patch_file``."""

    path: Annotated[str, msgspec.Meta(description="file, relative to the workspace", min_length=1)]
    old: Annotated[
        str, msgspec.Meta(description="exact text to replace; must occur once, unless all is true", min_length=1)
    ]
    new: Annotated[str, msgspec.Meta(description="text to put in its place")]
    every: Annotated[bool, msgspec.Meta(description="replace every occurrence")] = False


class PatchFile:
    """Replace a piece of a text file."""

    name = "patch_file"
    description = (
        "Replace the exact text `old` by `new` in a file of the workspace. `old` must occur exactly once "
        "(give enough lines around it), or set `all`."
    )
    parameters = parameters_of(Arguments)

    def effect(self, arguments: Mapping[str, object]) -> Effect:
        """Run twice it is as run once: see the module's two rules."""
        return "idempotent"

    async def run(self, arguments: Mapping[str, object], context: ToolContext) -> ToolResult:
        """What was replaced, and how often."""
        wanted = msgspec.convert(arguments, Arguments, strict=False)
        reach = Reach.of(context)
        return await in_thread(lambda: _patch(reach, wanted), reads_only=False)


def _patch(reach: Reach, wanted: Arguments) -> str:
    old, new = encode(wanted.old, "old"), encode(wanted.new, "new")
    with reach.locate(wanted.path, write=True) as located:
        data = read_whole(located, max_bytes=MAX_FILE_BYTES)
        if 0 < data.count(b"\n") == data.count(b"\r\n"):  # the model writes \n, the file's lines all end in \r\n
            old, new = (text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for text in (old, new))
        result, count = patched(data, old, new, every=wanted.every)
        if count == 0:
            return f"{wanted.path} reads so already; nothing was changed"
        replace_file(located, result)
    return f"replaced {count} {'place' if count == 1 else 'places'} in {wanted.path}"


def patched(data: bytes, old: bytes, new: bytes, *, every: bool) -> tuple[bytes, int]:
    """The new contents and how many places changed; 0 when the patch has been applied before. Raises PathError."""
    if old == new:
        raise PathError("old and new are the same text")
    match _state(data, old, new):
        case "applied":
            return data, 0
        case "absent":
            hint = "read it again, and copy the text exactly" if new else "it may have been removed already"
            raise PathError(f"old does not occur in the file; {hint}")
    count = data.count(old)
    if count > 1 and not every:
        raise PathError(f"old occurs {count} times; give more of the text around it, or set all")
    result = data.replace(old, new)
    if _state(result, old, new) == "applicable":
        raise PathError("after this change old would occur again; give more of the text around it")
    return result, count


def _state(data: bytes, old: bytes, new: bytes) -> State:
    """Where the patch stands with these contents."""
    if old not in data:
        return "applied" if new and new in data else "absent"
    if old in new and not any(old in piece for piece in data.split(new)):
        return "applied"
    return "applicable"


TOOLS = (PatchFile(),)
