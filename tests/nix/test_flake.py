"""flake.nix as Nix sees it: over a stand-in for nixpkgs whose packages are nothing but their names."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.nix.evaluation import EVAL, NEEDS_NIX, ROOT, Nix

pytestmark = NEEDS_NIX
KEPT = ("flake.nix", "flake.lock", "nix", "pyproject.toml", "README.md", "LICENSE", "hermesd", "hermesctl", "scripts")
SYSTEMS = ("x86_64-linux", "aarch64-linux", "x86_64-darwin", "aarch64-darwin")
NIXPKGS = f"""{{
  outputs = _: {{
    legacyPackages = builtins.listToAttrs (
      map (system: {{
        name = system;
        value = import ./eval/pkgs.nix {{ lib = import ./eval/lib.nix; inherit system; }};
      }}) [ {" ".join(f'"{system}"' for system in SYSTEMS)} ]
    );
  }};
}}
"""
HOME_MANAGER = """{
  outputs = _: {
    lib.homeManagerConfiguration = _: {
      activationPackage = derivation { name = "home"; system = "x86_64-linux"; builder = "/bin/bash"; };
    };
  };
}
"""


@pytest.fixture(scope="module")
def flake(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A copy of the tree, and the flags that put the stand-ins in place of its inputs."""
    place = tmp_path_factory.mktemp("flake")
    for name in KEPT:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, place / "tree" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (place / "tree").mkdir(exist_ok=True)
            shutil.copy(source, place / "tree" / name)
    for name, text in (("nixpkgs", NIXPKGS), ("home-manager", HOME_MANAGER)):
        (place / name).mkdir()
        (place / name / "flake.nix").write_text(text)
    shutil.copytree(EVAL, place / "nixpkgs" / "eval")
    inputs = [
        word for name in ("nixpkgs", "home-manager") for word in ("--override-input", name, f"path:{place}/{name}")
    ]
    return [f"path:{place}/tree", "--offline", "--no-write-lock-file", *inputs]


def test_the_lock_file_locks_the_flake(nix: Nix, flake: list[str], tmp_path: Path) -> None:
    """By Nix itself, which may neither change it nor fetch anything; without an input it is refused."""
    done = nix.run("nix", "flake", "metadata", "--json", "--offline", "--no-update-lock-file", flake[0])
    assert done.returncode == 0, done.stderr
    locked = json.loads(done.stdout)["locks"]["nodes"]
    assert locked["nixpkgs"]["locked"]["rev"] == "5880666fd9eb563038431edb35c2d0aa595884e6"
    shutil.copy(ROOT / "flake.nix", tmp_path)
    lock = json.loads((ROOT / "flake.lock").read_text())
    del lock["nodes"]["home-manager"], lock["nodes"]["root"]["inputs"]["home-manager"]
    (tmp_path / "flake.lock").write_text(json.dumps(lock))
    done = nix.run("nix", "flake", "metadata", "--offline", "--no-update-lock-file", f"path:{tmp_path}")
    assert done.returncode != 0


def test_the_outputs_of_the_flake(nix: Nix, flake: list[str]) -> None:
    """Packages and dev shells everywhere, checks and modules for Linux."""
    done = nix.run("nix", "flake", "show", "--json", *flake)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert set(shown) == {
        "apps",
        "checks",
        "devShells",
        "formatter",
        "homeModules",
        "lib",
        "nixosModules",
        "overlays",
        "packages",
    }
    for system in SYSTEMS:
        assert set(shown["packages"][system]) == {"configKeys", "default", "hermesd"}
        assert shown["packages"][system]["default"]["name"] == "hermesd-0.1.0"
        assert set(shown["devShells"][system]) == {"default"}
    assert set(shown["checks"]) == {"x86_64-linux", "aarch64-linux"}
    scripts = {path.stem.replace("_", "-") for path in (ROOT / "nix" / "checks").glob("*.py")}
    needs_nix = {"option-parity", "exposure"}  # which a build cannot call
    alone = {"collisions", "checking"}  # of the package's own build, and of the scripts
    more = {"config-keys", "home-module", "vm-native", "vm-container"}
    assert set(shown["checks"]["x86_64-linux"]) == scripts - needs_nix - alone | more


def test_every_output_evaluates(nix: Nix, flake: list[str]) -> None:
    """`nix flake check` down to the derivations; nothing is built."""
    done = nix.run("nix", "flake", "check", "--no-build", *flake)
    assert done.returncode == 0, done.stderr


def test_nix_run_starts_hermesctl(nix: Nix, flake: list[str]) -> None:
    """`nix run .# -- chat`; hermesd has a name of its own."""
    done = nix.run("nix", "eval", "--json", f"{flake[0]}#apps.x86_64-linux", *flake[1:])
    assert done.returncode == 0, done.stderr
    apps = json.loads(done.stdout)
    assert re.fullmatch(r".*-hermesd-0\.1\.0/bin/hermesctl", apps["default"]["program"])
    assert re.fullmatch(r".*/bin/hermesd", apps["hermesd"]["program"])


def test_the_keys_are_an_output(nix: Nix, flake: list[str]) -> None:
    """What `nix build .#configKeys` would give is nix/config-keys.json."""
    done = nix.run("nix", "eval", "--json", f"{flake[0]}#packages.x86_64-linux.configKeys.text", *flake[1:])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == (ROOT / "nix" / "config-keys.json").read_text()


def test_the_overlay_can_be_overridden(nix: Nix) -> None:
    """pkgs.hermesd.override takes a function and a list; another set of packages is another derivation."""
    found = nix.evaluate(
        f"""let
          lib = import {EVAL}/lib.nix;
          pkgs = import {EVAL}/pkgs.nix {{ inherit lib; }};
          final = pkgs // import {ROOT}/nix/overlay.nix final pkgs;
          inherit (final) hermesd;
          one = hermesd.override {{ extraPythonPackages = ps: [ ps.redis ]; }};
          two = hermesd.override {{ extraPythonPackages = [ pkgs.python3Packages.redis ]; }};
          three = hermesd.override {{ extraRuntimeDeps = [ pkgs.pandoc ]; }};
        in {{
          plain = "${{hermesd}}"; same = "${{final.hermes-agent}}";
          one = "${{one}}"; two = "${{two}}"; three = "${{three}}";
          wrapper = one.given.makeWrapperArgs;
          inherit (hermesd) coreNames;
        }}"""
    )
    assert found["same"] == found["plain"]
    assert found["one"] == found["two"]
    assert len({found["plain"], found["one"], found["three"]}) == 3
    wrapper = found["wrapper"]
    assert wrapper[wrapper.index("PYTHONPATH") - 1] == "--suffix"
    assert "redis" in wrapper[wrapper.index("PYTHONPATH") + 2]
    assert {"hermesd", "trio", "mcp"} <= set(found["coreNames"])
