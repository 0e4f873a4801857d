"""A program at a pseudo-terminal: type, and wait for what appears."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

PATIENCE_S = 30.0
ASLEEP_S = 3.0


class Terminal:
    """``seen`` is all that the program has written; ``expect`` looks only at what came after its last match."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.seen = ""
        self._master = master
        self._from = 0

    def type(self, text: str) -> None:
        """Press keys; ``\\x03`` is Ctrl-C, ``\\x04`` Ctrl-D."""
        os.write(self._master, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        """Change the window; the program in the foreground gets SIGWINCH."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def interrupt(self) -> None:
        """Ctrl-C once the program waits for a line: just before, CPython's ``input`` would notice it only later."""
        deadline = time.monotonic() + ASLEEP_S
        while not self._reads_a_line() and time.monotonic() < deadline:
            os.sched_yield()  # nobody tells when another process has gone to sleep
        self.type("\x03")

    def _reads_a_line(self) -> bool:
        """Whether the program sleeps in read(2) (proc_pid_wchan(5))."""
        parent = self.process.pid
        try:
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            pid = children[0] if children else parent  # setsid forks only where it leads a group
            return Path(f"/proc/{pid}/wchan").read_text() in ("n_tty_read", "wait_woken")
        except OSError:
            return True

    def expect(self, text: str) -> str:
        """Wait for the text; what came before it."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.seen[self._from :]:
            left = deadline - time.monotonic()
            if left <= 0 or not self._read(left):
                raise AssertionError(f"{text!r} did not appear:\n{self.seen}")
        found = self.seen.index(text, self._from)
        before = self.seen[self._from : found]
        self._from = found + len(text)
        return before

    def wait(self) -> int:
        """Read to the end; the exit status."""
        while self._read(PATIENCE_S):
            pass
        return self.process.wait(PATIENCE_S)

    def _read(self, timeout_s: float) -> bool:
        if not select.select([self._master], [], [], timeout_s)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: the program has closed its terminal
            return False
        self.seen += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)


@contextlib.contextmanager
def at_terminal(command: Sequence[str], environment: Mapping[str, str], *, columns: int = 100) -> Iterator[Terminal]:
    """The program with a terminal of its own as its controlling one; killed on exit."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    # setsid --ctty makes the terminal the controlling one, so that Ctrl-C becomes SIGINT as for a person.
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command], env=dict(environment), stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)
