"""``hermesctl service status|logs``: the daemon's service as its manager sees it, and what that kept of its output."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hermesctl.daemon_service import manager_of
from hermesd.errors import ConfigError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from hermesctl.context import Context
    from hermesd.deploy.manager import ServiceManager, ServiceState
    from hermesd.rpc.render.page import Page


def status(args: argparse.Namespace, context: Context) -> int:
    """Print it; status 1, and the next step, when it does not run."""
    manager = manager_of(args)
    found = manager.status()
    context.show({"manager": manager.kind, **found._asdict()}, "\n".join(_lines(manager, found)))
    if found.running:
        return 0
    if not context.json:
        flag = " --system" if args.system else ""
        failed = found.state.startswith("failed")
        step = f"look why: hermesctl service logs{flag}" if failed else f"start it: hermesctl service start{flag}"
        print(f"hermesctl: {'it has failed' if failed else 'it does not run'}\n  → {step}", file=sys.stderr)
    return 1


def _lines(manager: ServiceManager, found: ServiceState) -> Iterator[str]:
    yield f"service  {found.state}{f' since {found.since}' if found.since else ''}"
    whose = {"user": ", the user's", "system": ", the machine's"}.get(getattr(manager, "scope", ""), "")
    yield f"manager  {manager.kind}{whose}"
    yield f"starts   {found.starts or ('at boot' if found.enabled else 'when it is told to')}"
    if found.pid:
        times = {0: "never", 1: "once"}.get(found.restarts, f"{found.restarts} times")
        yield f"process  {found.pid}, started again after a failure: {times}"
    if found.detail:
        yield f"says     {found.detail}"


def logs(args: argparse.Namespace, context: Context) -> int:
    """Print it, our own lines as `hermesctl logs` does; with --json as the manager has them."""
    if args.lines < 0:
        raise UsageError(f"{args.lines} lines cannot be shown", where="--lines", next_step="give a number from 0 up")
    manager = manager_of(args)
    command = manager.log_command(lines=args.lines, follow=args.follow)
    sys.stdout.flush()
    try:
        return _passed_on(command) if context.json else _rendered(command, is_stamped=manager.kind == "s6")
    except FileNotFoundError as error:
        raise ConfigError(f"{command[0]} is not installed", next_step="use `hermesctl logs`") from error


def _passed_on(command: list[str]) -> int:
    import subprocess

    return subprocess.run(command, check=False).returncode


def _rendered(command: list[str], *, is_stamped: bool) -> int:
    """``is_stamped``: our lines have a time already when the manager puts date and time before them."""
    import subprocess

    from hermesctl.output import columns, use_color
    from hermesd.rpc.render.page import Page

    page = Page(width=columns(), color=use_color())
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stdout is not None
        try:
            for text in process.stdout:
                print(_line(page, text, is_stamped=is_stamped), flush=True)
        except BaseException:  # nobody reads any more, or Ctrl-C: one that follows would go on for ever
            process.terminate()
            raise
        return process.wait()


def _line(page: Page, text: str, *, is_stamped: bool) -> str:
    """A line of the manager's, in which ours begins with ``{``."""
    from hermesd.rpc.render.logs import line
    from hermesd.rpc.render.terminal import clean

    before, brace, ours = text.rstrip("\n").partition("{")
    if not brace:
        return clean(text).rstrip("\n")
    if is_stamped and len(before.split()) == 2:
        return line(page, brace + ours)
    return clean(before) + line(page, brace + ours, untimed="")
