"""`hermesctl --help` names the verbs that the modules and their pages use, and each of them can be asked for help."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from checking import arguments, call, finish

VERBS = ("activate", "config", "container", "cron", "doctor", "gateway", "mcp", "profile", "reload", "setup", "status")


def problems(package: Path) -> list[str]:
    """What is wrong with it."""
    found = []
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        shown = call(package, "hermesctl", ["--help"], home=home)
        if shown.returncode:
            return [f"hermesctl --help ended with {shown.returncode}: {shown.stderr}"]
        for verb in VERBS:
            if not re.search(rf"\b{verb}\b", shown.stdout):
                found.append(f"hermesctl --help does not name {verb}")
                continue
            done = call(package, "hermesctl", [verb, "--help"], home=home)
            if done.returncode:
                found.append(f"hermesctl {verb} --help ended with {done.returncode}: {done.stderr}")
    return found


if __name__ == "__main__":
    sys.exit(finish(problems(arguments(__doc__ or "", "package").package)))
