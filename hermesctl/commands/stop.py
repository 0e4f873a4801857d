"""``hermesctl stop``: stop the daemon in order, and wait until it is gone."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from hermesd.errors import RestartError

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context

OUR_SOCKET_UNIT = "hermesd.socket"  # units.SOCKET_UNIT


def register(parser: argparse.ArgumentParser) -> None:
    """--now and --no-wait."""
    parser.add_argument("--now", action="store_true", help="do not wait for running turns; they are taken up at start")
    parser.add_argument("--no-wait", action="store_true", help="return as soon as it has begun to stop")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="how long to wait (120)")


def run(args: argparse.Namespace, context: Context) -> int:
    """Ask it to stop; wait for the end of its process."""
    with context.client() as client:
        process = None if args.no_wait else _open_process(int(client.call("rpc.hello", {})["pid"]))
        try:
            result = client.call("daemon.stop", {"now": args.now})
            if process is not None and not _ended(process, args.timeout):
                raise RestartError("hermesd is still stopping", next_step="wait, or use `hermesctl stop --now`")
        finally:
            if process is not None:
                os.close(process)
    context.show(result, "hermesd is stopping" if process is None else "hermesd has stopped")
    if result.get("socket_unit") and not context.json:
        _tell_of_socket(result["socket_unit"], context)
    return 0


def _tell_of_socket(unit: str, context: Context) -> None:
    """A socket unit of systemd's goes on listening."""
    keep_down = "stop its socket unit, too"
    if unit == OUR_SOCKET_UNIT:  # the system's lies in /run, with a link to it in the home
        is_systems = context.home.socket_path.is_symlink()
        keep_down = f"{'sudo ' if is_systems else ''}hermesctl service stop{' --system' if is_systems else ''}"
    print(f"notice: {unit} still listens, so the next client starts hermesd again", file=sys.stderr)
    print(f"  → to keep it down: {keep_down}", file=sys.stderr)


def _open_process(pid: int) -> int | None:
    """A pidfd (pidfd_open(2)); None where there is none or the daemon lives in another pid namespace."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _ended(process: int, timeout_s: float) -> bool:
    """Wait on a pidfd, which becomes readable when its process ends."""
    import select

    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))
