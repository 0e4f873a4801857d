"""The wheel and the source archive as an installer meets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.integration.test_first_run import ROOT, bare_environment, copy_of_the_tree


def run(*command: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A command that succeeds, from a directory that holds no hermesd."""
    done = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """A directory with both, built by hatchling in an environment of its own."""
    builder = tmp_path / "builder"
    venv.create(builder, with_pip=True)
    run(builder / "bin/python", "-m", "pip", "install", "-qq", "--disable-pip-version-check", "hatchling")
    tree = copy_of_the_tree(tmp_path / "tree")
    subprocess.run([builder / "bin/hatchling", "build", "-d", tmp_path / "dist"], cwd=tree, check=True)
    return tmp_path / "dist"


def test_an_installed_hermesd_starts_answers_and_leaves_nothing_behind(
    dist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wheel holds both packages, their types and the script; pip takes all of it away again."""
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)  # pip removes the bytecode where it itself would write it
    [wheel] = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {"hermesd/py.typed", "hermesctl/py.typed"} <= set(names)
    skills = {path.parent.name for path in (ROOT / "hermesd/skills/bundled").glob("*/SKILL.md")}
    assert {f"hermesd/skills/bundled/{name}/SKILL.md" for name in skills} <= set(names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"hermesd", "hermesctl"}
    [sdist] = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert any(name.endswith("/scripts/hermesctl") for name in archive.getnames())

    place = tmp_path / "installed"
    venv.create(place, with_pip=True)
    python = place / "bin/python"
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    # What hermesd depends on comes from the environment of the tests, behind what is installed here.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    before = {path for path in place.rglob("*") if "__pycache__" not in path.parts}
    pip = (python, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "-qq", "--no-deps", wheel)

    script = (place / "bin/hermesctl").read_text().splitlines()
    assert script[0] == f"#!{python}"
    assert "from hermesctl.fast import run" in script
    home = tmp_path / "home"
    environment = {**bare_environment(tmp_path), "HERMES_HOME": str(home)}
    where = run(python, "-c", "import hermesd; print(hermesd.__file__)", env=environment).stdout
    assert where.startswith(str(place))
    listed = json.loads(run(place / "bin/hermesctl", "skills", "list", "--json", env=environment).stdout)["skills"]
    assert {each["name"] for each in listed} == skills
    assert all(each["path"].startswith(str(place)) and not each.get("error") for each in listed)
    assert not home.exists()
    run(place / "bin/hermesd", "--detach", env=environment)
    try:
        assert "PROFILE" in run(place / "bin/hermesctl", "status", env=environment).stdout
    finally:
        run(place / "bin/hermesctl", "stop", "--now", env=environment)

    run(*pip, "uninstall", "-y", "hermesd")
    after = {path for path in place.rglob("*") if "__pycache__" not in path.parts}
    assert after == before


def test_the_extras_name_what_the_makefile_installs() -> None:
    """``.[test,dev]`` are extras of the project."""
    import tomllib

    root = Path(__file__).parents[2]
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras) == {"test", "dev"}
    assert "'.[test,dev]'" in (root / "Makefile").read_text()
    assert sys.version_info >= (3, 11)
    assert os.access(root / "scripts/hermesctl", os.X_OK)
