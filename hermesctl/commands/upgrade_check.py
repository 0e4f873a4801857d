"""``hermesctl upgrade-check``: what a restart with this very release would do to the state file and to what runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hermesd.errors import HermesError, UnreachableError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from hermesctl.context import Context

    Json = dict[str, Any]  # a JSON object

METHOD_NOT_FOUND = -32601
REFUSED, WAIT = 1, 75


def register(parser: argparse.ArgumentParser) -> None:
    """No arguments of its own."""


def run(args: argparse.Namespace, context: Context) -> int:
    """Status 0: restart when you like; 75: something would be cut off that does not go on; 1: do not restart."""
    from hermesd import __version__
    from hermesd.store.sqlite.upgrade import plan_upgrade

    plan = plan_upgrade(_state_path(context))
    running = _running(context)
    work = list(running.get("work", []))
    lost = [item for item in work if item["fate"] != "resumed"]
    status = REFUSED if plan.verdict == "refused" else WAIT if lost else 0
    result: Json = {
        "release": __version__,
        "state": {**plan._asdict(), "path": str(plan.path)},
        "daemon": running,
        "status": status,
    }
    context.show(result, "\n".join([*_state_lines(plan.path, result), *_daemon_lines(running), *_work_lines(work)]))
    if plan.verdict == "refused":
        print("hermesctl: this release cannot read the state file", file=sys.stderr)
        print("  → keep the release that wrote it, or restore a backup made before it", file=sys.stderr)
    elif lost:
        print(f"hermesctl: {_counted(lost)} would be cut off and would not go on", file=sys.stderr)
        print("  → wait until they have ended, or restart all the same: hermesctl service restart", file=sys.stderr)
    return status


def _state_path(context: Context) -> Path:
    from hermesd.config.load import load_settings

    configured = load_settings(context.home.default_profile).config.store.path
    return context.home.root / configured if configured else context.home.state_path


def _running(context: Context) -> Json:
    """The daemon's version and what is under way; empty when none runs. An older release tells only how many turns."""
    try:
        with context.client() as client:
            status = client.call("daemon.status")
            try:
                work = client.call("daemon.unfinished")["work"]
            except HermesError as error:
                if error.rpc_code != METHOD_NOT_FOUND:
                    raise
                turn = {"kind": "turn", "profile": "", "what": "", "since": 0.0, "fate": "resumed"}
                work = [turn] * int(status.get("turns_running", 0))
    except UnreachableError:
        return {}
    return {"version": status["version"], "pid": status["pid"], "work": work}


def _state_lines(path: Path, result: Json) -> Iterator[str]:
    from hermesd.rpc.render.terminal import one_line

    plan = result["state"]
    yield f"release     {result['release']}, schema {plan['known']}"
    schema = f", schema {plan['found']}" if plan["found"] else ""
    yield f"state file  {one_line(str(path))}{schema}"
    back = "the release before it can still read it" if plan["can_go_back"] else "the release before it cannot read it"
    yield (
        "            "
        + {
            "missing": "not there yet: it is made at the first start",
            "same": "taken as it is",
            "migrates": f"migrated at the first start; {back}",
            "newer": "written by a newer release, which left it readable for this one",
            "refused": "written by a newer release, which this one cannot read",
        }[plan["verdict"]]
    )


def _daemon_lines(running: Json) -> Iterator[str]:
    yield f"daemon      {running['version']}, pid {running['pid']}" if running else "daemon      not running"


def _work_lines(work: list[Json]) -> Iterator[str]:
    from hermesd.rpc.render.units import span

    if not work:
        return
    import time

    fates = {"resumed": "finished, or gone on with afterwards", "failed": "fails, and says so", "ended": "ended"}
    for item in work:
        where = f" of {item['profile']}" if item["profile"] else ""
        since = f", for {span(time.time() - item['since'])}" if item["since"] else ""
        yield f"  {item['kind']}{where}{since}: {fates[item['fate']]}"
        if item["what"]:
            yield f"    {item['what']}"


def _counted(items: list[Json]) -> str:
    return "1 piece of work" if len(items) == 1 else f"{len(items)} pieces of work"
