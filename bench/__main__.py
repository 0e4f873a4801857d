"""Ours beside others, in one run on the same work: ``python -m bench [PART …] [--quick] [--no-peers]``.

Prints every figure with its ratio, writes bench/results/PART.json and the tables of docs/benchmarks.md. Exit status 1
when a part could not be run; a missed target is reported, not failed: that depends on the machine.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench import environments, figures, mcp_servers, namespace, report
from bench.measure import OtherWork

PARTS = {
    "client_start": "The client: wall time of a whole command",
    "rpc": "Requests over the socket",
    "startup": "From exec to READY",
    "idle": "Doing nothing: memory and wake-ups",
    "turn": "A turn, beside the model's own time",
    "webhook": "A signed webhook, durable before its 202",
    "supervision": "What crashes comes back",
    "store": "Commits",
    "mcp": "MCP servers, beside the bare SDK",
    "cron": "Ten thousand scheduled jobs",
}
RUNS = {
    "client_start": 40,
    "rpc": 8,
    "startup": 10,
    "idle": 1,
    "turn": 60,
    "webhook": 3,
    "supervision": 1,
    "store": 1,
    "mcp": 40,
    "cron": 7,
}
"""How often each thing is measured; ``--quick`` does a quarter."""

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 240
"""A part that takes longer is stopped."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="a quarter of the repetitions")
    parser.add_argument("--no-peers", action="store_true", help="install and run no other program")
    parser.add_argument("--inner", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))} (there are {', '.join(PARTS)})")
    if options.inner:
        return run_part(options.inner, quick=options.quick, peers=not options.no_peers)
    chosen = options.parts or list(PARTS)
    environments.build_wheel()
    if not options.no_peers:
        install_peers()
    if "mcp" in chosen:
        install_mcp_servers()
    failed = [part for part in chosen if not run_apart(part, quick=options.quick, peers=not options.no_peers)]
    report.write_page(PARTS)
    if failed:
        print(f"could not be run: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def run_apart(part: str, *, quick: bool, peers: bool) -> bool:
    """One part in a process, and if possible a network, of its own; whether it ended well."""
    command = [sys.executable, "-m", "bench", "--inner", part]
    command += [flag for flag, wanted in (("--quick", quick), ("--no-peers", not peers)) if wanted]
    others = OtherWork()
    done = subprocess.run(namespace.wrap(command), cwd=ROOT, check=False)
    if done.returncode == 0:
        figures.note_other_work(part, others.share())
        print(f"  other programs had {100 * others.share():.0f} % of the processors meanwhile", flush=True)
    return done.returncode == 0


def install_peers() -> None:
    """Before a namespace cuts pip off; a peer that cannot be installed is reported by the parts that want it."""
    for name in environments.REQUIREMENTS:
        try:
            environments.peer(name)
        except environments.NotAvailableError as error:
            print(error, file=sys.stderr)


def install_mcp_servers() -> None:
    """The same for the servers of that part."""
    try:
        mcp_servers.install()
    except environments.NotAvailableError as error:
        print(error, file=sys.stderr)


def give_up(_number: int, _frame: object) -> None:
    """The alarm of ``run_part``."""
    raise TimeoutError(f"took longer than {LIMIT_S} s")


def run_part(part: str, *, quick: bool, peers: bool) -> int:
    """Measure, print, save. TimeoutError after LIMIT_S, once everything that was started has been stopped."""
    begun = time.monotonic()
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LIMIT_S)
    print(f"{PARTS[part]}", flush=True)
    runs = max(1, RUNS[part] // 4) if quick else RUNS[part]
    rows = importlib.import_module(f"bench.parts.{part}").run(runs=runs, peers=peers)
    signal.alarm(0)
    figures.save(part, rows, seconds=time.monotonic() - begun)
    print(report.text(rows), flush=True)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
