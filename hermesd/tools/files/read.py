"""read_file: a bounded piece of a text file, as it stands in the file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, BinaryIO

import msgspec

from hermesd.tools.files.paths import PathError, Reach
from hermesd.tools.files.work import in_thread
from hermesd.tools.schema import parameters_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.store.records import Effect
    from hermesd.tools.base import ToolContext, ToolResult

MAX_RESULT_BYTES = 200_000
MAX_SKIPPED_BYTES = 256 * 1024 * 1024
SNIFFED_BYTES = 8192
Meta = msgspec.Meta


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of ``read_file``."""

    path: Annotated[str, Meta(description="file, relative to the workspace")]
    offset: Annotated[int, Meta(description="first line, from 1", ge=1)] = 1
    limit: Annotated[int, Meta(description="most lines", ge=1, le=100_000)] = 2000


class ReadFile:
    """Read lines of a text file."""

    name = "read_file"
    description = (
        "Read a text file of the workspace: `limit` lines from line `offset` on. At most 200 kB come back at once; "
        "what follows is said at the end."
    )
    parameters = parameters_of(Arguments)

    def effect(self, arguments: Mapping[str, object]) -> Effect:
        """Reading changes nothing."""
        return "read_only"

    async def run(self, arguments: Mapping[str, object], context: ToolContext) -> ToolResult:
        """The lines, and a last line in brackets when there are more."""
        wanted = msgspec.convert(arguments, Arguments, strict=False)
        reach = Reach.of(context)
        return await in_thread(lambda: _read(reach, wanted), reads_only=True)


def _read(reach: Reach, wanted: Arguments) -> str:
    with reach.locate(wanted.path) as located, os.fdopen(located.open_to_read(), "rb") as file:
        if b"\0" in file.read(SNIFFED_BYTES):
            size = os.fstat(file.fileno()).st_size
            raise PathError(f"{wanted.path!r} is a binary file of {size} bytes and is not shown")
        file.seek(0)
        skipped = _skip(file, wanted)
        if skipped < wanted.offset - 1:
            raise PathError(f"{wanted.path!r} has only {skipped} lines, so none from {wanted.offset} on")
        return _lines(file, wanted)


def _skip(file: BinaryIO, wanted: Arguments) -> int:
    """Pass over the lines before the offset; returns how many there were."""
    read = 0
    for number in range(wanted.offset - 1):
        while not (piece := file.readline(MAX_RESULT_BYTES)).endswith(b"\n"):
            if not piece:
                return number
            read += len(piece)
        read += len(piece)
        if read > MAX_SKIPPED_BYTES:
            raise PathError(
                f"line {wanted.offset} of {wanted.path!r} lies too far in; use search_files or the terminal"
            )
    return wanted.offset - 1


def _lines(file: BinaryIO, wanted: Arguments) -> str:
    pieces: list[bytes] = []
    room = MAX_RESULT_BYTES
    for number in range(wanted.offset, wanted.offset + wanted.limit):
        line = file.readline(room + 1)
        if not line:
            return _text(pieces)
        if len(line) > room:
            if not pieces:
                return f"{_text([line[:room]])}\n[line {number} is longer than {MAX_RESULT_BYTES} bytes and is cut]"
            return f"{_text(pieces)}\n[the result is full; go on with offset={number}]"
        pieces.append(line)
        room -= len(line)
    if file.read(1):
        return f"{_text(pieces)}\n[there is more; go on with offset={wanted.offset + wanted.limit}]"
    return _text(pieces)


def _text(pieces: list[bytes]) -> str:
    return b"".join(pieces).decode("utf-8-sig", "replace").removesuffix("\n")


TOOLS = (ReadFile(),)
