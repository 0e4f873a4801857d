"""The state directory: made once, kept, and not to be turned against the host by what lies in it."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.config.env import parse_env
from hermesd.deploy.container.environment import HEADER, env_text
from hermesd.deploy.container.host_users import link_homes, outsiders
from hermesd.deploy.container.manifest import Container, Env, Manifest
from hermesd.deploy.container.state_dir import state_dir
from hermesd.errors import ConfigError, DeniedError

ROOT = os.geteuid() == 0
UID = 10000 if ROOT else os.geteuid()
GID = 10000 if ROOT else os.getegid()


def manifest(place: Path, *, env: Env | None = None, **container: Any) -> Manifest:
    """Of a state directory below ``place``; outside of a test as root, the agent is this user."""
    state = f"{place}/state"
    return Manifest(
        schema=1,
        package=f"{place}/package",
        container=Container(image="x", uid=UID, gid=GID, **container),
        state_dir=state,
        home=f"{state}/.hermes",
        env=env or Env(),
    )


def prepare(declared: Manifest, *, dry_run: bool = False) -> list[str]:
    with state_dir(declared, dry_run=dry_run, make=True) as found:
        found.prepare()
        return found.changes


def owner(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_uid, stat.S_IMODE(found.st_mode)


def test_everything_is_made_once(tmp_path: Path) -> None:
    """Directories, links and the marker; the second time there is nothing to do, whatever the umask was."""
    old = os.umask(0)
    try:
        declared = manifest(tmp_path)
        changes = prepare(declared)
        assert any("workspace" in change for change in changes)
        assert prepare(declared) == []
    finally:
        os.umask(old)
    state = tmp_path / "state"
    assert owner(state) == (os.geteuid(), 0o750)
    for name in (".hermes", "home", "workspace"):
        assert owner(state / name) == (UID, 0o750)
    assert owner(state / ".hermes/.container-mode") == (os.geteuid(), 0o644)
    for name in ("current-package", ".gc-root"):
        assert str((state / name).readlink()) == declared.package
    assert not (state / ".hermes/.env").exists()


def test_a_dry_run_makes_nothing_and_says_what_would_be_made(tmp_path: Path) -> None:
    """Also where a part is there."""
    (tmp_path / "state").mkdir(mode=0o750)
    said = prepare(manifest(tmp_path), dry_run=True)
    assert f"make {tmp_path}/state/.hermes" in said
    assert list((tmp_path / "state").iterdir()) == []


def test_the_package_link_follows_the_package(tmp_path: Path) -> None:
    """And is never missing in between."""
    declared = manifest(tmp_path)
    prepare(declared)
    newer = Manifest(
        schema=1, package="/opt/newer", container=declared.container, state_dir=declared.state_dir, home=declared.home
    )
    assert f"link {tmp_path}/state/current-package to /opt/newer" in prepare(newer)
    assert str((tmp_path / "state/current-package").readlink()) == "/opt/newer"


@pytest.mark.parametrize("name", [".hermes", "home", "workspace"])
def test_a_link_in_the_place_of_a_directory_is_refused_and_nothing_behind_it_changes(tmp_path: Path, name: str) -> None:
    """Neither its owner nor its contents; a start refuses it too."""
    declared = manifest(tmp_path)
    prepare(declared)
    target = tmp_path / "precious"
    target.mkdir()
    before = target.lstat()
    (tmp_path / "state" / name).rename(tmp_path / "moved")
    (tmp_path / "state" / name).symlink_to(target)
    with pytest.raises(ConfigError, match="is a symbolic link"):
        prepare(declared)
    with state_dir(declared) as found, pytest.raises(ConfigError, match="is a symbolic link"):
        found.verify()
    assert target.lstat() == before  # before it is read, which may change its time of access
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("name", [".container-mode", ".env"])
@pytest.mark.parametrize("kind", [os.symlink, os.link])
def test_a_link_in_the_place_of_a_file_is_replaced_and_its_target_stays(tmp_path: Path, name: str, kind: Any) -> None:
    """The file is made anew beside it, with its owner and mode, and then takes the name."""
    declared = manifest(tmp_path, env=Env(values={"TOKEN": "x"}))
    (tmp_path / "passwd").write_text("root:x:0:0\n")
    home = tmp_path / "state/.hermes"
    prepare(manifest(tmp_path))
    (home / name).unlink(missing_ok=True)
    kind(tmp_path / "passwd", home / name)
    before = (tmp_path / "passwd").stat()
    prepare(declared)
    assert (tmp_path / "passwd").read_text() == "root:x:0:0\n"
    assert (tmp_path / "passwd").stat().st_uid == before.st_uid
    assert not (home / name).is_symlink()
    assert (home / name).stat().st_ino != before.st_ino


def test_links_at_the_top_are_replaced_not_followed(tmp_path: Path) -> None:
    """current-package may point anywhere; a directory in its place is an error."""
    declared = manifest(tmp_path)
    prepare(declared)
    link = tmp_path / "state/current-package"
    (tmp_path / "other").mkdir()
    link.unlink()
    link.symlink_to(tmp_path / "other")
    prepare(declared)
    assert str(link.readlink()) == declared.package
    assert list((tmp_path / "other").iterdir()) == []
    link.unlink()
    link.mkdir()
    with pytest.raises(ConfigError, match="cannot become a link"):
        prepare(declared)
    assert sorted(path.name for path in (tmp_path / "state").iterdir() if ".current" in path.name) == []


def test_a_state_directory_that_is_a_link_or_open_to_others_is_refused(tmp_path: Path) -> None:
    """As is one of somebody else."""
    declared = manifest(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "state").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match="is a symbolic link"):
        prepare(declared)
    (tmp_path / "state").unlink()
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o770)
    with pytest.raises(ConfigError, match="others may write to it"):
        prepare(declared)
    if ROOT:
        (tmp_path / "state").chmod(0o750)
        os.chown(tmp_path / "state", 12345, 12345)
        with pytest.raises(ConfigError, match="belongs to uid 12345"):
            prepare(declared)


@pytest.mark.skipif(not ROOT, reason="only root can give files away")
def test_a_state_directory_of_the_agents_becomes_roots(tmp_path: Path) -> None:
    """So that nothing in it can be renamed by the agent; what is below stays the agent's."""
    declared = manifest(tmp_path)
    (tmp_path / "state/workspace").mkdir(parents=True)
    for path in (tmp_path / "state", tmp_path / "state/workspace"):
        path.chmod(0o750)
        os.chown(path, UID, GID)
    assert f"give {tmp_path}/state to root" in prepare(declared)
    assert owner(tmp_path / "state") == (0, 0o750)
    assert owner(tmp_path / "state/workspace")[0] == UID
    os.chown(tmp_path / "state/workspace", 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to uid 12345"):
        prepare(declared)


def test_files_for_another_user_are_left_to_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user cannot give files away."""
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    with pytest.raises(DeniedError, match=f"files of uid {UID}"):
        prepare(manifest(tmp_path))


def test_a_start_before_ensure_is_a_clear_error(tmp_path: Path) -> None:
    """The directory, or one in it, is missing."""
    declared = manifest(tmp_path)
    with pytest.raises(ConfigError, match="does not exist"), state_dir(declared):
        pass
    (tmp_path / "state").mkdir(mode=0o750)
    with state_dir(declared) as found, pytest.raises(ConfigError, match="is missing"):
        found.verify()


def test_the_environment_becomes_a_private_file_and_goes_with_its_declaration(tmp_path: Path) -> None:
    """Files in their order, then values; emptied when nothing is declared any more; somebody's own is kept beside."""
    home = tmp_path / "state/.hermes"
    prepare(manifest(tmp_path))
    (home / ".env").write_text("OWN=1\n")
    (tmp_path / "a.env").write_text("export A=1\nB=1\nC='x y'\n")
    (tmp_path / "b.env").write_text("B=2\n")
    env = Env(values={"D": "it's"}, files=[f"{tmp_path}/a.env", f"-{tmp_path}/none.env", f"{tmp_path}/b.env"])
    prepare(manifest(tmp_path, env=env))
    assert (home / ".env").read_text() == HEADER + "A=1\nB=2\nC='x y'\nD='it\\'s'\n"
    assert owner(home / ".env") == (UID, 0o600)
    assert (home / ".env.before-container").read_text() == "OWN=1\n"
    assert prepare(manifest(tmp_path, env=env)) == []
    prepare(manifest(tmp_path))
    assert (home / ".env").read_text() == HEADER


def test_an_environment_file_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    """Missing, no file, no text, or where the agent could put a link to any file that root can read."""
    prepare(manifest(tmp_path))
    agents = tmp_path / "state/workspace/x.env"
    agents.write_text("A=1\n")
    (tmp_path / "link.env").symlink_to(agents)
    (tmp_path / "bad.env").write_bytes(b"A=\xff\n")
    (tmp_path / "odd.env").write_text("A=1\n=2\n")
    os.mkfifo(tmp_path / "pipe")
    for path, why in [
        (tmp_path / "none.env", "is missing"),
        (tmp_path, "is not a regular file"),
        (tmp_path / "pipe", "is not a regular file"),
        (tmp_path / "bad.env", "is not UTF-8"),
        (tmp_path / "odd.env", "is no KEY=VALUE"),
        (agents, "lies in the state directory"),
        (tmp_path / "link.env", "lies in the state directory"),
    ]:
        with pytest.raises(ConfigError, match=why):
            prepare(manifest(tmp_path, env=Env(files=[str(path)])))


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,5}", fullmatch=True), st.text(max_size=20), max_size=4))
def test_every_value_is_read_back_as_it_was_declared(values: dict[str, str]) -> None:
    """By the reader of hermesd; a reference to another variable stays one, and NUL cannot be in any."""
    plain = {name: value.replace("\0", "").replace("${", "$") for name, value in values.items()}
    declared = Manifest(schema=1, package="/p", container=Container(image="x"), env=Env(values=plain))
    notices: list[str] = []
    assert parse_env(env_text(declared).encode(), "m", notices) == plain
    assert notices == []


