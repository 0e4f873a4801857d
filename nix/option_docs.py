"""docs/nix-options.md, made from nix/options.nix by the Nix that is on PATH.

``python nix/option_docs.py`` writes it. With ``--check`` nothing is written, and a stale page ends with status 1.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "nix-options.md"
HEAD = """\
# Options of the Nix modules

`services.hermes-agent.*`, made from [nix/options.nix](../nix/options.nix) by `python nix/option_docs.py`.
[nix.md](nix.md) says how they are used. What stands below a profile is the same as at the top.
"""


def listed(environ: dict[str, str] | None = None) -> dict[str, list[dict[str, Any]]]:
    """``nixos`` and ``home``: every option. Raises CalledProcessError when Nix refuses, OSError without Nix."""
    expression = f"let all = import {ROOT}/nix/option-list.nix; in {{ inherit (all) nixos home; }}"
    done = subprocess.run(
        ["nix-instantiate", "--eval", "--strict", "--json", "-E", expression],
        env=environ if environ is not None else dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)
    return found


def page(options: dict[str, list[dict[str, Any]]]) -> str:
    """The whole page."""
    at_home = {each["name"]: each for each in options["home"]}
    both = [each for each in options["nixos"] if each["name"] in at_home]
    alone = [each for each in options["nixos"] if each["name"] not in at_home]
    parts = [HEAD, "## NixOS and Home Manager\n"]
    parts += [_entry(each, at_home[each["name"]]) for each in both if not each["name"].startswith("profiles.<name>.")]
    parts.append("## NixOS alone\n")
    parts += [_entry(each, each) for each in alone]
    return "\n".join(parts)


def _entry(option: dict[str, Any], at_home: dict[str, Any]) -> str:
    default = f"`{nix_text(option['default'])}`"
    if at_home["default"] != option["default"]:
        default += f"; with Home Manager `{nix_text(at_home['default'])}`"
    lines = [f"### `{option['name']}`\n", " ".join(option["description"].split()) + "\n"]
    lines.append(f"{option['type']}, default {default}\n")
    if option["example"] is not None:
        lines.append(f"```nix\n{option['name']} = {nix_text(option['example'])};\n```\n")
    return "\n".join(lines)


def nix_text(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """A value as Nix writes it. Expressions come as ``{"literal": …}``."""
    if isinstance(value, dict) and set(value) == {"literal"}:
        return str(value["literal"])
    if isinstance(value, dict):
        inner = " ".join(f"{name} = {nix_text(below)};" for name, below in value.items())
        return f"{{ {inner} }}" if inner else "{ }"
    if isinstance(value, list):
        return f"[ {' '.join(nix_text(each) for each in value)} ]" if value else "[ ]"
    return json.dumps(value)


def main() -> int:
    """Write or check the page; returns the exit status."""
    made = page(listed())
    if "--check" in sys.argv[1:]:
        stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != made
        if stale:
            sys.stderr.write(f"{PAGE.name} is stale: run python nix/option_docs.py\n")
        return int(stale)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
