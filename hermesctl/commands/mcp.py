"""``hermesctl mcp …``: the MCP servers of a profile. Reading is rendered by the daemon, files are changed here."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from hermesctl import mcp_change, mcp_discovery
from hermesctl.arguments import actions
from hermesctl.commands import mcp_login
from hermesctl.output import is_interactive
from hermesd.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from hermesctl.context import Context
    from hermesd.home import Profile

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
ALIASES = {"config": "configure", "catalog": "presets"}
"""As hermes-agent has them too."""

READING = ("list", "show", "tools")
EXIT_FAILED = 1


def register(parser: argparse.ArgumentParser) -> None:
    """The actions and their arguments."""
    verbs = actions(parser, ACTIONS, default="list", aliases=ALIASES)
    verbs["tools"].add_argument("name", nargs="?", default="", metavar="NAME")
    for action in ("show", "call", "test", "restart", "enable", "disable", "approve", "add", "remove", "configure"):
        verbs[action].add_argument("name", metavar="NAME")
    verbs["call"].add_argument("tool", metavar="TOOL", help="its name for the model, or the server's own")
    verbs["call"].add_argument("arguments", nargs="?", default="{}", metavar="JSON", help="an object; - reads it")
    verbs["approve"].add_argument("tool", nargs="*", metavar="TOOL", help="the server's own names; none means all")
    verbs["approve"].add_argument(
        "--expect", default="", metavar="MARK", help="what `mcp show` told; refused if they have changed again since"
    )
    mcp_change.register(verbs)
    mcp_login.register(verbs)


def run(args: argparse.Namespace, context: Context) -> int:
    """Do the action for the profile after ``-p``, or the current one."""
    if any(not _is_text(word) for word in context.argv):
        raise UsageError("what was given is not UTF-8", next_step="write it in UTF-8, in a locale like C.UTF-8")
    if args.action in READING:
        return context.render()
    if args.action == "serve":
        from hermesctl import mcp_serve

        return mcp_serve.run(context)
    if args.action == "presets":
        return mcp_change.presets(context)
    if args.action in ("add", "remove", "configure"):
        return _change(args, context)
    if args.action in ("enable", "disable"):
        return _switch(args, context)
    if args.action in mcp_login.ACTIONS:
        return mcp_login.run(args, context, _profile(context))
    params = {"name": args.name, "profile": context.profile}
    if args.action == "call":
        return _call(args, context)
    if args.action == "test":
        return mcp_discovery.test(context, args.name, context.profile)
    if args.action == "approve":
        return context.show(context.act("mcp.approve", tools=args.tool, expect=args.expect, **params))
    return context.show(context.act(f"mcp.{args.action}", **params))


def _call(args: argparse.Namespace, context: Context) -> int:
    import json

    text = sys.stdin.read() if args.arguments == "-" else args.arguments
    try:
        arguments = json.loads(text)
    except ValueError as error:
        step = 'write them as \'{"name": "value"}\', in single quotes, or give - and send them to the input'
        raise UsageError(f"the arguments are no JSON: {error}", next_step=step) from None
    if not isinstance(arguments, dict):
        raise UsageError("the arguments are no JSON object", next_step='write them as {"name": "value"}')
    result = context.act("mcp.call", name=args.name, tool=args.tool, arguments=arguments, profile=context.profile)
    context.show(result, str(result["text"]))
    return EXIT_FAILED if result.get("is_error") else 0


def _is_text(word: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in word)


# -- files -------------------------------------------------------------------------------------------------------------


def _change(args: argparse.Namespace, context: Context) -> int:
    from hermesd.mcp.typed import mcp_command

    profile = _profile(context)
    _check_ours(args, context)
    forget = mcp_login.forgetting(profile, args.name) if args.action == "remove" else None
    message = mcp_change.CHANGES[args.action](args, context, profile)
    is_watched = args.action == "add" and not context.json and is_interactive()
    refused: list[str] = []
    is_running = True
    try:
        refused = context.act("daemon.reload").get("refused", [])
        if args.action == "add" and not is_watched:
            message += f"\nsee whether it works with `{mcp_command(profile.told_name, 'test', args.name)}`"
    except UnreachableError:
        is_running = False
        message += "\nno daemon is running; this counts when one is started"
    message += forget() if forget is not None else ""
    context.show({"name": args.name, "message": message, "refused": refused}, message)
    for line in refused:
        print(f"hermesctl: {line}", file=sys.stderr)
    if args.action == "add" and not refused:
        if is_watched and is_running and not mcp_login.is_signed_in_to(profile, args.name):
            mcp_discovery.after_adding(context, args.name, profile)
        return mcp_login.offer(args.name, context, profile)
    return EXIT_FAILED if refused else 0


def _check_ours(args: argparse.Namespace, context: Context) -> None:
    """Raise ConfigError where somebody else declares the configuration."""
    from hermesd.config.managed import manager_of

    manager, profile = manager_of(context.home), _profile(context).name
    if manager is not None and manager.declares(f"mcp_servers.{args.name}", profile):
        raise manager.refusal(f"{args.action} the MCP server {args.name}")


def _switch(args: argparse.Namespace, context: Context) -> int:
    """By the daemon, which may belong to somebody else; where there is none, in the file."""
    _check_ours(args, context)
    try:
        return context.show(context.act(f"mcp.{args.action}", name=args.name, profile=context.profile))
    except UnreachableError:
        return _change(args, context)


def _profile(context: Context) -> Profile:
    from hermesd.profiles import ProfileStore

    return context.home.profile(context.profile or ProfileStore(context.home).current())
