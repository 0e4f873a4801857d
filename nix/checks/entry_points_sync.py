"""Every program that pyproject.toml names is in the package, and the package has no others."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from checking import arguments, finish


def declared(source: Path) -> set[str]:
    """The names of `[project.scripts]` and of the wheel's scripts."""
    data = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))
    scripts = data["tool"]["hatch"]["build"]["targets"]["wheel"].get("shared-scripts", {})
    return set(data["project"].get("scripts", {})) | set(scripts.values())


def problems(package: Path, source: Path) -> list[str]:
    """What is wrong; programs that a wrapper of Nix hides (`.NAME-wrapped`) do not count."""
    wanted = declared(source)
    there = {path.name for path in (package / "bin").iterdir() if not path.name.startswith(".")}
    found = [f"{name} is in pyproject.toml and not in the package" for name in sorted(wanted - there)]
    return found + [f"{name} is in the package and not in pyproject.toml" for name in sorted(there - wanted)]


if __name__ == "__main__":
    given = arguments(__doc__ or "", "package", "source")
    sys.exit(finish(problems(given.package, given.source)))