def test_people_of_the_host_get_a_link_in_their_home(tmp_path: Path) -> None:
    """Once; another link is replaced, a home of their own is not."""
    person = tmp_path / "me"
    person.mkdir()
    entry = pwd.struct_passwd(("me", "x", os.getuid(), os.getgid(), "", str(person), "/bin/sh"))
    declared = manifest(tmp_path, host_users=["me"])

    def look_up(name: str) -> pwd.struct_passwd:
        return {"me": entry}[name]

    link = person / ".hermes"
    assert link_homes(declared, dry_run=True, look_up=look_up) == [f"link {link} to {declared.home}"]
    assert not link.exists()
    for _ in range(2):
        link_homes(declared, look_up=look_up)
        assert str(link.readlink()) == declared.home
    assert link_homes(declared, look_up=look_up) == []
    link.unlink()
    link.symlink_to("/elsewhere")
    link_homes(declared, look_up=look_up)
    assert str(link.readlink()) == declared.home
    link.unlink()
    link.mkdir()
    with pytest.raises(ConfigError, match="has a home of hermesd already"):
        link_homes(declared, look_up=look_up)
    with pytest.raises(ConfigError, match="no user 'you'"):
        link_homes(manifest(tmp_path, host_users=["you"]), look_up=look_up)


def test_people_who_cannot_enter_the_state_directory_are_told(tmp_path: Path) -> None:
    """Their link would lead nowhere for them."""
    entry = pwd.struct_passwd(("me", "x", 1000, 1000, "", f"{tmp_path}", "/bin/sh"))
    groups = {"me": [1000, GID], "you": [1000]}
    declared = manifest(tmp_path, host_users=["me", "you"])
    told = outsiders(declared, look_up=lambda _: entry, groups_of=lambda name, _: groups[name])
    assert told == [f"notice: you is not in the group with gid {GID}, and cannot enter {tmp_path}/state"]


@pytest.mark.skipif(not ROOT, reason="only root can give files away")
def test_a_home_directory_of_somebody_else_is_not_written_to(tmp_path: Path) -> None:
    """passwd may name a directory that others own."""
    (tmp_path / "me").mkdir()
    os.chown(tmp_path / "me", 12345, 12345)
    entry = pwd.struct_passwd(("me", "x", 4242, 4242, "", f"{tmp_path}/me", "/bin/sh"))
    with pytest.raises(ConfigError, match="does not belong to me"):
        link_homes(manifest(tmp_path, host_users=["me"]), look_up=lambda _: entry)
    assert list((tmp_path / "me").iterdir()) == []
