"""Profiles on disk: all of one or none of it, and nothing outside is ever touched."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hermesd.errors import ConfigError, ConflictError, HermesError, NotFoundError, UsageError
from hermesd.home import Home
from hermesd.profiles import ProfileStore
from tests.servers.descriptors import open_descriptors
from tests.unit.test_home import BAD_NAMES


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.create()
    return home


@pytest.fixture
def store(home: Home) -> ProfileStore:
    return ProfileStore(home)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(home: Home) -> list[str]:
    return sorted(path.name for path in (home.root / "profiles").iterdir())


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused_by_every_method(home: Home, store: ProfileStore, name: str) -> None:
    """Case 1: and nothing is made, moved or removed."""
    store.create("coder")
    (home.root.parent / "x").mkdir()
    with pytest.raises(UsageError):
        store.create(name)
    with pytest.raises(UsageError):
        store.rename("coder", name)
    with pytest.raises(UsageError):
        store.delete(name)
    if name != "default":
        with pytest.raises(UsageError):
            store.use(name)
        if name:
            with pytest.raises(UsageError):
                store.create("other", clone_from=name)
    assert names(home) == ["coder"]
    assert (home.root.parent / "x").is_dir()


def test_a_new_profile_is_private_and_has_a_workspace(home: Home, store: ProfileStore) -> None:
    """0700 throughout, whatever the umask; the description is YAML whatever it says."""
    before = os.umask(0)
    try:
        profile = store.create("coder", description='says "hi": \\ and\nmore')
    finally:
        os.umask(before)
    assert [mode_of(path) for path in (profile.root, profile.workspace)] == [0o700, 0o700]
    import yaml

    assert yaml.safe_load((profile.root / "profile.yaml").read_text()) == {"description": 'says "hi": \\ and more'}
    assert home.profile("coder") == profile
    with pytest.raises(ConflictError):
        store.create("coder")


def test_a_clone_has_the_files_but_not_the_history(home: Home, store: ProfileStore) -> None:
    """config.yaml, .env and SOUL.md, 0600, and nothing else."""
    for name in ("config.yaml", ".env", "SOUL.md", "state.db", "auth.json"):
        (home.root / name).write_text(f"# {name}")
    clone = store.create("clone", clone_from="default")
    assert sorted(path.name for path in clone.root.iterdir()) == [".env", "SOUL.md", "config.yaml", "workspace"]
    assert {mode_of(clone.root / name) for name in (".env", "SOUL.md", "config.yaml")} == {0o600}
    assert clone.env_path.read_text() == "# .env"
    second = store.create("second", clone_from="clone")
    assert second.soul_path.read_text() == "# SOUL.md"
    with pytest.raises(NotFoundError):
        store.create("third", clone_from="nobody")


def test_a_failed_clone_leaves_nothing(home: Home, store: ProfileStore, tmp_path: Path) -> None:
    """A link in the origin is not followed, and what was staged is removed."""
    (tmp_path / "victim").write_text("secret of another program")
    (home.root / "SOUL.md").symlink_to(tmp_path / "victim")
    with pytest.raises(ConfigError, match="symbolic link"):
        store.create("clone", clone_from="default")
    assert names(home) == []


def test_delete_follows_no_link_and_removes_any_tree(home: Home, store: ProfileStore, tmp_path: Path) -> None:
    """Links inside are removed as links; deep trees and directories without permissions are no obstacle."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("kept")
    root = store.create("coder").root
    (root / "workspace" / "link").symlink_to(outside)
    (root / "workspace" / "file-link").symlink_to(outside / "keep")
    os.mkfifo(root / "pipe")
    deep = os.open(root / "workspace", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=deep)
        below = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)
    (root / "locked").mkdir()
    (root / "locked" / "file").write_text("x")
    (root / "locked").chmod(0)
    before = open_descriptors()
    store.delete("coder")
    assert names(home) == []
    assert (outside / "keep").read_text() == "kept"
    assert open_descriptors() == before


def test_a_profile_that_is_a_link_is_none(home: Home, store: ProfileStore, tmp_path: Path) -> None:
    """Neither deleted nor renamed nor cloned through it."""
    (tmp_path / "outside").mkdir()
    (home.root / "profiles" / "link").symlink_to(tmp_path / "outside")
    for attempt in (
        lambda: store.delete("link"),
        lambda: store.rename("link", "other"),
        lambda: store.use("link"),
        lambda: store.create("other", clone_from="link"),
    ):
        with pytest.raises(NotFoundError):
            attempt()
    with pytest.raises(ConflictError):
        store.create("link")
    assert (tmp_path / "outside").is_dir()


