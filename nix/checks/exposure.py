"""`systemd-analyze security` of the units as they are rendered: at most 1.3, and 2.0 where tools make sandboxes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from checking import arguments, finish

SERVICE = """{
  scope = "system"; name = "hermes-agent"; owner = "hermes"; user = "hermes"; group = "hermes"; package = "/usr";
  manifest = "/etc/hermes.json"; home = "/var/lib/hermes/.hermes"; writable = [ "/var/lib/hermes" ];
  credentials.env-0 = "/run/secrets/env"; hardening = HARDENING;
}"""
MOST = {"{ }": 1.3, "{ namespaces = true; }": 2.0}


def problems(source: Path) -> list[str]:
    """What is wrong. Needs nix-instantiate and systemd-analyze."""
    found = []
    for hardening, most in MOST.items():
        unit = f"(import {source}/nix/lib/unit.nix)"
        expression = f"{unit}.text ({unit}.service {SERVICE.replace('HARDENING', hardening)})"
        done = _run("nix-instantiate", "--eval", "--strict", "--json", "-E", expression)
        if done.returncode:
            found.append(f"the unit with hardening = {hardening} cannot be rendered: {done.stderr}")
            continue
        with tempfile.TemporaryDirectory() as place:
            path = Path(place, "hermes-agent.service")
            path.write_text(json.loads(done.stdout), encoding="utf-8")
            said = _run("systemd-analyze", "security", "--offline=yes", "--no-pager", str(path))
        level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said.stdout)
        if level is None or float(level[1]) > most:
            found.append(f"with hardening = {hardening} it is {level[1] if level else said.stderr}, not at most {most}")
    return found


def _run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(finish(problems(arguments(__doc__ or "", "source").source)))
