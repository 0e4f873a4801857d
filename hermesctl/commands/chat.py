"""``hermesctl chat``: talk to an agent at a terminal, or ask one question (-q, or through a pipe)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context


def register(parser: argparse.ArgumentParser) -> None:
    """What to ask, in which session, and whether to start the daemon."""
    parser.add_argument("-q", "--query", metavar="TEXT", help="ask this and print the answer, nothing else")
    session = parser.add_mutually_exclusive_group()
    session.add_argument(
        "-r", "--resume", nargs="?", const="", metavar="SESSION", help="go on with this session, or choose one"
    )
    session.add_argument("-c", "--continue", dest="last", action="store_true", help="go on with the last session")
    session.add_argument("--new", action="store_true", help="begin a fresh session")
    parser.add_argument("--spawn", action="store_true", help="start hermesd first when it is not running")
    parser.add_argument("--yolo", action="store_true", help="allow every tool call that would need an approval")
    parser.add_argument("-v", "--verbose", action="store_true", help="show reasoning and whole tool results")


def run(args: argparse.Namespace, context: Context) -> int:
    """Connect (starting hermesd if asked to), then chat or ask."""
    from hermesctl.chat.conversation import Conversation
    from hermesctl.chat.spawn import ensure_daemon
    from hermesctl.output import is_interactive

    question: str | None = args.query
    interactive = question is None and is_interactive()
    ensure_daemon(context, spawn=args.spawn, may_ask=interactive)
    conversation = Conversation(context, new=args.new)
    if args.last:
        conversation.resume_last()
    elif args.resume:
        conversation.resume(args.resume)
    if interactive:
        from hermesctl.chat.interactive import Chat

        return Chat(conversation, yolo=args.yolo, verbose=args.verbose).run(choose=args.resume == "")
    from hermesctl.chat.oneshot import ask, piped_question

    return ask(conversation, piped_question() if question is None else question, yolo=args.yolo)
