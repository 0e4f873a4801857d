"""Finding lines in files: a function for literal text, and a program of its own for regular expressions.

``re`` holds the interpreter's lock while it matches, and an unlucky pattern matches for hours; in a process of its own
it can be killed. Run as a script this file imports the standard library only. It reads a ``Job`` as JSON from its
standard input, and answers with JSON ``{"lines": […], "spent": "…"}`` or ``{"error": "…"}``.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
from collections.abc import Callable

MAX_FILE_BYTES = 8 * 1024 * 1024
MAX_LINE = 300
SNIFFED_BYTES = 8192
DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

Matcher = Callable[[str], bool]


def literal(text: str, *, ignore_case: bool) -> Matcher:
    """Whether a line contains the text."""
    if not ignore_case:
        return lambda line: text in line
    wanted = text.casefold()
    return lambda line: wanted in line.casefold()


def search(
    root: int, paths: list[str], found: Matcher, *, limit: int, go_on: Callable[[], bool]
) -> tuple[list[str], str]:
    """Lines as ``path:number: text``, and why there may be more ("" when there are not).

    ``root`` is the open directory that the paths are relative to; no symbolic link is followed.
    """
    lines: list[str] = []
    for path in paths:
        if not go_on():
            return lines, "it took too long or was cancelled"
        data = read_text(root, path)
        if data is None:
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
            if not found(line):
                continue
            if len(lines) == limit:
                return lines, f"only the first {limit} are shown"
            lines.append(f"{printable(path)}:{number}: {line[:MAX_LINE].rstrip()}")
    return lines, ""


def read_text(root: int, path: str) -> bytes | None:
    """The contents of a regular text file below ``root``, or None if it is not one (any more) or is too large."""
    *directories, name = path.split("/")
    with contextlib.ExitStack() as stack:
        directory = root
        try:
            for part in directories:
                directory = os.open(part, DIRECTORY_FLAGS, dir_fd=directory)
                stack.callback(os.close, directory)
            file = stack.enter_context(os.fdopen(os.open(name, FILE_FLAGS, dir_fd=directory), "rb"))
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_BYTES:
                return None
            data = file.read(MAX_FILE_BYTES)
        except OSError:
            return None
    return None if b"\0" in data[:SNIFFED_BYTES] else data


def printable(name: str) -> str:
    """A file name on one line: undecodable bytes and control characters are escaped."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def main() -> None:
    """Answer the job on standard input."""
    import json

    job = json.load(sys.stdin)
    try:
        matcher = re.compile(job["pattern"], re.IGNORECASE if job["ignore_case"] else 0).search
    except (re.error, OverflowError, RecursionError) as error:
        json.dump({"error": f"the pattern is not a regular expression: {error}"}, sys.stdout)
        return
    paths = [os.fsdecode(bytes.fromhex(path)) for path in job["paths"]]
    lines, spent = search(
        job["root"], paths, lambda line: matcher(line) is not None, limit=job["limit"], go_on=lambda: True
    )
    json.dump({"lines": lines, "spent": spent}, sys.stdout)


if __name__ == "__main__":
    main()
