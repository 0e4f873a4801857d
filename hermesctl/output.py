"""The terminal: its width, whether it takes colour, errors, and yes-or-no questions."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.errors import HermesError


def columns() -> int:
    """Columns of standard output; 0, no limit, when it is not a terminal."""
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 0


def use_color() -> bool:
    """Whether standard output is a terminal that takes colour (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def is_interactive() -> bool:
    """Whether a person can be asked: standard input and output are terminals."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))  # None: closed


def take_any_text() -> None:
    """Have characters that the locale's encoding lacks written as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and (stream.errors == "strict" or stream.encoding.lower() != "utf-8"):
            stream.reconfigure(errors="backslashreplace")


def confirm(question: str, *, default: bool) -> bool:
    """Ask a person; the end of input is a no."""
    try:
        answer = input(f"{question} [{'Y/n' if default else 'y/N'}] ").strip().lower()
    except EOFError:
        print()
        return False
    return answer in ("y", "yes") or (default and not answer)


def print_error(error: HermesError, argv: Sequence[str]) -> None:
    """To standard error, after what is on its way to standard output; ``argv`` says whether as JSON."""
    if sys.stdout is not None:
        sys.stdout.flush()
    print(error.said_to(argv), file=sys.stderr)
