"""``hermesctl service``: the daemon as a service of this machine and, where a SERVICE is named, one of its tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesctl import daemon_service, service_report
from hermesctl.arguments import actions
from hermesd.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context

ACTIONS = {
    "install": "have hermesd started at boot and after a crash (systemd, launchd)",
    "uninstall": "undo that; the home stays as it is",
    "start": "start the daemon's service, or a stopped or failed SERVICE of the tree",
    "stop": "stop it until it is started again",
    "restart": "stop and start it; clients that connect meanwhile wait",
    "status": "the daemon's service as its manager sees it",
    "logs": "what the manager has kept of its output",
}
CONTROLS = ("start", "stop", "restart")


def register(parser: argparse.ArgumentParser) -> None:
    """The seven actions."""
    verbs = actions(parser, ACTIONS)
    daemon_service.add_install(verbs["install"])
    daemon_service.add_uninstall(verbs["uninstall"])
    for name in CONTROLS:
        verbs[name].add_argument(
            "name", nargs="?", default="", metavar="SERVICE", help="of `hermesctl tree`, e.g. profile/coder/telegram"
        )
    for name in (*CONTROLS, "status", "logs"):
        daemon_service.add_scope(verbs[name])
    verbs["logs"].add_argument("-n", "--lines", type=int, default=50, metavar="N", help="how many (50)")
    verbs["logs"].add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")


def run(args: argparse.Namespace, context: Context) -> int:
    """A service of the tree is one call; the rest is the manager's."""
    if args.action in CONTROLS:
        if not args.name:
            return daemon_service.control(args, context)
        if args.user or args.system or args.manager:
            raise UsageError(
                f"{args.name} is a service of the tree, which has no manager of its own",
                next_step=f"hermesctl service {args.action} {args.name}",
            )
        return context.show(context.act(f"service.{args.action}", name=args.name))
    run_action = {
        "install": daemon_service.install,
        "uninstall": daemon_service.uninstall,
        "status": service_report.status,
        "logs": service_report.logs,
    }[args.action]
    return run_action(args, context)
