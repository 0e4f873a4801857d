"""``hermesctl cron``: scheduled jobs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hermesctl.arguments import TARGETS, actions
from hermesctl.turn_options import register_turn_options, said, turn_fields
from hermesd.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context

ACTIONS = {
    "list": "every job with its next instant",
    "show": "one job, and when it is due",
    "runs": "what came of a job's occurrences, or of all",
    "create": "make a job: SCHEDULE [PROMPT]",
    "edit": "change a job; what is not given stays",
    "pause": "have it wait until it is resumed",
    "resume": "have it run again from its next instant on",
    "run": "run it now, besides its schedule",
    "remove": "remove it; what is recorded of its runs stays",
    "next": "when a schedule would be due, without making a job",
    "import": "take over a jobs.json (FILE, or - for standard input)",
    "export": "print jobs in the form of jobs.json",
}
ALIASES = {"add": "create", "delete": "remove"}
"""As hermes-agent has them too."""

READING = ("list", "show", "runs")
EXAMPLES = """\
schedules:
  "0 9 * * MON-FRI"          cron: minute hour day month weekday; also @hourly, @daily, L, MON#1
  "every 30m", "every 2h30m" an interval from now on
  "every weekday at 09:00"   also: every day, every weekend, every mon,thu
  "30m"                      once, that long from now
  "2026-12-24T18:00"         once, in the job's time zone
  "CRON_TZ=Asia/Tokyo 0 9 * * *"   cron in a zone of its own

"""


def register(parser: argparse.ArgumentParser) -> None:
    """The actions and their arguments."""
    import argparse

    verbs = actions(parser, ACTIONS, default="list", aliases=ALIASES)
    for each in (parser, verbs["list"]):
        each.add_argument("-a", "--all", action="store_true", help="jobs of every profile")
    for name in ("show", "edit", "pause", "resume", "run", "remove"):
        verbs[name].add_argument("job", metavar="JOB", help="its id, the beginning of it, or its name")
    verbs["runs"].add_argument("job", nargs="?", default="", metavar="JOB", help="one job; else all")
    verbs["runs"].add_argument("-n", "--limit", type=int, metavar="N", help="at most this many (20)")
    create = verbs["create"]
    create.add_argument("schedule", metavar="SCHEDULE", help="when it is due, see below")
    create.add_argument("words", nargs="?", metavar="PROMPT", help="what the agent is told; - reads it")
    create.add_argument("--prompt", metavar="PROMPT", help="the same, for use among other options")
    create.add_argument("--paused", action="store_true", help="make it, but do not run it yet")
    edit = verbs["edit"]
    edit.add_argument("--schedule", metavar="SCHEDULE", help="when it is due, see below")
    edit.add_argument("--prompt", metavar="PROMPT", help="- reads it")
    edit.add_argument("--agent", dest="no_agent", action="store_false", default=None, help="undo --no-agent")
    for each in (create, edit):
        each.epilog, each.formatter_class = EXAMPLES + TARGETS, argparse.RawDescriptionHelpFormatter
        _register_fields(each)
    upcoming = verbs["next"]
    upcoming.add_argument("schedule", metavar="SCHEDULE", help="see below")
    upcoming.add_argument("-n", "--count", type=int, default=5, metavar="N", help="so many instants (5)")
    upcoming.add_argument("--tz", metavar="ZONE", help="time zone of the schedule, like Europe/Berlin")
    upcoming.epilog, upcoming.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    verbs["import"].add_argument("file", metavar="FILE")
    verbs["export"].add_argument("-a", "--all", action="store_true", help="jobs of every profile")


def _register_fields(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--name", metavar="NAME", help="what it is called (the first words of its prompt)")
    register_turn_options(parser)
    add("--script", metavar="FILE", help="below the profile's scripts/; what it prints is context")
    add("--no-agent", dest="no_agent", action="store_true", default=None, help="deliver what the script prints")
    add("--context-from", metavar="JOB", help="begin with that job's last words")
    add("--repeat", type=int, metavar="N", help="end the job after so many runs")
    add("--expires", metavar="WHEN", help="end the job then: an instant, or 30d")
    add("--misfire", choices=("skip", "run_once", "run_all"), help="what is done about missed occurrences")
    add("--catch-up", type=int, metavar="N", help="how many of them run_all makes up for")
    add("--grace", type=float, metavar="S", help="seconds after which an occurrence counts as missed (60)")
    add("--overlap", choices=("forbid", "queue", "allow"), help="what is done while an earlier run is under way")
    add("--jitter", type=float, metavar="S", help="spread the start over so many seconds")


def run(args: argparse.Namespace, context: Context) -> int:
    """Do the action."""
    if args.action in READING:
        return context.render()
    handler = _SPECIAL.get(args.action)
    if handler is not None:
        return handler(args, context)
    return context.show(context.act(f"cron.{args.action}", job=args.job, profile=context.profile))


def _create(args: argparse.Namespace, context: Context) -> int:
    if args.words is not None:
        args.prompt = args.words
    fields = _fields(args)
    result = context.act("cron.create", fields=fields, profile=context.profile, paused=args.paused)
    return context.show(result, _made(result))


def _edit(args: argparse.Namespace, context: Context) -> int:
    fields = _fields(args)
    if not fields:
        raise UsageError("nothing to change", next_step="give --schedule, --prompt or another field; see --help")
    result = context.act("cron.edit", job=args.job, fields=fields, profile=context.profile)
    return context.show(result, _made(result))


def _made(result: dict[str, Any]) -> str:  # JSON
    job = result["job"]
    lines = [
        result["message"],
        f"  {job['schedule']}  {job['timezone']}",
        *(f"  {each}" for each in job.get("next", ())),
    ]
    return "\n".join(lines + ([] if job.get("next") else ["  (paused)"]))


def _fields(args: argparse.Namespace) -> dict[str, Any]:  # JSON
    given = turn_fields(args) | {
        "schedule": args.schedule,
        "script": args.script,
        "no_agent": args.no_agent,
        "context_from": args.context_from,
        "repeat": args.repeat,
        "expires": args.expires,
        "misfire": args.misfire,
        "catch_up": args.catch_up,
        "grace_s": args.grace,
        "overlap": args.overlap,
        "jitter_s": args.jitter,
    }
    return said(given)


def _next(args: argparse.Namespace, context: Context) -> int:
    result = context.call(
        "cron.next", schedule=args.schedule, timezone=args.tz or "", profile=context.profile, count=args.count
    )
    text = "\n".join([f"{result['schedule']}  {result['timezone']}", *(f"  {each}" for each in result["next"])])
    return context.show(result, text)


def _import(args: argparse.Namespace, context: Context) -> int:
    from pathlib import Path

    try:
        text = sys.stdin.read() if args.file == "-" else Path(args.file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{args.file} cannot be read: {why}", next_step="name a jobs.json") from None
    return context.show(context.act("cron.import", text=text, profile=context.profile))


def _export(args: argparse.Namespace, context: Context) -> int:
    print(context.call("cron.export", profile=context.profile, all=args.all)["message"])
    return 0


_SPECIAL = {"create": _create, "edit": _edit, "next": _next, "import": _import, "export": _export}
