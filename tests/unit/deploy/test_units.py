"""The unit files: what stands in them, whether they are ours, what is refused."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hermesd.deploy import unitfile, units
from hermesd.deploy.manager import Installation, ServiceFile
from hermesd.errors import ConfigError, ConflictError

NEEDS_SYSTEMD = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
LEAST_EXPOSED = 2.0


def installation(tmp_path: Path, scope: str = "system", **more: object) -> Installation:
    """Of root's programs, for a user that every Debian has."""
    fields = {"user": "games", "group": "games"} if scope == "system" else {}
    found = Installation(
        scope="system" if scope == "system" else "user",
        hermesd="/usr/bin/true",
        hermesctl="/usr/bin/true",
        home=tmp_path / "home",
        socket=tmp_path / "home" / "hermesd.sock",
    )
    return found._replace(**{**fields, **more})  # type: ignore[arg-type]  # fields by name


def written(place: Path, found: Installation) -> list[Path]:
    place.mkdir()
    paths = [place / units.SOCKET_UNIT, place / units.SERVICE_UNIT]
    for path, text in zip(paths, (units.socket(found), units.service(found)), strict=True):
        unitfile.write(ServiceFile(path, text))
    return paths


@NEEDS_SYSTEMD
@pytest.mark.parametrize("scope", ["user", "system"])
@pytest.mark.parametrize("name", ["home", "with blanks", "100%h", "it's", "$HOME", "ünïcode"])
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path, scope: str, name: str) -> None:
    """Also for a home with an awkward name."""
    place = tmp_path / name
    paths = written(tmp_path / "units", installation(tmp_path, scope, home=place, socket=place / "hermesd.sock"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True, check=False
    )
    assert [line for line in done.stderr.splitlines() if str(tmp_path) in line or "hermesd" in line] == []


@NEEDS_SYSTEMD
def test_the_exposure_of_the_system_service_is_small(tmp_path: Path) -> None:
    """By systemd-analyze security, which reads the file alone."""
    _, service = written(tmp_path / "units", installation(tmp_path))
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", service],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for hermesd.service: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= LEAST_EXPOSED


def test_a_home_of_another_user_is_hidden_and_a_program_in_one_refused(tmp_path: Path) -> None:
    """ProtectHome=tmpfs with the one home bound in; elsewhere no home is there at all."""
    inside = units.service(installation(tmp_path, home=Path("/home/games/.hermes")))
    assert 'ProtectHome=tmpfs\nBindPaths="/home/games/.hermes"\n' in inside
    assert "ProtectHome=yes\n" in units.service(installation(tmp_path, home=Path("/var/lib/games")))
    with pytest.raises(ConfigError) as caught:
        units.service(installation(tmp_path, home=Path("/home/games/.hermes"), hermesd="/home/ada/bin/hermesd"))
    assert caught.value.where == "/home/ada/bin/hermesd"


@given(st.text(alphabet=st.characters(), min_size=1))
@example("100%h")
@example("\nExecStart=/bin/sh")
@example('" "HOME=/')
def test_a_path_stays_within_its_line_or_is_refused(name: str) -> None:
    """Whatever the home is called, it ends no setting and begins none."""
    usual = units.service(installation(Path("/srv"), "user")).count("\n")
    try:
        text = units.service(installation(Path("/srv"), "user", home=Path("/srv") / f"x{name}"))
    except ConfigError:
        assert not name.isprintable() or set('"\\') & set(name)
    else:
        assert text.count("\n") == usual
        line = next(line for line in text.splitlines() if "HERMES_HOME" in line and line.startswith("Environment"))
        assert line.endswith('"')
        assert "%" not in line.replace("%%", "")


def test_a_unit_of_ours_is_told_from_an_old_an_edited_and_a_foreign_one(tmp_path: Path) -> None:
    """By its first lines and the hash of the rest."""
    found = installation(tmp_path)
    text = units.service(found)
    older = units.service(found._replace(stop_s=61))
    assert unitfile.condition(None, text) == "missing"
    assert unitfile.condition(text, text) == "current"
    assert unitfile.condition(older, text) == "stale"
    assert unitfile.condition(older.replace("Restart=on-failure", "Restart=no"), text) == "edited"
    assert unitfile.condition("[Service]\nExecStart=/bin/true\n", text) == "foreign"
    assert unitfile.condition("", text) == "foreign"
    assert unitfile.facts_of(text)["home"] == str(found.home)
    assert unitfile.facts_of("\n\n\n") == {}


def test_what_is_not_ours_or_was_edited_is_not_overwritten(tmp_path: Path) -> None:
    """--force is for edited ones only."""
    path = tmp_path / "x"
    with pytest.raises(ConflictError, match="not made by hermesctl"):
        unitfile.check_ours(path, "foreign", force=True)
    with pytest.raises(ConflictError, match="changed by hand"):
        unitfile.check_ours(path, "edited", force=False)
    unitfile.check_ours(path, "edited", force=True)
    unitfile.check_ours(path, "stale", force=False)


def test_a_file_is_replaced_whole_and_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    """Nothing is written through a link, and none is read."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = tmp_path / "units" / "hermesd.service"
    path.parent.mkdir()
    path.symlink_to(victim)
    with pytest.raises(ConfigError, match="symbolic link"):
        unitfile.read(path)
    unitfile.write(ServiceFile(path, "text\n"))
    assert victim.read_text() == "precious"
    assert not path.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [found.name for found in path.parent.iterdir()] == ["hermesd.service"]
    assert unitfile.remove(path)
    assert not unitfile.remove(path)


def test_a_directory_where_a_unit_should_be_is_refused_with_the_next_step(tmp_path: Path) -> None:
    """What the system says becomes a sentence."""
    path = tmp_path / "hermesd.service"
    path.mkdir()
    with pytest.raises(ConfigError) as caught:
        unitfile.read(path)
    assert str(path) in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be written"):
        unitfile.write(ServiceFile(path, "x"))
