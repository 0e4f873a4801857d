"""Other processes that want a lock: started, heard to have begun, and ended whatever the test does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOLDER = """\
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(fd, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def running(script: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    """A program that has printed a line, and ends when its input does."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process:
        try:
            assert process.stdout.readline() == "\n"
            yield process
        finally:
            process.kill()


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock on this file, until it ends."""
    with running(HOLDER, path) as process:
        yield process
