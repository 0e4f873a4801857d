"""Whether packages for plugins would take the place of what hermesd itself is made of.

``python -m hermesd.plugins.collisions DIRECTORY …`` checks directories of packages (site-packages) and ends with
status 78 when one collides; a package is refused if it is one of hermesd's dependencies in another version, or brings
a module that is Python's, hermesd's or a dependency's.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EXIT_COLLISION = 78
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_SEPARATORS = re.compile(r"[-_.]+")
_SUFFIX = re.compile(r"\.(?:py|(?:[\w.-]+\.)?so)")
OURS = frozenset({"hermesd", "hermesctl"})


def canonical(name: str) -> str:
    """A distribution's name in its one spelling (Python packaging, name normalization)."""
    return _SEPARATORS.sub("-", name).lower()


def own_packages() -> dict[str, str]:
    """hermesd and everything that it depends on, as it is installed here: canonical name → version."""
    found: dict[str, str] = {}
    pending = ["hermesd"]
    while pending:
        name = canonical(pending.pop())
        if name in found:
            continue
        try:
            dist = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # needed on another platform or Python only
        found[name] = dist.version
        for line in dist.requires or ():
            needed = _REQUIREMENT.match(line)
            if needed and "extra ==" not in line.partition(";")[2]:
                pending.append(needed[1])
    return found


def collisions(directories: Sequence[Path]) -> list[str]:
    """A sentence for each package in ``directories`` that may not be there, sorted."""
    own = own_packages()
    owners = _owners(own)
    found: set[str] = set()
    for dist in metadata.distributions(path=[str(each) for each in directories]):
        if not (known := dist.metadata.json.get("name")):
            continue  # what is left of a package that was not removed properly
        name, version = canonical(str(known)), dist.version
        if name not in own:
            found |= {
                f"{dist.name} {version} brings the module {module!r}, which is {owners[module]}'s"
                for module in _modules(dist)
                if module in owners
            }
        elif version != own[name]:
            found.add(f"{dist.name} {version} is a dependency of hermesd, which has {own[name]}")
    return sorted(found)


def _owners(own: dict[str, str]) -> dict[str, str]:
    """Top-level module → whose it is."""
    owners = dict.fromkeys(OURS, "hermesd") | dict.fromkeys(sys.stdlib_module_names, "Python")
    for name in own:
        owners |= {module: name for module in _modules(metadata.distribution(name)) if module not in owners}
    return owners


def _modules(dist: metadata.Distribution) -> set[str]:
    return {module for file in dist.files or () if (module := _module(file.parts))}


def _module(parts: Sequence[str]) -> str:
    """The top-level module that an installed file belongs to, '' for none (metadata, scripts, data)."""
    first = parts[0]
    if len(parts) > 1:
        return first if first.isidentifier() and first != "__pycache__" else ""
    stem, dot, rest = first.partition(".")
    return stem if stem.isidentifier() and _SUFFIX.fullmatch(f"{dot}{rest}") else ""


def _told(directories: Sequence[str]) -> Iterator[str]:
    for sentence in collisions([Path(each) for each in directories]):
        yield f"hermesd: {sentence}\n  → leave it out, or use the version that hermesd has\n"


if __name__ == "__main__":
    told = "".join(_told(sys.argv[1:]))
    sys.stderr.write(told)
    sys.exit(EXIT_COLLISION if told else 0)
