"""What ``hermesctl mcp`` changes: a server's part of config.yaml, and its secrets in .env."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from hermesd.errors import HermesError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesctl.context import Context
    from hermesd.home import Profile
    from hermesd.mcp.presets import Preset


def register(verbs: Mapping[str, argparse.ArgumentParser]) -> None:
    """The arguments of add and configure."""
    _register_add(verbs["add"])
    configure = verbs["configure"]
    configure.add_argument("--include", metavar="A,B", help="only these tools; '' for all")
    configure.add_argument("--exclude", metavar="A,B", help="all but these; '' for all")
    configure.add_argument("--trusted", action=argparse.BooleanOptionalAction, help="believe its hints about effects")
    configure.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any setting of the server")


def _register_add(add: argparse.ArgumentParser) -> None:
    add.add_argument("--preset", metavar="PRESET", help="see `hermesctl mcp presets`")
    add.add_argument(
        "--command", metavar="PROGRAM", default="", help="a program that speaks MCP on its stdin and stdout"
    )
    add.add_argument("--url", default="", help="the address of a server")
    add.add_argument("--transport", choices=("streamable", "sse"), default="", help="of the url")
    add.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="K[=V]",
        help="a variable; without V asked for, or taken from here",
    )
    add.add_argument("--header", action="append", default=[], metavar="NAME: VALUE", help="without VALUE asked for")
    add.add_argument("--auth", choices=("oauth", "header"), default="", help="how the server knows us")
    add.add_argument("--connect-timeout", type=float, metavar="S")
    add.add_argument("--trusted", action="store_true", help="believe its hints about what its calls do")
    add.add_argument("--args", nargs=argparse.REMAINDER, default=[], metavar="ARG", help="arguments; must come last")


def presets(context: Context) -> int:
    """List them."""
    from dataclasses import asdict

    from hermesd.mcp.presets import PRESETS

    lines = [f"{name:<20} {preset.description}: {preset.target}" for name, preset in PRESETS.items()]
    lines += ["", "add one with `hermesctl mcp add NAME --preset PRESET [--args WORD …]`"]
    return context.show({"presets": {name: asdict(preset) for name, preset in PRESETS.items()}}, "\n".join(lines))


def _enable(args: argparse.Namespace, _context: Context, profile: Profile) -> str:
    from hermesd.mcp.configure import configure

    configure(profile, args.name, [("enabled", "true" if args.action == "enable" else "false")])
    return f"{args.name} is {args.action}d"


def _add(args: argparse.Namespace, _context: Context, profile: Profile) -> str:
    from hermesd.mcp.configure import NewServer, add
    from hermesd.mcp.typed import mcp_command

    preset = _preset(args)
    new = NewServer(
        name=args.name,
        command=args.command or (preset.command if preset and not args.url else ""),
        args=[*(preset.args if preset and not args.command else ()), *args.args],
        url=args.url or (preset.url if preset and not args.command else ""),
        auth=args.auth or (preset.auth if preset else ""),
        transport=args.transport,
        connect_timeout=args.connect_timeout,
        trusted=args.trusted,
    )
    asked = [*args.env, *(name for name in (preset.env if preset else ()) if name not in args.env)]
    new.env = dict(_variable(text) for text in asked)
    new.headers = dict(_header(text) for text in args.header)
    if new.auth == "header" and not new.headers:
        new.headers = {"Authorization": f"Bearer {_ask('token', step='type it in, or give --header NAME: VALUE')}"}
    variables = add(profile, new)
    message = f"added {args.name} to {profile.config_path}"
    message += f"; {', '.join(variables)} went to {profile.env_path}" if variables else ""
    message += _missing(new.command)
    command = mcp_command(profile.told_name, "login", args.name)
    return message + (f"\nsign in with `{command}`" if new.auth == "oauth" else "")


def _missing(program: str) -> str:
    """A line about a program that is not there; the daemon may have another PATH, so it is no refusal."""
    import shutil

    from hermesd.mcp.presets import COMES_WITH

    if not program or shutil.which(program):
        return ""
    hint = f"; it comes with {COMES_WITH[program]}" if program in COMES_WITH else ""
    return f"\nnote: there is no program {program} on this PATH{hint}"


def _preset(args: argparse.Namespace) -> Preset | None:
    """The preset that is meant. Raises UsageError for one that is not there, or that needs words of its own."""
    from hermesd.mcp.presets import PRESETS

    if args.preset is None:
        if not args.command and not args.url and args.name in PRESETS:
            words = f" --args {PRESETS[args.name].rest}" if PRESETS[args.name].rest else ""
            step = f"hermesctl mcp add {args.name} --preset {args.name}{words}"
            raise UsageError("give a command, a url or a preset", next_step=step)
        return None
    if args.preset not in PRESETS:
        raise UsageError(f"there is no preset {args.preset[:80]!r}", next_step=f"one of: {', '.join(PRESETS)}")
    preset = PRESETS[args.preset]
    if (preset.command and args.url) or (preset.url and args.command):
        what = "a program" if preset.command else "an address"
        step = "leave --preset out, or what contradicts it"
        raise UsageError(f"the preset {args.preset} is {what}", next_step=step)
    if preset.rest and not args.args:
        step = f"hermesctl mcp add {args.name} --preset {args.preset} --args {preset.rest}"
        raise UsageError(f"the preset {args.preset} needs {preset.rest}", next_step=step)
    return preset


def _variable(text: str) -> tuple[str, str]:
    from hermesd.config.secret_keys import VARIABLE

    name, equals, value = text.partition("=")
    if not VARIABLE.fullmatch(name):
        raise UsageError(f"{name[:80]!r} is not a variable's name", next_step="--env NAME=VALUE")
    step = f"set {name} in the environment, or type it in"
    return name, value if equals else os.environ.get(name) or _ask(name, step=step)


def _header(text: str) -> tuple[str, str]:
    from hermesd.config.validate import HEADER

    name, _, value = text.partition(":")
    if not HEADER.fullmatch(name := name.strip()):
        raise UsageError("what stands before the colon cannot be sent as a header", next_step="--header 'NAME: VALUE'")
    return name, value.strip() or _ask(name, step=f"type it in, or give --header '{name}: VALUE'")


def _ask(name: str, *, step: str) -> str:
    """A secret that does not have to stand on the command line."""
    import getpass

    try:
        value = getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    except EOFError:
        print(file=sys.stderr)
        value = ""
    if not value:
        raise UsageError(f"there is no value for {name}", next_step=step)
    return value


def _remove(args: argparse.Namespace, _context: Context, profile: Profile) -> str:
    from hermesctl.config_change import told
    from hermesd.mcp.configure import remove

    change = remove(profile, args.name)
    return f"removed {args.name} from {profile.config_path}{told(change, profile)}"


def _configure(args: argparse.Namespace, context: Context, profile: Profile) -> str:
    from hermesctl.config_change import claims, told
    from hermesd.mcp.configure import check_known, configure

    check_known(profile, args.name)
    changes = [_setting(each) for each in args.set]
    chosen: list[str] = []
    for name in ("include", "exclude"):
        if (words := getattr(args, name)) is not None:
            chosen += [word.strip() for word in words.split(",") if word.strip()]
            changes.append((f"tools.{name}", words or "[]"))
    if args.trusted is not None:
        changes.append(("trusted", "true" if args.trusted else "false"))
    if not changes:
        changes = [("tools.include", _choose(args.name, context, profile))]
    change = configure(
        profile, args.name, changes, claims=claims(context, profile, f"configure the MCP server {args.name}")
    )
    message = f"set {', '.join(name for name, _ in changes)} of {args.name}{told(change, profile)}"
    known = _tools_of(args.name, context) if chosen else {}
    unknown = [word for word in chosen if known and word not in known]
    return message + (f"\nnote: {args.name} has no tool {', '.join(unknown)}" if unknown else "")


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text[:80]} gives no value", next_step=f"--set {text[:80]}=VALUE")
    return name, value


def _tools_of(name: str, context: Context) -> dict[str, bool]:
    """The server's tools by its own names, and whether the model gets them; {} when nobody knows."""
    try:
        shown = context.call("mcp.show", name=name, profile=context.profile)
    except HermesError:
        return {}
    known = dict.fromkeys(shown.get("left_out", ()), False)
    return known | {tool["tool"]: True for tool in shown["tools"] if tool["kind"] == "tool"}


