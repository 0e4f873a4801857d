"""``hermesctl watch``: files, outputs of commands and systemd units whose changes begin a turn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hermesctl.arguments import TARGETS, actions
from hermesctl.turn_options import register_turn_options, said, turn_fields, words
from hermesd.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context

ACTIONS = {
    "list": "every watch with what it looks at",
    "show": "one watch, and what it has asked",
    "runs": "what came of a watch's events, or of all",
    "add": "watch something: [PROMPT] with --file, --command or --unit",
    "pause": "have it rest until it is resumed",
    "resume": "have it work again; what changes from now on counts",
    "remove": "remove it; what is recorded of its runs stays",
    "test": "what it sees now and would tell the agent; begins nothing",
    "answer": "answer what it has asked: yes, no or always",
}
READING = ("list", "show", "runs")
EXAMPLES = """\
examples:
  hermesctl watch add --file '~/notes/*.md' "Summarise what is new in {path}."
  hermesctl watch add --command backups.sh --every 10m --act "Say what is wrong: {output}"
  hermesctl watch add --unit nginx --states failed "Look into its journal."

In the prompt {path}, {paths}, {event}, {old}, {new}, {output} and {state} stand for what has changed.
"""


def register(parser: argparse.ArgumentParser) -> None:
    """The actions and their arguments."""
    import argparse

    verbs = actions(parser, ACTIONS, default="list")
    for each in (parser, verbs["list"]):
        each.add_argument("-a", "--all", action="store_true", help="watches of every profile")
    for name in ("show", "pause", "resume", "remove", "test", "answer"):
        verbs[name].add_argument("watch", metavar="WATCH", help="its id, the beginning of it, or its name")
    verbs["runs"].add_argument("watch", nargs="?", default="", metavar="WATCH", help="one watch; else all")
    verbs["runs"].add_argument("-n", "--limit", type=int, metavar="N", help="at most this many (20)")
    verbs["answer"].add_argument("answer", choices=("yes", "no", "always"))
    add = verbs["add"]
    add.epilog, add.formatter_class = f"{EXAMPLES}\n{TARGETS}", argparse.RawDescriptionHelpFormatter
    _register_fields(add)


def _register_fields(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("words", nargs="?", metavar="PROMPT", help="what the agent is told; - reads it")
    add("--prompt", metavar="PROMPT", help="the same, for use among other options")
    add("--file", dest="files", action="append", metavar="PATTERN", help="a file, a directory, or like ~/notes/**/*.md")
    add("--command", metavar="SCRIPT", help="below the profile's scripts/; what it prints is watched")
    add("--every", metavar="SCHEDULE", help="when the command is run, like 10m or '0 * * * *'")
    add("--unit", metavar="NAME", help="a systemd unit, like nginx or backup.timer")
    add("--user", dest="bus", action="store_const", const="user", help="a unit of the user's own service manager")
    add("--states", metavar="A,B", help="only when the unit comes into one of these, like failed")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--suggest", dest="mode", action="store_const", const="suggest", help="ask first (the default)")
    mode.add_argument("--act", dest="mode", action="store_const", const="act", help="act without asking")
    add("--debounce", type=float, metavar="S", help="how long things must have rested (1)")
    add(
        "--while-running", choices=("ignore", "count"), help="changes while its own turn works: its own doing, or count"
    )
    add("--name", metavar="NAME", help="what it is called (what it looks at)")
    register_turn_options(parser)
    add("--paused", action="store_true", help="make it, but do not begin yet")


def run(args: argparse.Namespace, context: Context) -> int:
    """Do the action."""
    match args.action:
        case action if action in READING:
            return context.render()
        case "add":
            return _add(args, context)
        case "test":
            return _test(args, context)
        case "answer":
            result = context.act("watch.answer", watch=args.watch, answer=args.answer, profile=context.profile)
            return context.show(result)
    return context.show(context.act(f"watch.{args.action}", watch=args.watch, profile=context.profile))


def _add(args: argparse.Namespace, context: Context) -> int:
    result = context.act("watch.add", fields=_fields(args), profile=context.profile, paused=args.paused)
    watch = result["watch"]
    lines = [result["message"], f"  {watch['what']}"]
    if watch.get("error"):
        lines.append(f"  not yet: {watch['error']}")
    return context.show(result, "\n".join(lines))


def _test(args: argparse.Namespace, context: Context) -> int:
    result = context.act("watch.test", watch=args.watch, profile=context.profile)
    return context.show(result, "\n\n".join(filter(None, (result["sees"], result["prompt"]))))


def _fields(args: argparse.Namespace) -> dict[str, Any]:  # JSON
    if args.words is not None:
        args.prompt = args.words
    given = turn_fields(args) | {
        "files": [_absolute(text) for text in args.files] if args.files else None,
        "command": args.command,
        "every": _schedule(args.every),
        "unit": args.unit,
        "bus": args.bus,
        "states": words(args.states),
        "mode": args.mode,
        "debounce_s": args.debounce,
        "while_running": args.while_running,
    }
    return said(given)


def _absolute(pattern: str) -> str:
    """Where the pattern is on this machine, whatever directory and home the daemon has."""
    if not pattern:
        raise UsageError("--file needs a pattern", next_step="like ~/notes/*.md")
    path = str(Path.cwd() / Path(pattern).expanduser())
    return f"{path}/" if pattern.endswith("/") and path != "/" else path


def _schedule(text: str | None) -> str | None:
    """``--every 10m`` reads as it is said: every 10m."""
    return f"every {text}" if text and text[0].isdigit() and " " not in text and "T" not in text else text
