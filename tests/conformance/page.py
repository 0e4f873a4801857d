"""docs/mcp-conformance.md: what the last whole run found."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import hermesd
from tests.conformance.install import installed
from tests.conformance.suite import REVISIONS, ROOT, SIDES, Outcome, Side

PATH = ROOT / "docs/mcp-conformance.md"
BEGIN = "<!-- {side}: begin -->"
END = "<!-- {side}: end -->"
_SUBJECT = {
    "client": "hermesd as a client: a daemon of its own for each scenario, configured by `hermesctl mcp add`, made to "
    "act over its socket.",
    "server": "hermesd as a server: the suite talks to the daemon's `/mcp`.",
}


def write(side: Side, outcomes: Sequence[Outcome], path: Path = PATH) -> None:
    """Replace one side's part; the other stays as it is."""
    parts = {each: _part(path, each) for each in SIDES}
    parts[side] = _section(side, outcomes)
    head = (
        "# MCP conformance\n\nWritten by `make mcp-conformance`; not to be edited. Each scenario is run by itself and "
        "judged by exit status,\nsignal, time and the suite's checks; a warning counts as a failure.\n"
    )
    path.write_text(head + "".join(f"\n{_framed(each, text)}" for each, text in parts.items() if text))


def _framed(side: Side, text: str) -> str:
    return f"{BEGIN.format(side=side)}\n{text}\n{END.format(side=side)}\n"


def _part(path: Path, side: Side) -> str:
    text = path.read_text() if path.exists() else ""
    _, found, rest = text.partition(BEGIN.format(side=side))
    return rest.partition(END.format(side=side))[0].strip("\n") if found else ""


def _section(side: Side, outcomes: Sequence[Outcome]) -> str:
    names = (*installed().versions, f"hermesd {hermesd.__version__}", f"mcp {version('mcp')}")
    lines = [f"## The {side} side", "", _SUBJECT[side], "", f"Versions: {', '.join(names)}.", ""]
    lines += ["| | passed |", "|---|---|", *(f"| {label} | {figure} |" for label, figure in figures(outcomes)), ""]
    lines += ["| spec version | scenario | counts | checks passed | failed | result |", "|---|---|---|---|---|---|"]
    lines += [_row(each) for each in outcomes]
    bad = [each for each in outcomes if not each.passed]
    if bad:
        lines += ["", "What did not pass, and why:", ""]
        lines += [f"- {_name(each)}: {_escaped('; '.join(each.problems[:3]))}" for each in bad]
    return "\n".join(lines)


def figures(outcomes: Sequence[Outcome]) -> list[tuple[str, str]]:
    """What is counted: required scenarios of each revision, and all scenarios (passed at every version they ran at)."""
    found = []
    for revision in REVISIONS:
        required = [each for each in outcomes if each.scenario.version == revision and each.scenario.is_required]
        if required:
            found.append((f"required by {revision}", f"{sum(each.passed for each in required)}/{len(required)}"))
    names = {each.scenario.name for each in outcomes}
    skipped = {each.scenario.name for each in outcomes if each.skipped}
    failed = {each.scenario.name for each in outcomes if not each.passed and not each.skipped}
    figure = f"{len(names - failed - skipped)}/{len(names)}"
    if skipped - failed:
        figure += f", and {len(skipped - failed)} skipped by the suite, which is its word for an extension not spoken"
    return [*found, ("all scenarios, at every version they are for", figure)]


def _row(outcome: Outcome) -> str:
    scenario = outcome.scenario
    word = _word(outcome)
    counts = "required" if scenario.is_required else f"no: {scenario.status}"
    return f"| {scenario.version} | {scenario.name} | {counts} | {outcome.succeeded} | {outcome.failed} | {word} |"


def _word(outcome: Outcome) -> str:
    if outcome.skipped:
        return "skipped"
    return "passed" if outcome.passed else "**failed**"


def _name(outcome: Outcome) -> str:
    return f"`{outcome.scenario.name}` at {outcome.scenario.version}"


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("|", "\\|")
