"""The daemon as a service of this machine: which manager, which scope, and what is to be run as whom."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hermesd.errors import ConfigError, ConflictError, UsageError
from hermesd.home import Home

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context
    from hermesd.deploy.manager import Installation, Kind, Scope, ServiceManager

KINDS = ("systemd", "launchd", "windows", "s6", "none")
STOP_MARGIN_S = 30
LEAST_STOP_S = 60


def add_scope(parser: argparse.ArgumentParser) -> None:
    """--user, --system, and --manager for those who know better."""
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("--user", action="store_true", help="the service of this user (default, but for root)")
    scope.add_argument("--system", action="store_true", help="the service of the whole machine (needs root)")
    parser.add_argument("--manager", choices=KINDS, default="", help="instead of the one this machine has")


def add_install(parser: argparse.ArgumentParser) -> None:
    """What installing takes."""
    add_scope(parser)
    parser.add_argument("--print", action="store_true", dest="only_print", help="show the files, and do nothing")
    parser.add_argument("--run-as", default="", metavar="USER", help="with --system: whose agents these are")
    parser.add_argument("--force", action="store_true", help="also over files that were changed by hand")


def add_uninstall(parser: argparse.ArgumentParser) -> None:
    """What removing takes."""
    add_scope(parser)
    parser.add_argument("--force", action="store_true", help="also files that were changed by hand")


def scope_of(args: argparse.Namespace) -> Scope:
    """As the flags say; else the machine's for root, and the user's for others."""
    if args.system or args.user:
        return "system" if args.system else "user"
    return "system" if os.geteuid() == 0 else "user"


def manager_of(args: argparse.Namespace) -> ServiceManager:
    """The manager of this call."""
    from hermesd.deploy.manager import detect_service_manager

    return _manager(args.manager or detect_service_manager(), scope_of(args))


def _manager(kind: Kind, scope: Scope) -> ServiceManager:
    if kind == "systemd":
        from hermesd.deploy.systemd import Systemd

        return Systemd(scope)
    if kind == "launchd":
        from hermesd.deploy.launchd import Launchd

        return Launchd(scope)
    if kind == "windows":
        from hermesd.deploy.windows import WindowsTask

        return WindowsTask()
    if kind == "s6":
        from hermesd.deploy.s6 import S6

        return S6()
    from hermesd.deploy.unmanaged import Unmanaged

    return Unmanaged()


def install(args: argparse.Namespace, context: Context) -> int:
    """Print the files, or write them and start the service."""
    manager = manager_of(args)
    if not args.only_print:
        _refuse_if_managed(context.home, "install a service")
        if manager.kind == "none":  # before it is asked what for
            from hermesd.deploy.unmanaged import HOW_TO_DO_WITHOUT, refuse

            refuse(HOW_TO_DO_WITHOUT)
    installation = installation_of(args, context)
    if args.only_print:
        for file in manager.files(installation):
            print(f"# {file.path}\n{file.text}")
        return 0
    _refuse_if_managed(Home(installation.home), "install a service")  # of a system service: its user's
    _refuse_beside_another(manager, Home(installation.home))
    return _tell(context, manager.install(installation, force=args.force))


def uninstall(args: argparse.Namespace, context: Context) -> int:
    """Stop the service and remove its files."""
    _refuse_if_managed(context.home, "remove the service")
    return _tell(context, manager_of(args).uninstall(force=args.force))


def control(args: argparse.Namespace, context: Context) -> int:
    """Start, stop or restart it."""
    manager = manager_of(args)
    if args.action == "start":
        _refuse_beside_another(manager, _home_of(manager, context))
    acts = {"start": manager.start, "stop": manager.stop, "restart": manager.restart}
    return _tell(context, acts[args.action]())


def _home_of(manager: ServiceManager, context: Context) -> Home:
    """Of the service that is installed: the machine's is seldom root's own, who starts it."""
    from hermesd.deploy.systemd import Systemd

    there = manager.installed() if isinstance(manager, Systemd) else None
    return Home(there.home) if there is not None else context.home


def installation_of(args: argparse.Namespace, context: Context) -> Installation:
    """What is to be run. Raises ConfigError when a program is not found, UsageError when it is not said for whom."""
    from hermesd.deploy.manager import Installation

    scope = scope_of(args)
    if args.run_as and scope == "user":
        raise UsageError("only a system service runs as somebody else", where="--run-as", next_step="add --system")
    user, group, home = _whose(args, context) if scope == "system" else ("", "", context.home)
    return Installation(
        scope=scope,
        hermesd=_program("hermesd"),
        hermesctl=_program("hermesctl"),
        home=home.root,
        socket=home.socket_path,
        user=user,
        group=group,
        search_path=_search_path() if scope == "user" else "",
        stop_s=_stop_s(home),
    )


def _whose(args: argparse.Namespace, context: Context) -> tuple[str, str, Home]:
    """User, group and home of a system service: --run-as, or who called sudo."""
    import grp
    import pwd

    name = args.run_as or os.environ.get("SUDO_USER", "")
    if not name:
        raise UsageError(
            "a system service needs a user to run as",
            where="--run-as",
            next_step="name one who owns nothing else: --run-as hermes (made by: useradd --system hermes)",
        )
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        step = f"make it: useradd --system --home-dir /var/lib/{name} {name}"
        raise UsageError(f"there is no user {name!r}", where="--run-as", next_step=step) from None
    if found.pw_uid == 0:
        step = "name one who owns nothing else: --run-as hermes (made by: useradd --system hermes)"
        raise UsageError("agents are not to run as root", where="--run-as", next_step=step)
    if not os.environ.get("HERMES_HOME") and not Path(found.pw_dir).is_dir():
        step = f"say where its agents are to live: sudo HERMES_HOME=/var/lib/{name} hermesctl service install …"
        raise UsageError(f"{name} has no home directory", where="--run-as", next_step=step)
    home = context.home if os.environ.get("HERMES_HOME") else Home(Path(found.pw_dir) / ".hermes")
    return name, grp.getgrgid(found.pw_gid).gr_name, home


def _program(name: str) -> str:
    """Beside this very program, beside its interpreter, or on PATH."""
    for place in (Path(sys.argv[0]).absolute().parent, Path(sys.executable).parent):
        if os.access(place / name, os.X_OK) and (place / name).is_file():
            return str(place / name)
    found = shutil.which(name)
    if found is None:
        raise ConfigError(f"the program {name} is not found", next_step="install it: pip install hermesd")
    return os.path.abspath(found)  # noqa: PTH100 - a link to the newest release stays a link


def _search_path() -> str:
    """The caller's PATH, for the tools that agents and MCP servers call; what is not absolute is left out."""
    places = [place for place in os.environ.get("PATH", "").split(":") if place.startswith("/")]
    return ":".join(dict.fromkeys(places))


