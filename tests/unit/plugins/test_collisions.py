"""Packages that would take the place of what hermesd is made of."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from hermesd.plugins.collisions import EXIT_COLLISION, collisions, own_packages
from hermesd.plugins.sidecar_path import current_packages, extend_path, site_packages
from tests.servers.uv_program import written_wheel


def install(place: Path, name: str, version: str, *files: str) -> None:
    """Unpack a wheel, which is what installing one is."""
    place.mkdir(exist_ok=True)
    with zipfile.ZipFile(written_wheel(place.parent, name, version, dict.fromkeys(files, ""))) as archive:
        archive.extractall(place)


def test_hermesd_knows_what_it_is_made_of() -> None:
    """Its dependencies and theirs, not what the tests need."""
    own = own_packages()
    assert {"hermesd", "trio", "msgspec", "pydantic", "ruamel-yaml"} <= own.keys()
    assert own["msgspec"] == metadata.version("msgspec")
    assert "pytest" not in own


@pytest.mark.parametrize(
    ("name", "version", "file", "words"),
    [
        ("MsgSpec", "99.0", "msgspec/__init__.py", "MsgSpec 99.0 is a dependency of hermesd, which has"),
        ("evil", "1.0", "trio/__init__.py", "brings the module 'trio', which is trio's"),
        ("evil", "1.0", "hermesd.py", "brings the module 'hermesd', which is hermesd's"),
        ("evil", "1.0", "json.py", "brings the module 'json', which is Python's"),
        ("evil", "1.0", "apsw.cpython-311-x86_64-linux-gnu.so", "brings the module 'apsw', which is apsw's"),
    ],
)
def test_a_package_that_shadows_is_told(tmp_path: Path, name: str, version: str, file: str, words: str) -> None:
    """Another version, or somebody's module in another package."""
    install(tmp_path / "packages", name, version, file)
    [found] = collisions([tmp_path / "packages"])
    assert words in found


def test_packages_beside_hermesd_and_the_same_version_are_welcome(tmp_path: Path) -> None:
    """Plugins share dependencies with it; the directory of its own packages collides with nothing."""
    install(tmp_path / "packages", "greeter", "1.0", "greeter/__init__.py", "greeter_extra.py", "greeter/json.py")
    install(tmp_path / "packages", "msgspec", metadata.version("msgspec"), "msgspec/__init__.py")
    assert collisions([tmp_path / "packages"]) == []


def test_as_a_command_it_ends_with_78_and_the_next_step(tmp_path: Path) -> None:
    """For the build of a package set."""
    install(tmp_path / "packages", "evil", "1.0", "trio/__init__.py")
    command = [sys.executable, "-m", "hermesd.plugins.collisions"]
    done = subprocess.run([*command, str(tmp_path / "packages")], capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_COLLISION
    assert "evil 1.0 brings the module 'trio'" in done.stderr
    assert "→ leave it out" in done.stderr
    assert subprocess.run([*command, str(tmp_path)], check=False).returncode == 0


def test_the_environment_comes_last_on_the_path_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its real directory, so that switching the link does not mix two of them."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = list(sys.path)
    extend_path(tmp_path)
    assert sys.path == before
    packages = site_packages(tmp_path / "plugins/.sidecar/aa")
    packages.mkdir(parents=True)
    (tmp_path / "plugins/.sidecar/current").symlink_to("aa")
    assert current_packages(tmp_path) == packages
    extend_path(tmp_path)
    extend_path(tmp_path)
    assert sys.path == [*before, str(packages)]
