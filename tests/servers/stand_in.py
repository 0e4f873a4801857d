"""Programs that note how they were called and answer as a test says: docker, podman, sudo and nix-store on a PATH."""

from __future__ import annotations

import os
from pathlib import Path

NOTE = """#!/bin/sh
{ printf '%s\\0' "${0##*/}" "$@"; printf '\\n\\0'; } >>"${0%/*}/calls"
"""


class StandIns:
    """A directory of programs; ``answer`` is shell code with the call's words as its arguments."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        self.path = f"{place}:{os.environ['PATH']}"

    def put(self, name: str, answer: str = "") -> None:
        """Let the program be there and answer so."""
        program = self.place / name
        program.write_text(f"{NOTE}{answer}\n")
        program.chmod(0o755)

    def calls(self, name: str = "", verb: str = "") -> list[list[str]]:
        """The words of every call so far, of one program, of one verb."""
        noted = self.place / "calls"
        rows = noted.read_bytes().split(b"\0\n\0")[:-1] if noted.exists() else []
        found = [[os.fsdecode(word) for word in row.split(b"\0")] for row in rows]
        return [call for call in found if (not name or call[0] == name) and (not verb or verb in call[1:4])]


RUNNING = 'case "$1" in inspect) echo running; exit;; esac'
"""A backend whose container runs; what follows answers ``exec``."""
