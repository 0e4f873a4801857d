"""Starting hermesd in the background and waiting until it says that it is ready."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

from hermesd.errors import ConfigError, RestartError, UnreachableError

if TYPE_CHECKING:
    from hermesctl.context import Context
    from hermesd.home import Home

READY_TIMEOUT_S = 60.0


def ensure_daemon(context: Context, *, spawn: bool, may_ask: bool) -> None:
    """Return once hermesd answers. It is started if ``spawn``, or if a person who may be asked says so.

    Raises UnreachableError when it does not run and was not started, and what ``start_daemon`` raises.
    """
    try:
        context.call("rpc.ping")
    except UnreachableError:
        from hermesctl.output import confirm

        if not spawn and not (may_ask and confirm("hermesd is not running. Start it?", default=True)):
            raise
    else:
        return
    start_daemon(context.home)
    print(f"hermesd now runs in the background, home {context.home.root}; `hermesctl stop` stops it", file=sys.stderr)
    context.call("rpc.ping")


def start_daemon(home: Home) -> None:
    """Start hermesd in the background: ``hermesd --detach`` returns once the daemon is ready, or says why it is not.

    Raises ConfigError (status 78) or UnreachableError with what it said, RestartError when it is not ready in time.
    Two at a time are no harm: the second to come finds the home claimed and ends, and the first is as good.
    """
    import subprocess  # as dear as a tenth of asking one question, and mostly not needed

    command = [sys.executable, "-m", "hermesd", "--detach", "--home", str(home.root)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=READY_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RestartError(
            f"hermesd is not ready after {READY_TIMEOUT_S:.0f} s", next_step=f"see {home.logs / 'hermesd.log'}"
        ) from None
    if done.returncode != 0 and not _answers(home):
        _explain(home, done.returncode, done.stderr.decode("utf-8", "replace"))


def _answers(home: Home) -> bool:
    from hermesctl.client import Client

    try:
        Client.connect(home).close()
    except UnreachableError:
        return False
    return True


def _explain(home: Home, status: int, output: str) -> NoReturn:
    """Raise what the daemon's last words mean: its error message has the form of ours."""
    _, _, message = f"\n{output}".rpartition("\nhermesd: ")
    what, _, next_step = message.partition("\n  → ")
    kind = ConfigError if status == ConfigError.exit_status else UnreachableError
    raise kind(
        f"hermesd could not start: {what.strip() or f'status {status}'}",
        next_step=next_step.strip() or f"see {home.logs / 'hermesd.log'}",
    )
