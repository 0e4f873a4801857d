"""argv → verb → exit status (contracts: 0 1 2 69 75 77 78). Only the chosen verb's module is imported."""

from __future__ import annotations

import errno
import os
import sys

from hermesctl import __version__
from hermesctl.output import take_any_text
from hermesctl.verbs import VERBS, module_of
from hermesd.errors import HermesError

USAGE = """usage: hermesctl [-p PROFILE] [--json] VERB …

{verbs}

  -p, --profile NAME   the profile that is meant, instead of the current one
  --json               print results as JSON
  -V, --version        print the version
  -h, --help           this text; `hermesctl VERB --help` tells more

exit status: 0 done, 1 failed, 2 usage, 69 no daemon, 75 try again, 77 not permitted, 78 configuration error
"""

UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def main(argv: list[str] | None = None, *, routed: bool | None = None) -> int:
    """Run one call, in a container if it belongs there; errors are printed here and nowhere else.

    ``routed``: whether it does, where that has been looked up already. Returns the exit status.
    """
    arguments = sys.argv[1:] if argv is None else argv
    take_any_text()
    try:
        status = _route(arguments, routed)
        if status is None:
            status = _run(arguments)
            if sys.stdout is not None:  # closed by whoever started us
                sys.stdout.flush()
    except HermesError as error:
        from hermesctl.output import print_error

        print_error(error, arguments)
        return error.exit_status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader has left; the flush at exit must not fail again
        return 0
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        print(f"hermesctl: standard output cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    return status


def _route(arguments: list[str], routed: bool | None) -> int | None:
    """The status of a call that belongs into a container; None for one that belongs here."""
    from hermesctl import fast

    if not (fast.is_routed() if routed is None else routed):
        return None
    from hermesctl.routing.route import route

    return route(fast.home(), arguments)


def _run(argv: list[str]) -> int:
    from hermesctl.arguments import Parser, split_verb

    Parser.argv = argv
    flags, verb, rest = split_verb(argv)
    if "-V" in flags or "--version" in flags:
        print(f"hermesctl {__version__}")
        return 0
    if "-h" in flags or "--help" in flags or not verb:
        print(_usage(), end="", file=sys.stdout if flags else sys.stderr)
        return 0 if flags else 2
    if verb not in VERBS:
        raise _unknown(verb)
    import importlib

    module = importlib.import_module(module_of(verb))
    parser = Parser(prog=f"hermesctl {verb}", description=VERBS[verb])
    module.register(parser)
    args = parser.parse_args([*flags, *rest])
    from hermesctl.context import Context

    context = Context(argv=argv, profile=getattr(args, "profile", ""), json=getattr(args, "json", False))
    return int(module.run(args, context.at_its_own_daemon(verb)))


def _usage() -> str:
    return USAGE.format(verbs="\n".join(f"  {name:<14} {text}" for name, text in VERBS.items()))


def _unknown(verb: str) -> HermesError:
    import difflib

    from hermesd.errors import UsageError

    near = difflib.get_close_matches(verb, VERBS, n=1)
    hint = f"did you mean `hermesctl {near[0]}`?" if near else "see `hermesctl --help`"
    return UsageError(f"there is no verb {verb[:80]!r}", next_step=hint)


if __name__ == "__main__":
    sys.exit(main())
