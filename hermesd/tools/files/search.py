"""search_files: lines that hold a text or match a regular expression."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import trio

from hermesd.tools.base import ToolResult
from hermesd.tools.files import matching
from hermesd.tools.files.paths import PathError, Reach
from hermesd.tools.files.tree import SKIPPED_DIRECTORIES, Budget, matches, walk
from hermesd.tools.files.work import FILE_THREADS, in_thread
from hermesd.tools.schema import parameters_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.store.records import Effect
    from hermesd.tools.base import ToolContext
    from hermesd.tools.files.paths import Located
    from hermesd.tools.terminal.output import Output

MAX_FOUND = 200
REGEX_TIMEOUT_S = 15.0
ANSWER_BYTES = 1024 * 1024
Meta = msgspec.Meta


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of ``search_files``."""

    pattern: Annotated[str, Meta(description="text to find", min_length=1, max_length=2000)]
    path: Annotated[str, Meta(description="directory or file, relative to the workspace")] = "."
    glob: Annotated[str, Meta(description="only in files like this: *.py, src/**/*.ts")] = ""
    regex: Annotated[bool, Meta(description="the pattern is a Python regular expression")] = False
    ignore_case: bool = False


class Answer(msgspec.Struct):
    """What ``matching`` says when it runs as a program."""

    lines: list[str] = []
    spent: str = ""
    error: str = ""


class SearchFiles:
    """Search text files below a directory."""

    name = "search_files"
    description = (
        f"Find lines in the text files of the workspace, as `path:line: text`, at most {MAX_FOUND}. "
        f"Not searched: binary files, files over 8 MB, {', '.join(sorted(SKIPPED_DIRECTORIES))}."
    )
    parameters = parameters_of(Arguments)

    def effect(self, arguments: Mapping[str, object]) -> Effect:
        """Searching changes nothing."""
        return "read_only"

    async def run(self, arguments: Mapping[str, object], context: ToolContext) -> ToolResult:
        """The lines found, and a last line in brackets when there may be more."""
        wanted = msgspec.convert(arguments, Arguments, strict=False)
        reach = Reach.of(context)
        budget = Budget()
        try:
            if wanted.regex:
                return await _search_regex(reach, wanted, budget, context)
            return await in_thread(lambda: _search_literal(reach, wanted, budget), reads_only=True)
        finally:
            budget.stop.set()


def _search_literal(reach: Reach, wanted: Arguments, budget: Budget) -> str:
    with reach.locate(wanted.path) as located:
        paths = _candidates(located, wanted, budget)
        found = matching.literal(wanted.pattern, ignore_case=wanted.ignore_case)
        lines, spent = matching.search(located.directory, paths, found, limit=MAX_FOUND, go_on=budget.in_time)
    return _text(lines, spent or budget.spent)


@dataclass(frozen=True, slots=True)
class _Job:
    """A prepared search: the open directory, and the job for the program as a rewound file."""

    root: int
    stdin: int
    spent: str


async def _search_regex(reach: Reach, wanted: Arguments, budget: Budget, context: ToolContext) -> ToolResult:
    from hermesd.tools.terminal.local import Spawn, run_to_end
    from hermesd.tools.terminal.output import Output

    output = Output(head=ANSWER_BYTES, tail=0)
    try:
        job = await trio.to_thread.run_sync(_prepare, reach, wanted, budget, limiter=FILE_THREADS)
        try:
            argv = [sys.executable, "-I", "-S", matching.__file__]
            tag = context.state.processes.new_tag()
            spawn = Spawn(argv, Path("/"), {}, tag, stdin=job.stdin, pass_fds=(job.root,))
            finished = await run_to_end(spawn, output, timeout_s=REGEX_TIMEOUT_S)
        finally:
            os.close(job.root)
            os.close(job.stdin)
    except PathError as error:
        return ToolResult(error.what, is_error=True)
    except OSError as error:
        return ToolResult(f"the search could not be started: {error.strerror or error}", is_error=True)
    if finished.timed_out:
        hint = "simplify the pattern, or search a smaller directory"
        return ToolResult(f"the search took longer than {REGEX_TIMEOUT_S:g} s; {hint}", is_error=True)
    return _answer(output, job.spent)


def _answer(output: Output, spent: str) -> ToolResult:
    try:
        answer = msgspec.json.decode(output.text(), type=Answer)
    except msgspec.DecodeError:
        return ToolResult(f"the search failed: {output.text(last=500)}", is_error=True)
    if answer.error:
        return ToolResult(answer.error, is_error=True)
    return ToolResult(_text(answer.lines, answer.spent or spent), untrusted=True)


def _prepare(reach: Reach, wanted: Arguments, budget: Budget) -> _Job:
    import tempfile

    with reach.locate(wanted.path) as located:
        paths = _candidates(located, wanted, budget)
        root = os.dup(located.directory)
    try:
        job = {
            "pattern": wanted.pattern,
            "ignore_case": wanted.ignore_case,
            "limit": MAX_FOUND,
            "root": root,
            "paths": [os.fsencode(path).hex() for path in paths],
        }
        with tempfile.TemporaryFile() as file:
            file.write(msgspec.json.encode(job))
            file.seek(0)
            return _Job(root, os.dup(file.fileno()), budget.spent)
    except BaseException:
        os.close(root)
        raise


def _candidates(located: Located, wanted: Arguments, budget: Budget) -> list[str]:
    """Paths of the files to look into, relative to the located directory. Raises PathError."""
    if located.name:
        os.close(located.open_to_read())
        return [located.name]
    return [
        entry.path
        for entry in walk(located, budget)
        if entry.is_file and matches(wanted.glob, entry) and not located.protection.is_secret_file(entry.found)
    ]


def _text(lines: list[str], spent: str) -> str:
    if spent:
        lines = [*lines, f"[the search is not complete: {spent}]"]
    return "\n".join(lines) or "[nothing found]"


TOOLS = (SearchFiles(),)