def _choose(name: str, context: Context, profile: Profile) -> str:
    """Ask a person which tools the model gets; the list as JSON."""
    from hermesctl.output import is_interactive
    from hermesd.mcp.typed import mcp_command

    if not is_interactive():
        raise UsageError("nothing to change", next_step="give --include, --exclude, --trusted or --set")
    known = _tools_of(name, context)
    if not known:
        raise UsageError(
            f"the tools of {name} are not known yet", next_step=mcp_command(profile.told_name, "test", name)
        )
    return choose(name, known)


def choose(name: str, known: Mapping[str, bool]) -> str:
    """Ask a person which of the tools the model gets; the list as JSON. Raises UsageError for no or another answer."""
    import json

    tools = sorted(known)
    for number, tool in enumerate(tools, 1):
        print(f"{number:>4} {'*' if known[tool] else ' '} {tool}")
    print("Tools to keep, by number (1,3,5; nothing for all): ", end="", flush=True)
    line = sys.stdin.readline()
    step = "give them by name: --include A,B"
    if not line:
        print()
        raise UsageError("no answer; the tools stay as they are", next_step=step)
    answer = line.replace(",", " ").split()
    if any(not word.isdecimal() or not 1 <= int(word) <= len(tools) for word in answer):
        raise UsageError("those are no numbers of the list", next_step=step)
    return json.dumps([tools[int(word) - 1] for word in answer])


CHANGES = {"add": _add, "remove": _remove, "configure": _configure, "enable": _enable, "disable": _enable}
"""Each changes the files and returns what to tell; raises HermesError."""
