"""Nix without a store of the machine's, without network and without builds: for looking at what evaluates to what."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
NIX = ROOT / "nix"
EVAL = Path(__file__).parent / "eval"
FILES = sorted([ROOT / "flake.nix", *NIX.rglob("*.nix"), *EVAL.rglob("*.nix")])
NEEDS_NIX = pytest.mark.skipif(not shutil.which("nix-instantiate"), reason="Nix is not installed (nix-bin)")
CONFIGURATION = """\
build-users-group =
sandbox = false
substituters =
experimental-features = nix-command flakes
"""


class Nix(NamedTuple):
    """An installation of its own below one directory."""

    environ: dict[str, str]

    @classmethod
    def below(cls, place: Path) -> Nix:
        """Make it."""
        names = {
            "NIX_CONF_DIR": "conf",
            "NIX_STORE_DIR": "store",
            "NIX_STATE_DIR": "var",
            "NIX_LOG_DIR": "log",
            "HOME": "home",
        }
        for name in names.values():
            (place / name).mkdir(parents=True)
        (place / "conf" / "nix.conf").write_text(CONFIGURATION)
        kept = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "GIT_CONFIG_GLOBAL": "/dev/null"}
        return cls(kept | {name: str(place / below) for name, below in names.items()})

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """A command of Nix, whatever it ends with."""
        return subprocess.run(argv, env=self.environ, capture_output=True, text=True, check=False, timeout=120)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, all of it."""
        done = self.run("nix-instantiate", "--eval", "--strict", "--json", "-E", expression)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refused(self, expression: str) -> str:
        """What Nix says to an expression that it does not evaluate."""
        done = self.run("nix-instantiate", "--eval", "--strict", "--json", "-E", expression)
        assert done.returncode != 0, done.stdout
        return done.stderr


def checkout(variable: str) -> Path:
    """A checkout that the environment names; skips where it does not."""
    named = os.environ.get(variable, "")
    if not named:
        pytest.skip(f"{variable} names no checkout")
    return Path(named)


def nixos(modules: str) -> str:
    """An expression for services.hermes-agent evaluated by the module system; skips without a nixpkgs.lib."""
    return f"import {EVAL}/nixos.nix {{ nixpkgsLib = {checkout('HERMES_NIXPKGS_LIB')}; modules = [ {modules} ]; }}"


def home(modules: str) -> str:
    """The same by Home Manager."""
    lib, manager = checkout("HERMES_NIXPKGS_LIB"), checkout("HERMES_HOME_MANAGER")
    return f"import {EVAL}/home.nix {{ nixpkgsLib = {lib}; homeManager = {manager}; modules = [ {modules} ]; }}"


def as_nix(value: object) -> str:
    """A value as an expression, by way of JSON."""
    return f"(builtins.fromJSON {json.dumps(json.dumps(value)).replace('${', chr(92) + '${')})"


def rendered(nix: Nix, definitions: dict[str, Any], *, scope: str = "nixos", **paths: str) -> dict[str, Any]:
    """The manifest of definitions over the defaults of the options, in pure builtins."""
    found = nix.evaluate(f"import {EVAL}/manifest.nix {as_nix(definitions)} {as_nix(paths)} {json.dumps(scope)}")
    assert isinstance(found, dict)
    return found
