"""No Python package of a plugin stands in for one of hermesd's own: neither by its name nor by a module it brings.

``--core`` and ``--extra`` are search paths, directories with colons between, as in PYTHONPATH.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import Distribution, distributions

from checking import finish


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def found_on(search_path: str) -> dict[str, Distribution]:
    """Distributions by name."""
    return {
        _normal(each.metadata["Name"]): each for each in distributions(path=[p for p in search_path.split(":") if p])
    }


def modules_of(distribution: Distribution) -> set[str]:
    """Its top-level modules, by the files that it lists."""
    tops = {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "bin", "__pycache__")}
    names = {top.removesuffix(".py").split(".")[0] for top in tops if not top.endswith((".dist-info", ".egg-info"))}
    return {name for name in names if name.isidentifier()}


def problems(core_path: str, extra_path: str) -> list[str]:
    """What is wrong. The same version of the same package in the same place is no collision: both need it."""
    core, extra = found_on(core_path), found_on(extra_path)
    owners = {module: name for name, each in core.items() for module in modules_of(each)}
    found = []
    for name, each in extra.items():
        own = core.get(name)
        if own is not None and str(own.locate_file("")) != str(each.locate_file("")):
            found.append(
                f"{name} {each.version} would stand in for hermesd's own {own.version}: drop it, plugins see that"
            )
        elif own is None:
            taken = {owners[module] for module in modules_of(each) if module in owners}
            found += [f"{name} brings a module of {other}, which hermesd depends on" for other in sorted(taken)]
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", required=True)
    parser.add_argument("--extra", required=True)
    given = parser.parse_args()
    sys.exit(finish(problems(given.core, given.extra)))
