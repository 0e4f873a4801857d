"""Reading one line from a terminal so that Ctrl-C is never missed."""

from __future__ import annotations

import os
import select
import signal
import sys


def read_line(prompt: str) -> str:
    """A line without its end. Raises KeyboardInterrupt for Ctrl-C, EOFError for Ctrl-D.

    ``input`` blocks in read(2): a Ctrl-C that arrives in the instant before is noticed only at the next key. So the
    signal also wakes a select (signal.set_wakeup_fd) that waits for the line to be there.
    """
    if not sys.stdin.isatty():
        return input(prompt)
    sys.stdout.write(prompt)
    sys.stdout.flush()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        select.select([sys.stdin.fileno(), reader], [], [])
    finally:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")