def test_a_linked_or_open_profiles_directory_is_refused(home: Home, store: ProfileStore, tmp_path: Path) -> None:
    """Case 2 for the directory that holds them all."""
    (home.root / "profiles").chmod(0o770)
    with pytest.raises(ConfigError, match="others may write"):
        store.create("coder")
    (home.root / "profiles").rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (home.root / "profiles").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="symbolic link"):
        store.create("coder")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_default_profile_cannot_be_removed_or_renamed(home: Home, store: ProfileStore) -> None:
    """It is the home itself."""
    with pytest.raises(UsageError, match="cannot be deleted"):
        store.delete("default")
    with pytest.raises(UsageError, match="cannot be renamed"):
        store.rename("default", "other")
    assert home.root.is_dir()


def test_a_rename_never_replaces(home: Home, store: ProfileStore) -> None:
    """Not even an empty directory, which rename(2) alone would."""
    root = store.create("a").root
    (root / "config.yaml").write_text("model: a\n")
    (home.root / "profiles" / "b").mkdir()
    with pytest.raises(ConflictError):
        store.rename("a", "b")
    assert store.rename("a", "c").config_path.read_text() == "model: a\n"
    assert names(home) == ["b", "c"]
    with pytest.raises(NotFoundError):
        store.rename("a", "d")


def test_the_current_profile_is_remembered(home: Home, store: ProfileStore) -> None:
    """In active_profile, as hermes-agent does; it follows a rename, and a removal goes back to default."""
    assert store.current() == "default"
    store.create("coder")
    store.use("coder")
    assert (home.root / "active_profile").read_text() == "coder\n"
    assert ProfileStore(home).current() == "coder"
    store.rename("coder", "writer")
    assert store.current() == "writer"
    store.delete("writer")
    assert store.current() == "default"
    store.use("default")
    with pytest.raises(NotFoundError):
        store.use("nobody")


@pytest.mark.parametrize("content", [b"", b"nobody\n", b"../x\n", b"\xff\xfe", b"a\0b", b"x" * 9000])
def test_a_senseless_active_profile_means_default(home: Home, store: ProfileStore, content: bytes) -> None:
    """The file is hermes-agent's too, and nothing may fail because of it."""
    (home.root / "active_profile").write_bytes(content)
    assert store.current() == "default"


def test_a_link_at_active_profile_is_not_written_through(home: Home, store: ProfileStore, tmp_path: Path) -> None:
    """Nor read."""
    (tmp_path / "victim").write_text("default")
    (home.root / "active_profile").symlink_to(tmp_path / "victim")
    with pytest.raises(ConfigError, match="symbolic link"):
        store.use("default")
    assert store.current() == "default"
    assert (tmp_path / "victim").read_text() == "default"


def test_what_a_crash_left_is_swept(home: Home, store: ProfileStore) -> None:
    """Staged and half-removed profiles are none, and go at the next start."""
    store.create("coder")
    for name in (".new-a-0123", ".gone-b-0123"):
        (home.root / "profiles" / name / "workspace").mkdir(parents=True)
    assert [profile.name for profile in home.profiles()] == ["default", "coder"]
    assert sorted(store.sweep()) == [".gone-b-0123", ".new-a-0123"]
    assert names(home) == ["coder"]


KILLED = """
import sys
from pathlib import Path
from hermesd.home import Home
from hermesd.profiles import ProfileStore
ProfileStore(Home(Path(sys.argv[1]))).create("clone", clone_from="default")
"""


@pytest.mark.parametrize("point", ["home.before_rename", "home.after_rename", "home.after_rename:2"])
def test_a_kill_while_cloning_leaves_no_half_profile(home: Home, store: ProfileStore, point: str) -> None:
    """SIGKILL between the files: the name is free, and sweeping leaves nothing."""
    for name in ("config.yaml", ".env", "SOUL.md"):
        (home.root / name).write_text("# x")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(home.root)],
        env={**os.environ, "HERMESD_FAILPOINT": point},
        check=False,
        timeout=60,
    )
    assert done.returncode == -9
    with pytest.raises(NotFoundError):
        home.profile("clone")
    store.sweep()
    assert names(home) == []
    assert store.create("clone", clone_from="default").config_path.exists()


def test_every_refusal_says_what_to_do(store: ProfileStore) -> None:
    """What, and the next step."""
    store.create("a")
    for attempt in (lambda: store.create("a"), lambda: store.delete("default"), lambda: store.use("b")):
        with pytest.raises(HermesError) as caught:
            attempt()
        assert caught.value.what
        assert caught.value.next_step
