"""The checks of the flake, run without it: over a package made of this tree, and over ones that are wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.nix.evaluation import NEEDS_NIX, NIX, ROOT, Nix

CHECKS = NIX / "checks"


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Nix would build, as far as the checks see: bin/ with the two programs."""
    place = tmp_path_factory.mktemp("package")
    for program in ("hermesd", "hermesctl"):
        write_program(place, program, f'PYTHONPATH={ROOT} exec {sys.executable} -m {program} "$@"')
    return place


def write_program(package: Path, name: str, line: str) -> None:
    """A shell script in its bin/."""
    path = package / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def check(name: str, *words: object, nix: Nix | None = None) -> tuple[int, str]:
    """How a check ends, and what it says."""
    done = subprocess.run(
        [sys.executable, CHECKS / f"{name}.py", *map(str, words)],
        env=nix.environ if nix else None,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stderr


def test_the_contents_of_the_package(package: Path, tmp_path: Path) -> None:
    """Both programs run and are of one version; a missing one and another version are told."""
    assert check("package_contents", "--package", package) == (0, "")
    write_program(tmp_path, "hermesd", "echo hermesd 9.9.9")
    status, said = check("package_contents", "--package", tmp_path)
    assert status == 1
    assert "bin/hermesctl is not there" in said
    write_program(tmp_path, "hermesctl", "echo hermesctl 1.0.0")
    assert "of different versions: 1.0.0, 9.9.9" in check("package_contents", "--package", tmp_path)[1]


def test_the_programs_of_pyproject(package: Path, tmp_path: Path) -> None:
    """No more and no less; what a wrapper hides does not count."""
    assert check("entry_points_sync", "--package", package, "--source", ROOT) == (0, "")
    write_program(tmp_path, "hermesd", ":")
    write_program(tmp_path, ".hermesd-wrapped", ":")
    write_program(tmp_path, "hermes-acp", ":")
    status, said = check("entry_points_sync", "--package", tmp_path, "--source", ROOT)
    assert status == 1
    assert "hermesctl is in pyproject.toml and not" in said
    assert "hermes-acp is in the package and not" in said
    assert "wrapped" not in said


def has_activate() -> bool:
    """Whether `hermesctl activate` is in this tree."""
    return (ROOT / "hermesctl" / "commands" / "activate.py").exists()


NEEDS_ACTIVATE = pytest.mark.skipif(not has_activate(), reason="hermesctl activate is not in this tree")


@NEEDS_ACTIVATE
def test_the_verbs_of_hermesctl(package: Path) -> None:
    """Those that the modules call, and those that their pages name."""
    assert check("cli_commands", "--package", package) == (0, "")


def test_a_verb_that_is_missing_is_told(tmp_path: Path) -> None:
    """By its name."""
    write_program(tmp_path, "hermesctl", "echo config gateway")
    status, said = check("cli_commands", "--package", tmp_path)
    assert status == 1
    assert "does not name activate" in said
    assert "does not name config" not in said


def test_the_managed_guard(package: Path, tmp_path: Path) -> None:
    """Every blocked command, by the variable and by the file; a program that obeys is told."""
    assert check("managed_guard", "--package", package) == (0, "")
    write_program(tmp_path, "hermesctl", 'echo "managed by NixOS" >&2; exit 78')
    status, said = check("managed_guard", "--package", tmp_path)
    assert status == 1
    assert "HERMES_MANAGED=true hermesctl config edit does not say 'nixos-rebuild switch'" in said
    write_program(tmp_path, "hermesctl", 'echo "a: 1" >"$HERMES_HOME/config.yaml"')
    said = check("managed_guard", "--package", tmp_path)[1]
    assert "hermesctl gateway install ended with 0, not with 78" in said
    assert "config.yaml was changed" in said


def test_the_skills_of_the_tree(tmp_path: Path) -> None:
    """Those of the tree are in the package, its programs are told where and find them; each way to fail is told."""
    share = tmp_path / "share" / "hermesd" / "skills"
    share.parent.mkdir(parents=True)
    shutil.copytree(ROOT / "hermesd" / "skills" / "bundled", share)
    environment = f"PYTHONPATH={ROOT} HERMES_BUNDLED_SKILLS={share}"
    for program in ("hermesd", "hermesctl"):
        write_program(tmp_path, program, f'{environment} exec {sys.executable} -m {program} "$@"')
    assert check("bundled_skills", "--package", tmp_path, "--source", ROOT) == (0, "")

    (share / "pr-review" / "SKILL.md").rename(share / "pr-review" / "README.md")
    (share / "other").mkdir()
    (share / "other" / "SKILL.md").write_text("x")
    write_program(tmp_path, "hermesd", ":")
    status, said = check("bundled_skills", "--package", tmp_path, "--source", ROOT)
    assert status == 1
    assert "the skill pr-review is in the tree and not in the package" in said
    assert "the skill other is in the package and not in the tree" in said
    assert "hermesd is not told of" in said
    assert "hermesctl skills list has no usable pr-review" in said
    assert "the tree has no skills" in check("bundled_skills", "--package", tmp_path, "--source", tmp_path)[1]


@NEEDS_ACTIVATE
def test_seven_ways_of_merging(package: Path) -> None:
    """By `hermesctl activate`, each twice."""
    assert check("config_roundtrip", "--package", package) == (0, "")


def test_a_merge_that_loses_keys_is_told(tmp_path: Path) -> None:
    """By a program that writes what is declared and nothing else."""
    python = (
        "import json, os, sys; from pathlib import Path; home = Path(os.environ['HERMES_HOME'], 'profiles')\n"
        "if sys.argv[1] == 'activate':\n"
        "    for name, profile in json.load(open(sys.argv[3]))['profiles'].items():\n"
        "        (home / name).mkdir(parents=True, exist_ok=True)\n"
        "        (home / name / 'config.yaml').write_text(json.dumps(profile['config']['value']))\n"
        "else: print((home / sys.argv[-1] / 'config.yaml').read_text())\n"
    )
    script = tmp_path / "merge.py"
    script.write_text(python)
    write_program(tmp_path, "hermesctl", f'exec {sys.executable} {script} "$@"')
    status, said = check("config_roundtrip", "--package", tmp_path)
    assert status == 1
    assert "user's keys kept: config.yaml says" in said
    assert "fresh: twice wrote it anew" in said
    assert "fresh: config.yaml" not in said


def test_the_lock_is_that_of_the_flake(tmp_path: Path) -> None:
    """Another branch, another repository and an input too many are told."""
    assert check("lock_sync", "--source", ROOT) == (0, "")
    flake = (ROOT / "flake.nix").read_text()
    lock = json.loads((ROOT / "flake.lock").read_text())
    (tmp_path / "flake.nix").write_text(flake.replace("NixOS/nixpkgs/nixos-26.05", "NixOS/nixpkgs/nixos-99.99"))
    lock["nodes"]["other"] = {}
    lock["nodes"]["home-manager"]["locked"] |= {"owner": "nobody", "narHash": "sha256-x"}
    (tmp_path / "flake.lock").write_text(json.dumps(lock))
    status, said = check("lock_sync", "--source", tmp_path)
    assert status == 1
    assert "nixpkgs is locked for" in said
    assert "inputs of inputs" in said
    assert "home-manager is locked to another repository" in said
    assert "home-manager is not locked to a revision and its hash" in said
    (tmp_path / "flake.nix").write_text(flake.replace("github:NixOS/nixpkgs/nixos-26.05", "path:/nixpkgs"))
    assert "no branch on GitHub" in check("lock_sync", "--source", tmp_path)[1]


@NEEDS_NIX
def test_the_options_of_both_scopes(nix: Nix, tmp_path: Path) -> None:
    """One that only one of them has is told."""
    assert check("option_parity", "--source", ROOT, nix=nix) == (0, "")
    shutil.copytree(NIX, tmp_path / "nix")
    options = tmp_path / "nix" / "options.nix"
    only = '// (if scope == "home" then { stray = agent.options.settings; } else { })\n// {\n  manifests'
    options.write_text(options.read_text().replace("// {\n  manifests", only))
    status, said = check("option_parity", "--source", tmp_path, nix=nix)
    assert status == 1
    assert "stray is an option of Home Manager alone" in said


@NEEDS_NIX
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_the_exposure_of_the_units(nix: Nix, tmp_path: Path) -> None:
    """One that has been opened is told, with its figure."""
    assert check("exposure", "--source", ROOT, nix=nix) == (0, "")
    shutil.copytree(NIX, tmp_path / "nix")
    unit = tmp_path / "nix" / "lib" / "unit.nix"
    unit.write_text(unit.read_text().replace('ProtectSystem = "strict"', "ProtectSystem = false"))
    status, said = check("exposure", "--source", tmp_path, nix=nix)
    assert status == 1
    assert "with hardening = { } it is" in said


def site(place: Path, name: str, version: str, module: str) -> Path:
    """A directory of site-packages with one distribution."""
    info = place / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (place / module).mkdir(exist_ok=True)
    (place / module / "__init__.py").write_text("")
    (info / "RECORD").write_text(f"{module}/__init__.py,,\n{name}-{version}.dist-info/METADATA,,\n")
    return place


def test_packages_of_plugins_shadow_nothing(tmp_path: Path) -> None:
    """Neither by name nor by module; the very same directory is no collision."""
    core = site(tmp_path / "core", "trio", "0.30", "trio")
    other = site(tmp_path / "other", "redis", "5.0", "redis")
    assert check("collisions", "--core", core, "--extra", f"{other}:{core}") == (0, "")
    assert check("collisions", "--core", core, "--extra", "") == (0, "")
    newer = site(tmp_path / "newer", "Trio", "0.31", "trio")
    status, said = check("collisions", "--core", core, "--extra", newer)
    assert status == 1
    assert "trio 0.31 would stand in for hermesd's own 0.30" in said
    thief = site(tmp_path / "thief", "thief", "1", "trio")
    assert "thief brings a module of trio" in check("collisions", "--core", core, "--extra", thief)[1]
