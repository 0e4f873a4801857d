"""The options that jobs and watches have in common: of the turns that they begin."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse


def register_turn_options(parser: argparse.ArgumentParser) -> None:
    """Add them; ``turn_fields`` reads them."""
    add = parser.add_argument
    add("--deliver", metavar="WHERE", help="where the answer goes, see below (local)")
    add("--tz", metavar="ZONE", help="time zone of the schedule, like Europe/Berlin")
    register_choice_options(parser, default=None)
    add("--skills", "--skill", metavar="A,B", help="skills that the agent is given; see `hermesctl skills`")
    add("--workdir", metavar="DIR", help="where its script and its commands run")
    add("--timeout", type=float, metavar="S", help="seconds a run may take")
    add("--max-turns", type=int, metavar="N", help="steps a run may take")
    add("--budget", type=int, metavar="TOKENS", help="tokens, in and out, after which a run is stopped")


def register_choice_options(parser: argparse.ArgumentParser, *, default: str | None) -> None:
    """Add what its turns use instead of what the profile says; a webhook has these, too."""
    add = parser.add_argument
    add("--model", default=default, metavar="MODEL", help="another model than the profile's")
    add("--provider", default=default, metavar="NAME", help="another provider than the profile's")
    add("--toolsets", default=default, metavar="A,B", help="these tools instead of the profile's")


def turn_fields(args: argparse.Namespace) -> dict[str, Any]:  # JSON
    """What was given, by the names of ``TurnFields``; None for the rest. A prompt ``-`` is read from standard input."""
    return {
        "name": args.name,
        "prompt": sys.stdin.read() if args.prompt == "-" else args.prompt,
        "timezone": args.tz,
        "deliver": args.deliver,
        "model": args.model,
        "provider": args.provider,
        "toolsets": words(args.toolsets),
        "skills": words(args.skills),
        "workdir": args.workdir,
        "timeout_s": args.timeout,
        "max_turns": args.max_turns,
        "budget": args.budget,
    }


def words(text: str | None) -> list[str] | None:
    """``A,B`` as a list; None stays None."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def said(fields: dict[str, Any]) -> dict[str, Any]:  # JSON
    """Less what was not given."""
    return {name: value for name, value in fields.items() if value is not None}
