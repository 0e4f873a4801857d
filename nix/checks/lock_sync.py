"""flake.lock locks the inputs of flake.nix, and nothing else: each is a revision of the branch that is asked for.

Nix itself says the same of a whole flake: `nix flake metadata --no-update-lock-file`. This needs none.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from checking import arguments, finish

INPUT = re.compile(r"([\w-]+)(?:\.url = | = \{\s*url = )\"github:([\w.-]+)/([\w.-]+)/([\w.-]+)\"")
REVISION = re.compile(r"[0-9a-f]{40}")
HASH = re.compile(r"sha256-[A-Za-z0-9+/]{43}=")


def problems(source: Path) -> list[str]:
    """What is wrong."""
    text = (source / "flake.nix").read_text(encoding="utf-8")
    lock = json.loads((source / "flake.lock").read_text(encoding="utf-8"))
    nodes: dict[str, Any] = lock["nodes"]
    inputs = {name: (owner, repo, ref) for name, owner, repo, ref in INPUT.findall(text)}
    found = [] if len(inputs) == text.count('url = "') else ["flake.nix has an input that is no branch on GitHub"]
    if set(nodes[lock["root"]]["inputs"]) != set(inputs):
        found.append(f"it locks {sorted(nodes[lock['root']]['inputs'])}, and flake.nix has {sorted(inputs)}")
    if set(nodes) != set(inputs) | {lock["root"]}:
        found.append("it has inputs of inputs: let them follow those of flake.nix")
    for name, wanted in inputs.items():
        found += [f"{name} {problem}" for problem in _problems_of(nodes.get(name, {}), wanted)]
    return found


def _problems_of(node: dict[str, Any], wanted: tuple[str, str, str]) -> list[str]:
    original, locked = node.get("original", {}), node.get("locked", {})
    found = []
    if tuple(original.get(key) for key in ("owner", "repo", "ref")) != wanted:
        found.append(f"is locked for {original}, and flake.nix asks for {'/'.join(wanted)}")
    if (locked.get("owner"), locked.get("repo")) != wanted[:2]:
        found.append("is locked to another repository")
    if not REVISION.fullmatch(locked.get("rev", "")) or not HASH.fullmatch(locked.get("narHash", "")):
        found.append("is not locked to a revision and its hash")
    return found


if __name__ == "__main__":
    sys.exit(finish(problems(arguments(__doc__ or "", "source").source)))
