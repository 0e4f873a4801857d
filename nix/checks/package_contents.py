"""The package has hermesd and hermesctl, both run, and both say the same version."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

from checking import arguments, call, finish

PROGRAMS = ("hermesd", "hermesctl")


def problems(package: Path) -> list[str]:
    """What is wrong with it."""
    found = []
    versions = set()
    with tempfile.TemporaryDirectory() as place:
        for program in PROGRAMS:
            path = package / "bin" / program
            if not os.access(path, os.X_OK):
                found.append(f"{path} is not there, or no program")
                continue
            done = call(package, program, ["--version"], home=Path(place))
            version = re.search(r"\d+\.\d+\.\d+", done.stdout)
            if done.returncode or version is None:
                found.append(f"{program} --version ended with {done.returncode}: {done.stdout}{done.stderr}")
            else:
                versions.add(version[0])
    if len(versions) > 1:
        found.append(f"hermesd and hermesctl are of different versions: {', '.join(sorted(versions))}")
    return found


if __name__ == "__main__":
    sys.exit(finish(problems(arguments(__doc__ or "", "package").package)))
