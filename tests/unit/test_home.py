"""The home: names of profiles, its layout, and writes that follow and tear nothing (attack cases 1 and 2)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.errors import ConfigError, NotFoundError, UsageError
from hermesd.home import (
    MAX_SOCKET_PATH_BYTES,
    PROFILE_NAME,
    RESERVED_NAMES,
    Home,
    Profile,
    check_profile_name,
    make_private_directory,
    read_bounded,
    write_private,
)

BAD_NAMES = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/etc",
    "a\\b",
    "a b",
    "a.b",
    "-rf",
    "_x",
    "A",
    "x" * 65,
    "x" * 300,
    "a\0b",
    "a\n",
    "\na",
    "é",
    "e\u0301",
    "ａ",
    "a\u200b",
    "٣",
    "default",
    "hermes",
    "root",
    "sudo",
    "test",
    "tmp",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused_by_the_check_and_by_the_home(tmp_path: Path, name: str) -> None:
    """One rule, with a next step; `default` is a name but none that can be given."""
    with pytest.raises(UsageError) as caught:
        check_profile_name(name)
    assert caught.value.next_step
    if name != "default":
        with pytest.raises(UsageError):
            Home(tmp_path).profile(name)


@pytest.mark.parametrize("name", ["a", "0", "coder", "a-b_c", "x" * 64, "default2"])
def test_a_good_name_is_accepted(name: str) -> None:
    """1 to 64 of a-z 0-9 _ -, beginning with a letter or digit."""
    assert check_profile_name(name) == name


@given(st.text(max_size=70))
def test_only_plain_ascii_names_pass(name: str) -> None:
    """Whatever passes is a harmless path component."""
    try:
        check_profile_name(name)
    except UsageError:
        return
    assert name.isascii()
    assert PROFILE_NAME.fullmatch(name)
    assert name not in RESERVED_NAMES
    assert Path(name).name == name


def test_the_scan_finds_what_the_rule_allows(tmp_path: Path) -> None:
    """Other directories, files and links below profiles/ are none."""
    home = Home(tmp_path)
    home.create()
    for name in ("coder", "b", "Upper", "a b", "root", ".new-x-1", "é", "x" * 65):
        (tmp_path / "profiles" / name).mkdir()
    (tmp_path / "profiles" / "file").write_text("")
    (tmp_path / "profiles" / "link").symlink_to(tmp_path / "profiles" / "coder")
    assert [profile.name for profile in home.profiles()] == ["default", "b", "coder"]
    with pytest.raises(NotFoundError):
        home.profile("link")
    with pytest.raises(NotFoundError):
        home.profile("file")


def test_a_home_without_profiles_has_the_default_one(tmp_path: Path) -> None:
    """Also one that does not exist yet."""
    assert [profile.root for profile in Home(tmp_path / "none").profiles()] == [tmp_path / "none"]


def test_a_home_is_made_private_whatever_the_umask(tmp_path: Path) -> None:
    """0700 for directories, 0600 for files."""
    before = os.umask(0)
    try:
        home = Home(tmp_path / "home")
        home.create()
        write_private(home.root / "secret", b"x")
    finally:
        os.umask(before)
    for path in (home.root, home.logs, home.root / "profiles"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((home.root / "secret").stat().st_mode) == 0o600


def test_a_home_that_others_may_write_is_refused(tmp_path: Path) -> None:
    """With chmod as the next step; one that cannot be made names the path."""
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="others may write"):
        Home(tmp_path).create()
    tmp_path.chmod(0o700)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as caught:
        Home(tmp_path / "file" / "home").create()
    assert caught.value.where.startswith(str(tmp_path / "file"))


def test_the_socket_moves_when_its_path_would_be_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the runtime directory, by the home's hash; the limit is counted in bytes."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    short = Home(Path("/h") / ("x" * 60))
    assert short.socket_path == short.root / "hermesd.sock"
    long = Home(Path("/h") / ("é" * 60))
    assert long.socket_path.parent == Path("/run/user/1/hermesd")
    assert long.socket_path != Home(Path("/h") / ("é" * 61)).socket_path
    assert len(os.fsencode(long.socket_path)) <= MAX_SOCKET_PATH_BYTES


# -- writes (the names are those of the files that are written this way) -----------------------------------------------

TARGETS = ["config.yaml", ".env", "hermesd.pid", "gateway_state.json", "github.json"]


@pytest.fixture
def private(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    make_private_directory(path)
    return path


@pytest.mark.parametrize("name", TARGETS)
def test_a_planted_symbolic_link_is_refused(private: Path, tmp_path: Path, name: str) -> None:
    """Its target keeps its contents, dangling links make nothing, and no temporary file stays."""
    victim = tmp_path / "victim"
    victim.write_text("before")
    (private / name).symlink_to(victim)
    with pytest.raises(ConfigError, match="symbolic link"):
        write_private(private / name, b"after")
    assert victim.read_text() == "before"
    victim.unlink()
    with pytest.raises(ConfigError):
        write_private(private / name, b"after")
    assert not victim.exists()
    assert [path.name for path in private.iterdir()] == [name]


@pytest.mark.parametrize("name", TARGETS)
def test_a_planted_hard_link_is_replaced(private: Path, tmp_path: Path, name: str) -> None:
    """The other name of the inode keeps contents and mode."""
    victim = tmp_path / "victim"
    victim.write_text("before")
    victim.chmod(0o644)
    (private / name).hardlink_to(victim)
    write_private(private / name, b"after")
    assert (victim.read_text(), stat.S_IMODE(victim.stat().st_mode)) == ("before", 0o644)
    assert ((private / name).read_text(), (private / name).stat().st_nlink) == ("after", 1)


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o1777])
def test_a_parent_that_others_may_write_is_refused(private: Path, mode: int) -> None:
    """Even with the sticky bit, and before anything is written."""
    private.chmod(mode)
    with pytest.raises(ConfigError, match="others may write"):
        write_private(private / "config.yaml", b"x")
    private.chmod(0o700)
    assert list(private.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_parent_of_somebody_else_is_refused(private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Owned by neither us nor root."""
    os.chown(private, 12345, 12345)
    with pytest.raises(ConfigError, match="owned by uid 12345"):
        write_private(private / "config.yaml", b"x")


