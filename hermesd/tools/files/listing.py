"""list_files: what is in a directory."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Annotated

import msgspec

from hermesd.tools.files.matching import printable
from hermesd.tools.files.paths import PathError, Reach
from hermesd.tools.files.tree import MAX_DEPTH, SKIPPED_DIRECTORIES, Budget, Entry, matches, walk
from hermesd.tools.files.work import in_thread
from hermesd.tools.schema import parameters_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.store.records import Effect
    from hermesd.tools.base import ToolContext, ToolResult

MAX_LISTED = 1000
Meta = msgspec.Meta


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of ``list_files``."""

    path: Annotated[str, Meta(description="directory, relative to the workspace")] = "."
    glob: Annotated[str, Meta(description="only files like this: *.py, src/**/*.ts")] = ""
    recursive: Annotated[bool, Meta(description="also what is in directories below")] = False


class ListFiles:
    """List a directory or a tree."""

    name = "list_files"
    description = (
        f"List a directory of the workspace (or, recursive, the tree below it): one path a line, directories with a "
        f"slash, files with their size in bytes; at most {MAX_LISTED}. Not entered: "
        f"{', '.join(sorted(SKIPPED_DIRECTORIES))}."
    )
    parameters = parameters_of(Arguments)

    def effect(self, arguments: Mapping[str, object]) -> Effect:
        """Listing changes nothing."""
        return "read_only"

    async def run(self, arguments: Mapping[str, object], context: ToolContext) -> ToolResult:
        """The listing, and a last line in brackets when it is not complete."""
        wanted = msgspec.convert(arguments, Arguments, strict=False)
        reach = Reach.of(context)
        budget = Budget()
        try:
            return await in_thread(lambda: _list(reach, wanted, budget), reads_only=True)
        finally:
            budget.stop.set()


def _list(reach: Reach, wanted: Arguments, budget: Budget) -> str:
    lines: list[str] = []
    with reach.locate(wanted.path) as located:
        if located.name:
            raise PathError(f"{wanted.path!r} is not a directory, or does not exist")
        for entry in walk(located, budget, depth=MAX_DEPTH if wanted.recursive else 1):
            if not matches(wanted.glob, entry):
                continue
            if len(lines) == MAX_LISTED:
                budget.spent = f"only the first {MAX_LISTED} are shown"
                break
            lines.append(_line(entry))
    if budget.spent:
        lines.append(f"[the list is not complete: {budget.spent}]")
    return "\n".join(lines) or "[nothing found]"


def _line(entry: Entry) -> str:
    shown = printable(entry.path)
    if entry.is_directory:
        return shown + "/"
    if entry.is_file:
        return f"{shown}  {entry.found.st_size}"
    return f"{shown}  [{'link' if stat.S_ISLNK(entry.found.st_mode) else 'special file'}]"


TOOLS = (ListFiles(),)
