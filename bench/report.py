"""Figures as a table: for the terminal, and as Markdown between two markers of docs/benchmarks.md."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench import figures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.figures import Figure

PAGE = Path(__file__).parent.parent / "docs/benchmarks.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def number(value: float | None) -> str:
    """Three figures that count, thousands grouped."""
    if value is None:
        return "–"
    if value == int(value) and abs(value) < 1000:
        return f"{value:.0f}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def verdict(figure: Figure) -> str:
    """Whether the target was met."""
    return {True: "met", False: "**missed**", None: ""}[figure.met]


def text(rows: list[Figure]) -> str:
    """For the terminal: one line a figure, notes below theirs."""
    lines = []
    for row in rows:
        line = f"  {row.what:<52} {number(row.value):>9} {row.unit:<4}"
        if row.other is not None:
            ratio = f"× {number(row.ratio)}"
            line += f" {ratio:<9} beside {row.beside} ({number(row.other)} {row.unit})"
        if row.target:
            line += f"   {row.target}: {'met' if row.met else 'MISSED'}"
        lines.append(line)
        if row.note:
            lines.append(f"      {row.note}")
    return "\n".join(lines)


def markdown(parts: Mapping[str, str]) -> str:
    """The tables of every part that has results; ``parts`` maps names to headings."""
    blocks = []
    for part, heading in parts.items():
        found = figures.load(part)
        if found is None:
            continue
        record, rows = found
        others = f"{100 * float(str(record['others'])):.0f} %"
        block = [
            f"### {heading}",
            "",
            f"{record['date']}; {record['machine']}; {others} of the processors was at other work meanwhile.",
            "",
        ]
        block += [
            "| what | ours | beside | theirs | ours ÷ theirs | target | |",
            "| --- | ---: | --- | ---: | ---: | --- | --- |",
        ]
        notes = []
        for row in rows:
            mark = ""
            if row.note:
                notes += [row.note] if row.note not in notes else []
                mark = f" [{notes.index(row.note) + 1}]"
            ours = f"{number(row.value)} {row.unit}".strip() if row.value is not None else "not run"
            theirs = f"{number(row.other)} {row.unit}" if row.other is not None else ""
            ratio = number(row.ratio) if row.ratio is not None else ""
            cells = [row.what + mark, ours, row.beside, theirs, ratio, row.target, verdict(row)]
            block.append("| " + " | ".join(cells) + " |")
        block += ["", *(f"[{index}] {note}  " for index, note in enumerate(notes, 1))]
        blocks.append("\n".join(block).rstrip())
    return "\n\n".join(blocks)


def write_page(parts: Mapping[str, str]) -> None:
    """Replace what stands between the markers of docs/benchmarks.md."""
    page = PAGE.read_text()
    before, found_begin, rest = page.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not found_begin or not found_end:
        raise SystemExit(f"{PAGE} has lost its markers {BEGIN} and {END}")
    PAGE.write_text(f"{before}{BEGIN}\n\n{markdown(parts)}\n\n{END}{after}")