def _stop_s(home: Home) -> int:
    """Longer than the configuration allows a stop to take."""
    from hermesd.config.load import load_settings

    try:
        shutdown = load_settings(home.default_profile).config.shutdown
    except (ConfigError, OSError):  # it is said when the daemon starts; a service can be installed before
        return LEAST_STOP_S
    return max(LEAST_STOP_S, round(shutdown.drain_s + shutdown.stop_s) + STOP_MARGIN_S)


def _refuse_if_managed(home: Home, action: str) -> None:
    from hermesd.config.managed import manager_of as declared_by

    if (manager := declared_by(home)) is not None:
        raise manager.refusal(action)


def _refuse_beside_another(manager: ServiceManager, home: Home) -> None:
    """A daemon that somebody started by hand has the home; the service would fail on it, again and again."""
    from hermesd.rpc.claim import holder

    pid = holder(home.pid_path)
    if pid and manager.kind != "none" and not manager.is_running():
        if (there := service_of(home)) is not None and there != getattr(manager, "scope", there):
            whose, sudo = ("machine", "sudo ") if there == "system" else ("user", "")
            raise ConflictError(
                f"this home has a service already: the {whose}'s",
                where=str(home.root),
                next_step=f"remove it first: {sudo}hermesctl service uninstall --{there}",
            )
        raise ConflictError(
            f"a hermesd with pid {pid} runs already, and not as this service",
            where=str(home.pid_path),
            next_step="stop it first: hermesctl stop",
        )


def start_command(home: Home) -> str:
    """What starts the service of this home; '' where it has none."""
    from hermesd.deploy.manager import detect_service_manager

    if detect_service_manager() == "s6":
        from hermesd.deploy.s6 import S6

        return "hermesctl service start" if S6(home=home.root).is_installed() else ""
    scope = service_of(home)
    return (
        {"user": "hermesctl service start", "system": "sudo hermesctl service start --system"}[scope] if scope else ""
    )


def service_of(home: Home) -> Scope | None:
    """Whose systemd starts the daemon of this home, by the units that are installed; None for nobody's."""
    from hermesd.deploy.systemd import Systemd
    from hermesd.errors import HermesError

    scopes: tuple[Scope, ...] = ("user", "system")
    for scope in scopes:
        with contextlib.suppress(HermesError, RuntimeError):  # not ours to read; a user without a home directory
            there = Systemd(scope).installed()
            if there is not None and there.home == home.root:
                return scope
    return None


def _tell(context: Context, lines: list[str]) -> int:
    notices = [line for line in lines if line.startswith(("notice: ", "  → "))]
    done = [line for line in lines if line not in notices]
    context.show({"done": done, "notices": notices}, "\n".join(done))
    if notices and not context.json:
        print("\n".join(notices), file=sys.stderr)
    return 0
