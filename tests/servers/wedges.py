"""Ways in which a real hermesd comes to stand still, injected by a sitecustomize.py in front of its code."""

from __future__ import annotations

_STORE = """\
# Fault injection: a commit hangs for as long as the pipe has no reader, as it does on a disk that does not answer.
import os
from hermesd.store.sqlite.writer import Writer

write = Writer._write

def hang(self, batch):
    if os.path.exists({pipe!r}):
        open({pipe!r}, "w").close()
    return write(self, batch)

Writer._write = hang
"""

LOOP = """\
# Fault injection: SIGUSR2 blocks the thread that the loop runs in, and nothing else.
import signal
import time

def block(number, frame):
    time.sleep(3600)

signal.signal(signal.SIGUSR2, block)
"""


def store(pipe: str) -> str:
    """Commits hang while there is a named pipe at this path that nobody reads."""
    return _STORE.format(pipe=pipe)
