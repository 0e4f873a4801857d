"""A process that has loaded modules of hermesd (or hermesctl), and forks one whenever ``forked.py`` asks for it.

Most of the processor time of a start goes into loading modules, and a run of all tests starts some thousand daemons.
What is forked has run nothing but imports: no thread, no loop, no open file, no random number. It gets descriptors, an
environment, a directory and a umask of its own, and from there on runs what ``python -m`` runs: to the kernel
and to the store it is a process like any other, and may be killed like any other.

A request is one packet of JSON with descriptors (``Request``). To the last of them the process id is written as a line,
and in the end the exit status as another, negative for a signal.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

MAX_REQUEST = 200_000  # bytes; an environment and a few words
MAX_DESCRIPTORS = 16
FIRST_SPARE = 512  # descriptors are moved out of the way to numbers from here on


@dataclass(frozen=True)
class Request:
    """What to become: a module and its words, and what a process inherits."""

    module: str
    arguments: list[str]
    environment: dict[str, str]
    directory: str
    umask: int
    targets: list[int]  # the number that each of the descriptors, in their order, is to have; the last is the status


def serve(control: socket.socket) -> tuple[Request, list[int]] | None:
    """Fork for every request. Returns twice: in a forked process with its request, in the server at the end."""
    children = selectors.DefaultSelector()
    children.register(control, selectors.EVENT_READ)
    while True:
        for key, _ in children.select():
            if key.fileobj is not control:
                children.unregister(key.fileobj)
                _tell_end(*key.data)
                continue
            packet, descriptors, _, _ = socket.recv_fds(control, MAX_REQUEST, MAX_DESCRIPTORS)
            if not packet:
                return None
            request = Request(**json.loads(packet))
            assert threading.active_count() == 1, "a thread would be missing in what is forked"
            pid = os.fork()
            if pid == 0:
                children.close()  # now: the number of what is closed by a collection may be a database's by then
                control.close()
                return request, descriptors
            status = descriptors.pop()
            for descriptor in descriptors:
                os.close(descriptor)
            os.write(status, b"%d\n" % pid)
            children.register(watched := os.pidfd_open(pid), selectors.EVENT_READ, (pid, watched, status))


def _tell_end(pid: int, watched: int, status: int) -> None:
    _, found = os.waitpid(pid, 0)
    os.close(watched)
    with contextlib.suppress(BrokenPipeError):  # whoever asked does not care any more
        os.write(status, b"%d\n" % os.waitstatus_to_exitcode(found))
    os.close(status)


def become(request: Request, descriptors: list[int]) -> None:
    """Take on what the request says, as if just executed."""
    spare = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST_SPARE) for descriptor in descriptors[:-1]]
    for descriptor, target in zip(spare, request.targets, strict=True):
        os.dup2(descriptor, target, inheritable=True)
    for number in _open_descriptors() - set(request.targets):
        os.close(number)
    os.chdir(request.directory)
    os.umask(request.umask)
    os.environ.clear()
    os.environ.update(request.environment)
    time.tzset()
    if "hermesd.failpoint" in sys.modules:  # reads the environment when it is loaded
        importlib.reload(sys.modules["hermesd.failpoint"])
    sys.argv[:] = [request.module, *request.arguments]


def _open_descriptors() -> set[int]:
    listed = [int(path.name) for path in Path("/proc/self/fd").iterdir()]  # also the one that lists them
    return {number for number in listed if os.path.lexists(f"/proc/self/fd/{number}")}


if __name__ == "__main__":
    for name in sys.argv[2:]:
        importlib.import_module(name)
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the tests; this ends when they have
    control = socket.socket(fileno=int(sys.argv[1]))
    kept = _open_descriptors() - {0, 1, 2, control.fileno()}
    assert not kept, f"what has been loaded keeps descriptors that would be shared: {kept}"
    asked = serve(control)
    if asked is not None:
        signal.signal(signal.SIGINT, usual)
        become(*asked)
        runpy.run_module(asked[0].module, run_name="__main__", alter_sys=True)
