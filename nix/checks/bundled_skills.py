"""The package has the skills of the tree, each with its SKILL.md, and its programs are told where.

Where the tree has no skills, the package must have none either, and must not name any.
"""

from __future__ import annotations

import sys
from pathlib import Path

from checking import arguments, finish

VARIABLE = b"HERMES_BUNDLED_SKILLS"


def skills_below(directory: Path) -> set[str]:
    """Relative paths of the directories below it that hold a SKILL.md."""
    return {str(path.parent.relative_to(directory)) for path in directory.rglob("SKILL.md")}


def problems(package: Path, source: Path) -> list[str]:
    """What is wrong with it."""
    wanted = skills_below(source / "skills")
    there = skills_below(package / "share" / "hermesd" / "skills")
    found = [f"the skill {name} is in the tree and not in the package" for name in sorted(wanted - there)]
    found += [f"the skill {name} is in the package and not in the tree" for name in sorted(there - wanted)]
    for program in ("hermesd", "hermesctl"):
        is_told = VARIABLE in (package / "bin" / program).read_bytes()
        if is_told != bool(wanted):
            found.append(f"{program} is {'' if is_told else 'not '}told of skills, and there are {len(wanted)}")
    return found


if __name__ == "__main__":
    given = arguments(__doc__ or "", "package", "source")
    sys.exit(finish(problems(given.package, given.source)))