def test_a_directory_at_the_target_is_an_error_that_leaves_nothing(private: Path) -> None:
    """The temporary file goes with the failure."""
    (private / "config.yaml").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_private(private / "config.yaml", b"x")
    assert [path.name for path in private.iterdir()] == ["config.yaml"]


def test_only_regular_files_of_bounded_size_are_read(private: Path, tmp_path: Path) -> None:
    """Neither links, nor pipes that would block, nor directories."""
    (private / "file").write_bytes(b"12345")
    assert read_bounded(private / "file", max_bytes=5) == b"12345"
    with pytest.raises(ConfigError, match="larger"):
        read_bounded(private / "file", max_bytes=4)
    (private / "link").symlink_to(private / "file")
    with pytest.raises(OSError, match="symbolic"):
        read_bounded(private / "link", max_bytes=5)
    os.mkfifo(private / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(ConfigError, match="regular file"):
            read_bounded(private / name, max_bytes=5)


@pytest.mark.parametrize("mark", ["state.db", ".managed"])
def test_a_profile_that_is_a_home_of_its_own_knows_the_home_around_it(tmp_path: Path, mark: str) -> None:
    """``isolation: process`` changes where a profile runs, and neither its skills nor the plugins it may name."""
    (tmp_path / mark).touch()
    for name in ("coder", "a"):
        own = Home(tmp_path / "profiles" / name)
        assert own.around == own.default_profile.home == Home(tmp_path)
    assert Home(tmp_path).around == Home(tmp_path).default_profile.home == Home(tmp_path)


def test_a_home_in_a_directory_called_profiles_is_no_profile(tmp_path: Path) -> None:
    """/srv/profiles/hermes: nothing of /srv is its, unless /srv is a home; nor is what cannot bear a profile's name."""
    lone = Home(tmp_path / "profiles" / "coder")
    lone.root.mkdir(parents=True)
    assert lone.around == lone.default_profile.home == lone
    assert Profile("sub", lone.profile_root("sub")).home == lone
    (tmp_path / "state.db").touch()
    for name in ("hermes", "Mine", ".hermes"):
        other = Home(tmp_path / "profiles" / name)
        assert other.around == other
    assert Profile("sub", lone.profile_root("sub")).home == lone
