"""The commands of README and docs: ``$`` lines of their ``console`` blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Shown(NamedTuple):
    """A command as a page has it, continued lines joined."""

    page: str
    line: int
    command: str


def commands_of(page: Path) -> Iterator[Shown]:
    """In order; comments behind two blanks and a ``#`` are left out."""
    text = page.read_text()
    for block in BLOCK.finditer(text):
        first = text[: block.start(1)].count("\n") + 1
        parts = re.split(r"^\$ ", block[1], flags=re.MULTILINE)
        line = first + parts[0].count("\n")
        for part in parts[1:]:
            lines = part.split("\n")
            taken = 1
            while lines[taken - 1].endswith("\\"):
                taken += 1
            command = "\n".join(lines[:taken])
            yield Shown(str(page.relative_to(ROOT)), line, re.sub(r" {2,}# .*", "", command).strip())
            line += part.count("\n")
