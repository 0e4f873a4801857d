"""What can be declared on NixOS can be declared with Home Manager, but for what only a whole machine has."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from checking import arguments, finish

NIXOS_ALONE = {"user", "group", "createUser", "addToSystemPackages", "container", "desktop"}


def problems(source: Path) -> list[str]:
    """What is wrong. Needs nix-instantiate, and no nixpkgs."""
    expression = f"""let all = import {source}/nix/option-list.nix; of = map (each: {{ inherit (each) name type; }}); in
      {{ nixos = of all.nixos; home = of all.home; }}"""
    done = subprocess.run(
        ["nix-instantiate", "--eval", "--strict", "--json", "-E", expression],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return [f"the options cannot be listed: {done.stderr}"]
    listed = json.loads(done.stdout)
    nixos, home = ({each["name"]: each["type"] for each in listed[scope]} for scope in ("nixos", "home"))
    alone = {name.split(".", 1)[0] for name in nixos if name not in home}
    found = [f"{name} is an option of Home Manager alone" for name in sorted(set(home) - set(nixos))]
    found += [f"{name} is an option of NixOS alone" for name in sorted(alone - NIXOS_ALONE)]
    found += [f"{name} has another type there" for name in home if name in nixos and home[name] != nixos[name]]
    return found


if __name__ == "__main__":
    sys.exit(finish(problems(arguments(__doc__ or "", "source").source)))
