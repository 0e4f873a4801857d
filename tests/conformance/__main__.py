"""``python -m tests.conformance [client|server|both]``: run the suite against hermesd and write the page."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence

from tests.conformance import page, suite
from tests.conformance.install import NotInstalledError
from tests.conformance.suite import Outcome, Scenario, Side

CLIENT = (sys.executable, "-m", "tests.conformance.client")


def main() -> int:
    """0 when every required scenario passed. The page is written after a whole run of a side only."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("side", nargs="?", choices=(*suite.SIDES, "both"), default="both")
    parser.add_argument("--scenario", default="", metavar="NAME", help="only this one; its output is shown")
    parser.add_argument("--spec-version", default="", metavar="VERSION", help="only scenarios of this version")
    parser.add_argument("--list", action="store_true", help="name the scenarios and run none")
    args = parser.parse_args()
    sides: Sequence[Side] = suite.SIDES if args.side == "both" else (args.side,)
    try:
        outcomes = [outcome for side in sides for outcome in _side(side, args)]
    except NotInstalledError as error:
        print(f"not run: {error}", file=sys.stderr)
        return 1
    return 1 if any(each.scenario.is_required and not each.passed for each in outcomes) else 0


def _side(side: Side, args: argparse.Namespace) -> list[Outcome]:
    wanted = suite.scenarios(side, version=args.spec_version, name=args.scenario)
    if args.list:
        for each in wanted:
            print(f"{side} {each.version} {each.name} ({each.status})")
        return []
    with _target(side) as target:
        outcomes = [_run(each, target, verbose=bool(args.scenario)) for each in wanted]
    for label, figure in page.figures(outcomes):
        print(f"{side}: {label}: {figure}")
    if not (args.scenario or args.spec_version):
        page.write(side, outcomes)
    return outcomes


@contextlib.contextmanager
def _target(side: Side) -> Iterator[str | Sequence[str]]:
    if side == "client":
        yield CLIENT
        return
    from tests.conformance.server import serving

    with serving() as url:
        yield url


def _run(scenario: Scenario, target: str | Sequence[str], *, verbose: bool) -> Outcome:
    outcome = suite.run(scenario, target)
    if verbose:
        print(outcome.output)
    word = "passed" if outcome.passed else "skipped" if outcome.skipped else "FAILED"
    print(f"{word}  {scenario.side} {scenario.version} {scenario.name} ({outcome.succeeded} checks, {scenario.status})")
    for problem in outcome.problems:
        print(f"        {problem}")
    sys.stdout.flush()
    return outcome


if __name__ == "__main__":
    sys.exit(main())
