"""hermesd: parse the few options, set up the process, run the app."""

from __future__ import annotations

import os
import sys

from hermesd import __version__
from hermesd.errors import HermesError

MAX_STATUS = 255
MAX_DESCRIPTOR = 2**31 - 1
MAX_DIGITS = 10
USAGE = """usage: hermesd [--home DIR] [--detach] [--ready-fd N] [--stop-status N] [--log-level LEVEL] [--verbose]
               [--version]

Runs every agent of a home as one supervised process, in the foreground.

  --home DIR         the home directory (default: $HERMES_HOME, or ~/.hermes)
  --detach           go to the background once ready; hermesd.pid holds the process id
  --ready-fd N       write a newline to descriptor N when ready, and close it (s6 readiness)
  --stop-status N    exit status after `hermesctl stop` (default: 0), to be told from a stop by a signal
  --log-level LEVEL  debug, info (default), warning, error
  --verbose          the same as --log-level debug
  --version          print the version

Signals: TERM or INT stops in order (a second one at once), HUP reads the configuration again.
"""


def main(argv: list[str] | None = None) -> int:
    """Run hermesd; returns its exit status (sysexits.h: 69, 75, 77, 78; 0 after a planned stop)."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments and (arguments[0] in ("-V", "--version") or "-h" in arguments or "--help" in arguments):
        sys.stdout.write(f"hermesd {__version__}\n" if arguments[0] in ("-V", "--version") else USAGE)
        return 0
    try:
        options = _parse(arguments)
        if os.getpid() == 1:
            if options.detach:
                from hermesd.errors import UsageError

                what, step = "the first process of a container cannot leave it to another", "leave --detach out"
                raise UsageError(what, where="--detach", next_step=step)
            from hermesd.deploy.first_process import stand_by

            if (status := stand_by()) is not None:
                return status
        from hermesd.collector import importing

        with importing():
            from hermesd.process import serve

        return serve(options)
    except HermesError as error:
        sys.stderr.write(f"hermesd: {error}\n")
        return error.exit_status


class Options:
    """What the command line asked for."""

    __slots__ = ("detach", "home", "log_level", "ready_fd", "stop_status")

    def __init__(self) -> None:
        self.home = ""
        self.detach = False
        self.ready_fd = -1
        self.stop_status = 0
        self.log_level = "info"


def _parse(arguments: list[str]) -> Options:
    from hermesd.errors import UsageError

    options = Options()
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, has_value, value = word.partition("=")
        if name == "--detach" and not has_value:
            options.detach = True
            continue
        if name == "--verbose" and not has_value:
            options.log_level = "debug"
            continue
        if name not in ("--home", "--ready-fd", "--stop-status", "--log-level"):
            raise UsageError(f"unknown option {word!r}", next_step="see hermesd --help")
        if not has_value:
            if not rest:
                raise UsageError(f"{name} needs a value", next_step="see hermesd --help")
            value = rest.pop(0)
        _set(options, name, value)
    return options


def _set(options: Options, name: str, value: str) -> None:
    from hermesd.errors import UsageError

    if name == "--home":
        options.home = os.path.abspath(os.path.expanduser(value))  # noqa: PTH100, PTH111 - pathlib is imported later
    elif name == "--log-level":
        if value not in ("debug", "info", "warning", "error"):
            raise UsageError(f"{value!r} is not a log level", next_step="use debug, info, warning or error")
        options.log_level = value
    elif name == "--stop-status":
        if (number := _number(value)) not in range(MAX_STATUS + 1):
            raise UsageError(f"{value[:60]!r} is not an exit status", next_step=f"give a number from 0 to {MAX_STATUS}")
        options.stop_status = number
    else:
        if (number := _number(value)) not in range(3, MAX_DESCRIPTOR + 1):
            raise UsageError(f"{value[:60]!r} is not a descriptor", next_step="give a number of 3 or more")
        options.ready_fd = number


def _number(text: str) -> int:
    """In decimal digits; -1 for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else -1


if __name__ == "__main__":
    sys.exit(main())
