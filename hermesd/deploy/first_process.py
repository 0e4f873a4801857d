"""hermesd as process 1 of a container that has no init: it runs as a child, and orphans are reaped beside it.

The kernel hands every process whose parent has ended to process 1, and there it stays, dead, until somebody waits for
it (pid_namespaces(7)). A waiting for just any process would take from hermesd the statuses of its own children, so two
processes share the work, as with tini. Nothing is imported here but what the interpreter has anyway.
"""

from __future__ import annotations

import contextlib
import os
import signal

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
ADDRESSED = ("LISTEN_PID", "WATCHDOG_PID")
"""Variables that hold the process id of who they are for: sd_listen_fds(3), sd_watchdog_enabled(3)."""


def stand_by() -> int | None:
    """Go on as a child: None there. Here, once that has ended, its exit status in the form of a shell.

    Signals for this process are passed on to the child, which has a session of its own: a Ctrl-C comes to it once.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)  # none may come before there is somebody to tell
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for name in ADDRESSED:
            if os.environ.get(name) == "1":
                os.environ[name] = str(os.getpid())
        return None

    def pass_on(number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    for number in PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
