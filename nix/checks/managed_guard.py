"""What Nix declares is not changed by hand: each such command ends with 78, names NixOS, and says what to run."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from checking import arguments, call, finish

BLOCKED = (
    ["setup"],
    ["config", "edit"],
    ["config", "set", "agent.max_turns", "3"],
    ["config", "unset", "agent.max_turns"],
    ["gateway", "install"],
    ["gateway", "uninstall"],
)
CONFIGURATION = "agent:\n  max_turns: 9\n"
EX_CONFIG = 78


def problems(package: Path) -> list[str]:
    """What is wrong; both ways of saying who manages are tried."""
    found = []
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        root = home / ".hermes"
        root.mkdir(mode=0o700)
        config = root / "config.yaml"
        config.write_text(CONFIGURATION, encoding="utf-8")
        for words in BLOCKED:
            found += _problems_of(package, words, home, {"HERMES_MANAGED": "true"})
        (root / ".managed").write_text("nixos\n", encoding="utf-8")
        for words in BLOCKED:
            found += _problems_of(package, words, home, {})
        if config.read_text(encoding="utf-8") != CONFIGURATION:
            found.append("config.yaml was changed")
    return found


def _problems_of(package: Path, words: list[str], home: Path, environ: dict[str, str]) -> list[str]:
    done = call(package, "hermesctl", words, home=home, environ=environ)
    command = " ".join([*(f"{name}={value}" for name, value in environ.items()), "hermesctl", *words])
    if done.returncode != EX_CONFIG:
        return [f"{command} ended with {done.returncode}, not with {EX_CONFIG}: {done.stdout}{done.stderr}"]
    missing = [word for word in ("NixOS", "nixos-rebuild switch") if word not in done.stderr]
    return [f"{command} does not say {word!r}: {done.stderr}" for word in missing]


if __name__ == "__main__":
    sys.exit(finish(problems(arguments(__doc__ or "", "package").package)))
