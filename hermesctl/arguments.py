"""Parsing: global flags may stand before or after the verb, and errors look like all others."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, ClassVar, NoReturn

from hermesctl.output import print_error
from hermesd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


TARGETS = """\
targets, several with commas between them:
  local                        a file in outbox/
  log                          a line of the daemon's log
  telegram, slack, discord     the home channel; a chat of it: telegram:CHAT[:THREAD], slack:CHANNEL
  sms:+15551234567             a text message
  email:ada@example.com        a mail
  webhook:https://…            a signed POST
  github_comment:OWNER/REPO#12 a comment on an issue or pull request; a webhook's payload may tell which
  all                          every home channel
  origin                       the chat it was asked for in, else the first home channel
"""
"""What ``--deliver`` takes, for the help of what delivers."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser without abbreviations whose errors follow ``hermesctl: what`` and ``  → next step``."""

    usage_status = 2
    argv: ClassVar[Sequence[str]] = ()
    """The whole command line of this call, whose parsers are many."""

    def __init__(self, **options: object) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": _formatter, **options})  # type: ignore[arg-type]  # argparse's own keywords
        add_common(self)

    def error(self, message: str) -> NoReturn:
        """Print the message and end with ``usage_status``, which is 2 as argparse has it unless 2 means something."""
        error = UsageError(message, next_step=f"see `{self.prog} --help`")
        error.exit_status = self.usage_status
        print_error(error, Parser.argv)
        raise SystemExit(self.usage_status)


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Help beside the longest flag, as wide as the terminal up to 100 columns."""
    import shutil

    return argparse.HelpFormatter(prog, max_help_position=32, width=min(shutil.get_terminal_size().columns, 100) - 2)


def add_common(parser: argparse.ArgumentParser) -> None:
    """The flags of every verb; SUPPRESS keeps one given early from being reset by a sub-parser's default."""
    common = parser.add_argument_group("everywhere")
    common.add_argument("-p", "--profile", metavar="NAME", default=argparse.SUPPRESS, help="the profile that is meant")
    common.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print the result as JSON")


ALIASES = {"ls": ("list",), "rm": ("remove", "delete")}
"""Other words for actions of every verb, for the first of these that it has. The daemon knows those that read."""


def actions(
    parser: argparse.ArgumentParser,
    names: Mapping[str, str],
    *,
    default: str = "",
    aliases: Mapping[str, str] | None = None,
) -> dict[str, Parser]:
    """Sub-commands by name with their one line of help; the chosen one is ``args.action``, ``default`` when none is.

    ``aliases``: other words for some, beside ALIASES, which every verb has where it has what they stand for.
    """
    group = parser.add_subparsers(
        dest="action", metavar="ACTION", title="actions", required=not default, parser_class=Parser
    )
    parser.set_defaults(action=default)
    meant = {alias: next((name for name in stands if name in names), "") for alias, stands in ALIASES.items()}
    meant |= aliases or {}
    made = {}
    for name, text in names.items():
        others = [alias for alias, action in meant.items() if action == name]
        made[name] = group.add_parser(name, help=text, description=text, aliases=others)
        made[name].set_defaults(action=name)  # whatever was typed
    return made


def split_verb(argv: list[str]) -> tuple[list[str], str, list[str]]:
    """Flags before the verb, the verb ('' when there is none), and what follows it."""
    position = 0
    while position < len(argv) and argv[position].startswith("-"):
        position += 2 if argv[position] in ("-p", "--profile") else 1
    if position >= len(argv):
        return argv, "", []
    return argv[:position], argv[position], argv[position + 1 :]
