"""What is found, without running any of it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.errors import ConfigError
from hermesd.home import Profile
from hermesd.plugins.discovery import Candidate, discover
from hermesd.plugins.manifest import NAME, VARIABLE, read_manifest
from tests.servers.plugin_home import write_plugin


def found(home: Path, profile: Path | None = None) -> dict[str, Candidate]:
    return {
        name: each
        for name, each in discover(Profile("default", profile or home), home).items()
        if each.kind == "directory"
    }


def test_a_directory_is_known_by_the_name_in_its_manifest(tmp_path: Path) -> None:
    """hermes-agent's keys are read as they are; unknown ones do no harm."""
    manifest = "name: lcm\nversion: 0.7\ndescription: x\nkind: standalone\nrequires_env: [A, {name: B, help: y}]\n"
    write_plugin(tmp_path, "lcm", manifest=manifest, directory="hermes-lcm")
    [(name, candidate)] = found(tmp_path).items()
    assert (name, candidate.version, candidate.requires_env) == ("lcm", "0.7", ("A", "B"))
    assert candidate.problem == ""


def test_a_manifest_without_a_name_takes_the_directorys(tmp_path: Path) -> None:
    """hermes-agent does so, too."""
    write_plugin(tmp_path, "plain", manifest="version: 1\n")
    assert found(tmp_path)["plain"].version == "1"


def test_the_profiles_own_plugin_goes_before_the_homes(tmp_path: Path) -> None:
    """As its own files do everywhere."""
    profile = tmp_path / "profiles" / "coder"
    write_plugin(tmp_path, "one")
    write_plugin(profile, "one")
    write_plugin(tmp_path, "two")
    names = found(tmp_path, profile)
    assert names["one"].directory == profile / "plugins" / "one"
    assert names["two"].directory == tmp_path / "plugins" / "two"


def test_two_directories_of_one_name_are_nobodys(tmp_path: Path) -> None:
    """Which of them would be meant is for a person to say."""
    write_plugin(tmp_path, "one")
    write_plugin(tmp_path, "one", directory="other")
    assert "two plugins have this name" in found(tmp_path)["one"].problem


@pytest.mark.parametrize("what", ["plugins/one", "plugins/one/__init__.py"])
def test_a_plugin_that_others_may_write_is_refused(tmp_path: Path, what: str) -> None:
    """Otherwise somebody else's code would run as this user."""
    write_plugin(tmp_path, "one")
    (tmp_path / what).chmod(0o777)
    candidate = found(tmp_path)["one"]
    assert "others may write to it" in candidate.problem
    assert candidate.next_step == f"chmod go-w {tmp_path / what}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_plugin_of_another_user_is_refused(tmp_path: Path) -> None:
    """Nor does one that somebody else owns."""
    place = write_plugin(tmp_path, "one")
    os.chown(place / "__init__.py", 65534, 65534)
    assert "owned by uid 65534" in found(tmp_path)["one"].problem


def test_what_is_no_plugin_is_told_or_passed_over(tmp_path: Path) -> None:
    """A broken manifest has its line; hidden directories, files and caches are no plugins."""
    write_plugin(tmp_path, "broken", manifest="name: [\n")
    write_plugin(tmp_path, "nameless", manifest="name: ../evil\n")
    write_plugin(tmp_path, "empty")
    (tmp_path / "plugins/empty/__init__.py").unlink()
    (tmp_path / "plugins/.hidden").mkdir()
    (tmp_path / "plugins/__pycache__").mkdir()
    (tmp_path / "plugins/file").write_text("")
    (tmp_path / "plugins/gone").symlink_to("nowhere")
    names = found(tmp_path)
    assert set(names) == {"broken", "nameless", "empty", "gone"}
    assert names["gone"].problem == "plugin.yaml: is missing"  # the reason first: a narrow list shows its beginning
    assert names["gone"].next_step == f"write {tmp_path}/plugins/gone/plugin.yaml with a name, at least"
    assert "plugin.yaml:" in names["broken"].problem
    assert "is not a plugin's name" in names["nameless"].problem
    assert "cannot be used" in names["empty"].problem


def test_names_that_no_plugin_may_have_are_shown_and_told_apart(tmp_path: Path) -> None:
    """Also those that no wire could carry."""
    names = [b"bad name", b"b@d", b"\xff\x1b[2J"]
    for name in names:
        (tmp_path / "plugins").mkdir(exist_ok=True, mode=0o700)
        (tmp_path / "plugins" / os.fsdecode(name)).mkdir(mode=0o700)
    shown = found(tmp_path)
    assert set(shown) == {"bad name", "b@d", "��[2J"}
    for each in shown.values():
        assert "plugin.yaml: is missing" in each.problem
        assert msgspec.json.encode([each.name, each.place, each.problem, each.next_step])


def test_a_variable_without_a_list_is_needed_too_and_none_is_passed_over(tmp_path: Path) -> None:
    """A plugin without what it needs must not be loaded."""
    write_plugin(tmp_path, "one", manifest="name: one\nrequires_env: A_KEY\n")
    write_plugin(tmp_path, "none", manifest="name: none\nrequires_env:\n")
    many = ", ".join(f"V{number}" for number in range(65))
    write_plugin(tmp_path, "many", manifest=f"name: many\nrequires_env: [{many}]\n")
    shown = found(tmp_path)
    assert shown["one"].requires_env == ("A_KEY",)
    assert (shown["none"].requires_env, shown["none"].problem) == ((), "")
    assert "more than 64 variables" in shown["many"].problem


def test_an_entry_point_is_a_plugin_of_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In either group; one that stands in both is one, and a name that could not be enabled none."""
    info = tmp_path / "packaged-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: packaged\nVersion: 2.0\nSummary: Does\tmuch\n")
    points = "[hermes_agent.plugins]\none = packaged\n[hermesd.plugins]\none = packaged\ntwo = packaged:register\n"
    (info / "entry_points.txt").write_text(f"{points}a b = packaged\n")
    monkeypatch.syspath_prepend(tmp_path)
    home = tmp_path / "home"
    packages = {name: each for name, each in discover(Profile("default", home), home).items() if each.kind == "package"}
    assert set(packages) == {"one", "two"}
    assert (packages["two"].place, packages["two"].description) == ("packaged 2.0 (packaged:register)", "Does much")
    assert packages["one"].problem == ""


@given(
    st.binary(max_size=400) | st.text(max_size=200).map(lambda text: f"name: {text}\nrequires_env: [{text}]".encode())
)
def test_any_file_is_a_manifest_or_an_error_with_its_place(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    """Nothing that a file says becomes a name or a variable that could not be one."""
    place = tmp_path_factory.mktemp("plugin")
    (place / "plugin.yaml").write_bytes(data)
    try:
        manifest = read_manifest(place)
    except ConfigError as error:
        assert str(place / "plugin.yaml") in error.where  # noqa: PT017 - either outcome is right
    else:
        assert NAME.fullmatch(manifest.name)
        assert all(VARIABLE.fullmatch(name) for name in manifest.requires_env)
        assert manifest.description.isprintable()
