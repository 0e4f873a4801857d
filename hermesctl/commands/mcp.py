"""``hermesctl mcp …``: the MCP servers of a profile. Reading is rendered by the daemon, files are changed here."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from hermesctl.arguments import actions
from hermesctl.commands import mcp_login
from hermesd.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from hermesctl.context import Context
    from hermesd.home import Profile
    from hermesd.mcp.presets import Preset

ACTIONS = {
    "list": "every server: state, tools, last error",
    "show": "one server with its tools",
    "tools": "the tools of one server, or of all",
    "call": "call a tool: SERVER TOOL [JSON]",
    "test": "connect and list the tools",
    "restart": "end it and start it again",
    "enable": "have it run",
    "disable": "have it not run",
    "approve": "approve tools whose definition has changed",
    **mcp_login.ACTIONS,
    "add": "add one; secrets go to .env",
    "remove": "take one out of config.yaml",
    "configure": "choose its tools, change its settings",
    "presets": "well-known servers for add --preset",
    "serve": "be an MCP server on stdin and stdout, for other agents",
}
READING = ("list", "show", "tools")
EXIT_FAILED = 1


def register(parser: argparse.ArgumentParser) -> None:
    """The actions and their arguments."""
    verbs = actions(parser, ACTIONS, default="list")
    verbs["tools"].add_argument("name", nargs="?", default="", metavar="NAME")
    for action in ("show", "call", "test", "restart", "enable", "disable", "approve", "add", "remove", "configure"):
        verbs[action].add_argument("name", metavar="NAME")
    verbs["call"].add_argument("tool", metavar="TOOL", help="its name for the model, or the server's own")
    verbs["call"].add_argument("arguments", nargs="?", default="{}", metavar="JSON", help="an object; - reads it")
    verbs["approve"].add_argument("tool", nargs="*", metavar="TOOL", help="the server's own names; none means all")
    mcp_login.register(verbs)
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


def run(args: argparse.Namespace, context: Context) -> int:
    """Do the action for the profile after ``-p``, or the current one."""
    if args.action in READING:
        return context.render()
    if args.action == "serve":
        from hermesctl import mcp_serve

        return mcp_serve.run(context)
    if args.action == "presets":
        return _presets(context)
    if args.action in ("add", "remove", "configure"):
        return _change(args, context)
    if args.action in mcp_login.ACTIONS:
        return mcp_login.run(args, context, _profile(context))
    params = {"name": args.name, "profile": context.profile}
    if args.action == "call":
        return _call(args, context)
    if args.action == "test":
        return _test(context, params)
    if args.action == "approve":
        return context.show(context.act("mcp.approve", tools=args.tool, **params))
    return context.show(context.act(f"mcp.{args.action}", **params))


def _call(args: argparse.Namespace, context: Context) -> int:
    import json
    import sys

    text = sys.stdin.read() if args.arguments == "-" else args.arguments
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise UsageError(f"the arguments are no JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise UsageError("the arguments are no JSON object", next_step='write them as {"name": "value"}')
    result = context.act("mcp.call", name=args.name, tool=args.tool, arguments=arguments, profile=context.profile)
    context.show(result, str(result["text"]))
    return EXIT_FAILED if result.get("is_error") else 0


def _test(context: Context, params: dict[str, str]) -> int:
    result = context.act("mcp.test", **params)
    if result["ok"]:
        text = f"{params['name']}: ready, {result.get('tools', 0)} tools, {result.get('elapsed_s', 0.0):.2f} s"
    else:
        text = f"{params['name']}: {result['state']}: {result.get('error', '')}".rstrip(": ")
        text += f"\n  → {result['next_step']}" if result.get("next_step") else ""
    context.show(result, text)
    return 0 if result["ok"] else EXIT_FAILED


def _presets(context: Context) -> int:
    from hermesd.mcp.presets import PRESETS

    lines = []
    for name, preset in PRESETS.items():
        target = preset.url or " ".join((preset.command, *preset.args, preset.rest)).strip()
        lines.append(f"{name:<20} {preset.description}: {target}")
    return context.show({"presets": {name: preset.description for name, preset in PRESETS.items()}}, "\n".join(lines))


# -- files -------------------------------------------------------------------------------------------------------------


def _change(args: argparse.Namespace, context: Context) -> int:
    from hermesd.config.managed import manager_of

    profile = _profile(context)
    if (manager := manager_of(context.home)) is not None and manager.declares(f"mcp_servers.{args.name}"):
        raise manager.refusal(f"{args.action} the MCP server {args.name}")
    change = {"add": _add, "remove": _remove, "configure": _configure}[args.action]
    forget = mcp_login.forgetting(profile, args.name) if args.action == "remove" else None
    message = change(args, context, profile)
    try:
        context.act("daemon.reload")
    except UnreachableError:
        message += "\nno daemon is running; it will be there when one is"
    message += forget() if forget is not None else ""
    status = context.show({"name": args.name, "message": message})
    return mcp_login.offer(args.name, context, profile) if args.action == "add" else status


def _profile(context: Context) -> Profile:
    from hermesd.profiles import ProfileStore

    return context.home.profile(context.profile or ProfileStore(context.home).current())


def _add(args: argparse.Namespace, _context: Context, profile: Profile) -> str:
    from hermesd.mcp.configure import NewServer, add

    preset = _preset(args.preset)
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
    variables = add(profile, new)
    message = f"added {args.name} to {profile.config_path}"
    message += f"; {', '.join(variables)} went to {profile.env_path}" if variables else ""
    return message + (f"\nsign in with `hermesctl mcp login {args.name}`" if new.auth == "oauth" else "")


def _preset(name: str | None) -> Preset | None:
    from hermesd.mcp.presets import PRESETS

    if name is not None and name not in PRESETS:
        raise UsageError(f"there is no preset {name[:80]!r}", next_step=f"one of: {', '.join(PRESETS)}")
    return PRESETS[name] if name is not None else None


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    return name, value if equals else os.environ.get(name) or _ask(name)


def _header(text: str) -> tuple[str, str]:
    name, _, value = text.partition(":")
    return name.strip(), value.strip() or _ask(name.strip())


def _ask(name: str) -> str:
    """A secret that does not have to stand on the command line."""
    import getpass
    import sys

    if sys.stdin.isatty():
        return getpass.getpass(f"{name}: ")
    return sys.stdin.readline().rstrip("\n")


def _remove(args: argparse.Namespace, _context: Context, profile: Profile) -> str:
    from hermesd.mcp.configure import remove

    left = remove(profile, args.name)
    message = f"removed {args.name} from {profile.config_path}"
    return message + (f"; {', '.join(left)} in {profile.env_path} may go too" if left else "")


def _configure(args: argparse.Namespace, context: Context, profile: Profile) -> str:
    from hermesd.config.write import set_value
    from hermesd.mcp.configure import key_of

    key = key_of(args.name)
    changes = [each.partition("=")[::2] for each in args.set]
    for name in ("include", "exclude"):
        if (words := getattr(args, name)) is not None:
            changes.append((f"tools.{name}", words or "[]"))
    if args.trusted is not None:
        changes.append(("trusted", "true" if args.trusted else "false"))
    if not changes:
        changes = [("tools.include", _choose(args.name, context))]
    for name, value in changes:
        set_value(profile, f"{key}.{name}", value)
    return f"set {', '.join(name for name, _ in changes)} of {args.name}"


def _choose(name: str, context: Context) -> str:
    """Ask a person which tools the model gets."""
    from hermesctl.output import is_interactive

    if not is_interactive():
        raise UsageError("nothing to change", next_step="give --include, --exclude, --trusted or --set")
    tools = list(context.call("mcp.tools", name=name, profile=context.profile)["tools"])
    for number, tool in enumerate(tools, 1):
        print(f"{number:>4}  {tool['tool']}")
    answer = input("Tools to keep, by number (1,3,5; nothing for all): ").replace(",", " ").split()
    if any(not word.isdigit() or not 1 <= int(word) <= len(tools) for word in answer):
        raise UsageError("those are no numbers of the list")
    return ",".join(tools[int(word) - 1]["tool"] for word in answer) or "[]"
