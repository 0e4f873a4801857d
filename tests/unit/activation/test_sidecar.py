"""The plugins' own environment around whatever uv does: refusals, failures, what is kept. Here uv is a small script."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermesd.activation.sidecar import MAX_SPECS, Outcome, Sidecar, build_sidecar
from hermesd.errors import ConfigError
from tests.waiting import wait_until

WORKS = """
if [ "$1" = venv ]; then
  for place; do :; done
  mkdir -p "$place/lib/python$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')/site-packages"
fi
"""


class Place:
    """A home, and a program ``uv`` on a PATH of its own."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.home.mkdir(mode=0o700)
        self.programs = root / "bin"
        self.programs.mkdir()
        self.log = root / "uv.log"
        self.fd = os.open(self.home, os.O_RDONLY)
        self.uv(WORKS)

    @property
    def sidecar(self) -> Path:
        return self.home / "plugins" / ".sidecar"

    def uv(self, script: str) -> None:
        program = self.programs / "uv"
        program.write_text(f'#!/bin/sh\necho "$@" >> {self.log}\nenv >> {self.log}\n{script}')
        program.chmod(0o755)

    def build(self, *specs: str, dry_run: bool = False, timeout_s: float = 30.0, **env: str) -> Outcome:
        environ = {"PATH": f"{self.programs}:{os.environ['PATH']}", **env}
        declared = Sidecar(specs=list(specs))
        return build_sidecar(self.fd, declared, str(self.home), dry_run=dry_run, environ=environ, timeout_s=timeout_s)

    def names(self) -> set[str]:
        return {path.name for path in self.sidecar.iterdir()}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """uv is looked for beside the interpreter first, and the disks of the whole machine are synced: not in tests."""
    monkeypatch.setattr("hermesd.activation.sidecar.os.sync", lambda: None)
    monkeypatch.setattr("hermesd.activation.sidecar._uv", lambda environ: f"{environ['PATH'].split(':')[0]}/uv")
    found = Place(tmp_path)
    yield found
    os.close(found.fd)


def test_an_environment_is_built_linked_and_then_left_alone(place: Place) -> None:
    """The second run does not call uv; other specs make another environment and the first goes."""
    first = place.build("a")
    assert (first.state, place.names()) == ("built", {first.name, "current"})
    assert (place.sidecar / "current").readlink() == Path(first.name)
    assert place.sidecar.stat().st_mode & 0o777 == 0o700
    before = place.log.read_text(), (place.sidecar / "current").lstat().st_mtime_ns
    assert place.build("a") == Outcome("current", first.name)
    assert (place.log.read_text(), (place.sidecar / "current").lstat().st_mtime_ns) == before
    second = place.build("b")
    assert second.state == "built"
    assert place.names() == {second.name, "current"}


def test_what_cannot_be_built_leaves_the_old_one(place: Place) -> None:
    """A failing uv is a warning with its own words, without the password of an index."""
    first = place.build("a")
    place.uv("echo 'no route to https://me:hunter2@index.example/simple' >&2\nexit 2\n")
    outcome = place.build("b")
    assert (outcome.state, outcome.name) == ("kept", first.name)
    assert "the one before stays" in outcome.warning
    assert "no route to https://index.example/simple" in outcome.warning
    assert place.names() == {first.name, "current"}


def test_a_uv_that_does_not_end_is_killed_with_its_children(place: Place, tmp_path: Path) -> None:
    """The time is bounded, and nothing goes on writing afterwards."""
    pid = tmp_path / "pid"
    place.uv(f"sleep 300 & echo $! > {pid}\nwait\n")
    outcome = place.build("a", timeout_s=2.0)
    assert (outcome.state, outcome.name) == ("kept", "")
    assert "took too long" in outcome.warning
    wait_until(lambda: not _runs(int(pid.read_text())))
    assert place.names() == set()


