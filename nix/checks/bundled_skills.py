"""The package has the skills of the tree, its programs are told where, and `hermesctl skills list` has every one."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from checking import arguments, call, finish

VARIABLE = b"HERMES_BUNDLED_SKILLS"


def skills_below(directory: Path) -> set[str]:
    """Relative paths of the directories below it that hold a SKILL.md."""
    return {str(path.parent.relative_to(directory)) for path in directory.rglob("SKILL.md")}


def problems(package: Path, source: Path) -> list[str]:
    """What is wrong with it."""
    wanted = skills_below(source / "hermesd" / "skills" / "bundled")
    if not wanted:
        return ["the tree has no skills"]
    there = skills_below(package / "share" / "hermesd" / "skills")
    found = [f"the skill {name} is in the tree and not in the package" for name in sorted(wanted - there)]
    found += [f"the skill {name} is in the package and not in the tree" for name in sorted(there - wanted)]
    for program in ("hermesd", "hermesctl"):
        if VARIABLE not in (package / "bin" / program).read_bytes():
            found.append(f"{program} is not told of the {len(wanted)} skills")
    return found + not_listed(package, wanted)


def not_listed(package: Path, wanted: set[str]) -> list[str]:
    """Skills that the package's own program does not find in a new home, or cannot use."""
    with tempfile.TemporaryDirectory() as place:
        done = call(package, "hermesctl", ["skills", "list", "--json"], home=Path(place))
    if done.returncode:
        return [f"hermesctl skills list ended with {done.returncode}: {done.stderr}"]
    listed = {skill["name"] for skill in json.loads(done.stdout)["skills"] if not skill.get("error")}
    return [f"hermesctl skills list has no usable {name}" for name in sorted(wanted - listed)]


if __name__ == "__main__":
    given = arguments(__doc__ or "", "package", "source")
    sys.exit(finish(problems(given.package, given.source)))