def _runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_uv_gets_an_allow_listed_environment_and_every_spec_behind_the_dashes(place: Place) -> None:
    """No secret of the daemon's reaches it, and no spec is an option."""
    place.build("a", "b==1", OPENAI_API_KEY="sk-secret", UV_INDEX_URL="https://index.example/simple", HOME="/nowhere")
    told = place.log.read_text()
    assert "sk-secret" not in told
    assert "UV_INDEX_URL=https://index.example/simple" in told
    assert " -- a b==1\n" in told


@pytest.mark.parametrize("spec", ["-r /etc/passwd", "--index-url=http://evil", "", " a", "a\nb", "./here", "a" * 1001])
def test_a_spec_that_is_no_package_is_refused(place: Place, spec: str) -> None:
    """Before anything is made or run."""
    with pytest.raises(ConfigError, match="is no package"):
        place.build(spec)
    assert not place.sidecar.exists()


def test_too_many_specs_and_a_relative_python_are_refused(place: Place) -> None:
    """Bounds."""
    with pytest.raises(ConfigError, match="more than"):
        place.build(*(f"a{n}" for n in range(MAX_SPECS + 1)))
    with pytest.raises(ConfigError, match="absolute"):
        build_sidecar(place.fd, Sidecar(specs=["a"], python="python3"), str(place.home))


def test_a_dry_run_writes_nothing_and_says_what_would_be(place: Place) -> None:
    """Also when something is in force."""
    assert place.build("a", dry_run=True).state == "build"
    assert not (place.home / "plugins").exists()
    first = place.build("a")
    assert place.build("a", dry_run=True) == Outcome("current", first.name)
    assert place.build("b", dry_run=True).state == "build"
    assert place.build(dry_run=True).state == "removed"
    assert place.names() == {first.name, "current"}


def test_without_specs_nothing_is_left(place: Place) -> None:
    """What is no longer declared goes."""
    assert place.build() == Outcome("none")
    place.build("a")
    assert place.build() == Outcome("removed")
    assert place.names() == set()


def test_what_a_killed_run_left_is_cleaned_and_a_whole_one_is_used(place: Place) -> None:
    """Killed while building: the half is removed. Killed before the link: the environment is linked, uv not called."""
    first = place.build("a")
    (place.sidecar / "current").unlink()
    (place.sidecar / ".build-0123456789ab" / "lib").mkdir(parents=True)
    (place.sidecar / ".current.0123456789ab").symlink_to("nowhere")
    place.log.write_text("")
    assert place.build("a") == Outcome("built", first.name)
    assert place.log.read_text() == ""
    assert place.names() == {first.name, "current"}


@pytest.mark.parametrize("name", ["plugins", "plugins/.sidecar"])
def test_a_link_in_the_way_is_refused_and_its_target_untouched(place: Place, tmp_path: Path, name: str) -> None:
    """Nothing is built where a planted link leads."""
    target = tmp_path / "target"
    target.mkdir()
    (place.home / name).parent.mkdir(exist_ok=True, mode=0o700)
    (place.home / name).symlink_to(target)
    with pytest.raises(ConfigError, match="symbolic link"):
        place.build("a")
    assert list(target.iterdir()) == []


def test_a_planted_link_instead_of_current_is_replaced_and_not_followed(place: Place, tmp_path: Path) -> None:
    """``current`` leads to what was built, and what it led to is as it was."""
    target = tmp_path / "target"
    target.mkdir()
    place.sidecar.mkdir(parents=True, mode=0o700)
    (place.sidecar / "current").symlink_to(target)
    outcome = place.build("a")
    assert (place.sidecar / "current").readlink() == Path(outcome.name)
    assert list(target.iterdir()) == []


def test_another_python_than_hermesds_own_is_refused(place: Place) -> None:
    """Its packages would not be found."""
    place.uv('if [ "$1" = venv ]; then for p; do :; done; mkdir -p "$p/lib/python2.7/site-packages"; fi')
    outcome = place.build("a")
    assert outcome.state == "kept"
    assert "another Python" in outcome.warning
