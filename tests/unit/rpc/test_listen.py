"""The listening socket: where it is, who may reach it, what is refused, what is removed."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from hermesd.deploy.inherited import Descriptor
from hermesd.errors import ConfigError, ConflictError
from hermesd.home import Home
from hermesd.rpc.listen import STORED_NAME, bind, open_listener


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = Home(tmp_path / "home")
    found.create()
    return found


def test_the_socket_is_private_whatever_the_umask(home: Home) -> None:
    """0600 from the moment it exists, and the umask is what it was before."""
    before = os.umask(0)
    try:
        listener = open_listener(home)
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(home.socket_path.lstat().st_mode) == 0o600
    listener.close()
    assert not home.socket_path.exists()


def test_a_stale_socket_is_replaced(home: Home) -> None:
    """One that nobody listens on any more."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(home.socket_path))
    listener = open_listener(home)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(home.socket_path))
    listener.close()


def test_a_socket_that_answers_is_not_touched(home: Home) -> None:
    """Somebody listens there: conflict."""
    first = open_listener(home)
    with pytest.raises(ConflictError):
        open_listener(home)
    assert home.socket_path.exists()
    first.close()


def test_a_socket_whose_backlog_is_full_answers(home: Home) -> None:
    """It cannot be connected to now, yet it is alive."""
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(home.socket_path))
        busy.listen(0)
        waiting.connect(str(home.socket_path))
        with pytest.raises(ConflictError):
            open_listener(home)


@pytest.mark.parametrize("kind", ["symlink", "dangling symlink", "file", "directory", "fifo"])
def test_what_is_not_a_socket_of_ours_is_refused(home: Home, tmp_path: Path, kind: str) -> None:
    """And left as it is, its target too."""
    path, target = home.socket_path, tmp_path / "target"
    if "symlink" in kind:
        path.symlink_to(target)
        if kind == "symlink":
            target.write_text("precious")
    elif kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    before = path.lstat()
    with pytest.raises(ConfigError) as caught:
        open_listener(home)
    assert caught.value.where == str(path)
    assert path.lstat().st_ino == before.st_ino
    assert kind != "symlink" or target.read_text() == "precious"


def test_a_group_writable_parent_is_refused(home: Home) -> None:
    """Somebody else could replace the socket."""
    home.root.chmod(0o770)
    with pytest.raises(ConfigError):
        open_listener(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_another_owners_socket_is_refused(home: Home) -> None:
    """Even a dead one."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(home.socket_path))
    os.chown(home.socket_path, 1, -1)
    with pytest.raises(ConfigError, match="owned by uid 1"):
        open_listener(home)


def test_at_the_end_only_our_own_socket_is_removed(home: Home) -> None:
    """Somebody has put another one there meanwhile."""
    listener = open_listener(home)
    home.socket_path.unlink()
    other = bind(home.socket_path)
    listener.close()
    assert home.socket_path.exists()
    other.close()


def test_a_long_home_has_its_socket_in_the_runtime_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a directory of ours, 0700, made when needed."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    home = Home(tmp_path / ("long" * 40))
    home.create()
    listener = open_listener(home)
    assert home.socket_path.parent == runtime / "hermesd"
    assert stat.S_IMODE((runtime / "hermesd").stat().st_mode) == 0o700
    listener.close()


@pytest.mark.parametrize("kind", ["open", "symlink", "file"])
def test_a_runtime_directory_that_others_may_enter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Or that is not a directory itself."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    planted = runtime / "hermesd"
    if kind == "open":
        planted.mkdir()
        planted.chmod(0o711)
    elif kind == "symlink":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        planted.symlink_to(tmp_path / "elsewhere")
    else:
        planted.touch()
    home = Home(tmp_path / ("long" * 40))
    home.create()
    with pytest.raises(ConfigError):
        open_listener(home)


def listening_at(path: Path) -> socket.socket:
    found = socket.socket(socket.AF_UNIX)
    found.bind(str(path))
    found.listen()
    return found


def test_the_socket_of_a_socket_unit_is_taken_and_left_where_it_is(home: Home) -> None:
    """Not passed on, not blocking; its maker removes it."""
    given = listening_at(home.socket_path)
    found = open_listener(home, [Descriptor("hermesd.socket", given.detach())])
    assert (found.path, found.socket.getblocking(), found.socket.get_inheritable()) == (None, False, False)
    found.close()
    assert home.socket_path.exists()


def test_a_listener_kept_over_a_restart_is_taken_and_its_path_stays(home: Home) -> None:
    """Whoever connected while nobody was there is accepted by the next process."""
    first = open_listener(home)
    first.is_kept = True
    held = os.dup(first.socket.fileno())  # as the process supervisor holds it
    first.close()
    with socket.socket(socket.AF_UNIX) as early:
        early.connect(str(home.socket_path))
        second = open_listener(home, [Descriptor(STORED_NAME, held)])
        assert second.is_kept
        accepted, _ = second.socket.accept()
        accepted.close()
    second.close()
    assert home.socket_path.exists()


@pytest.mark.parametrize("fate", ["removed", "replaced by a file", "of another home"])
def test_a_kept_listener_that_clients_do_not_find_any_more_is_given_up(home: Home, tmp_path: Path, fate: str) -> None:
    """A new one is bound, and the old one closed."""
    elsewhere = tmp_path / "other" if fate == "of another home" else home.socket_path
    old = listening_at(elsewhere)
    if fate != "of another home":
        home.socket_path.unlink()
    if fate == "replaced by a file":
        home.socket_path.write_text("")
        with pytest.raises(ConfigError):
            open_listener(home, [Descriptor(STORED_NAME, old.detach())])
        return
    found = open_listener(home, [Descriptor(STORED_NAME, old.detach())])
    assert not found.is_kept
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(home.socket_path))
    found.close()
    assert not home.socket_path.exists()


def test_a_socket_unit_comes_before_a_kept_listener(home: Home, tmp_path: Path) -> None:
    """Somebody has added the socket unit to a service that ran without."""
    kept = listening_at(home.socket_path)
    activated = listening_at(tmp_path / "s")
    fd = activated.detach()
    found = open_listener(home, [Descriptor("hermesd.socket", fd), Descriptor(STORED_NAME, kept.detach())])
    assert found.socket.fileno() == fd
    assert found.path is None
    found.close()


def test_an_inherited_descriptor_of_another_kind_is_refused(home: Home, tmp_path: Path) -> None:
    """A socket that does not listen, one that is not a Unix stream socket, and a second one."""
    with socket.socket(socket.AF_UNIX) as mute, socket.socket(socket.AF_INET) as inet:
        inet.bind(("127.0.0.1", 0))
        inet.listen()
        for wrong in (mute, inet):
            with pytest.raises(ConfigError) as caught:
                open_listener(home, [Descriptor("unknown", wrong.fileno())])
            assert str(wrong.fileno()) in caught.value.where
    first, second = listening_at(tmp_path / "a"), listening_at(tmp_path / "b")
    with pytest.raises(ConfigError) as caught:
        open_listener(home, [Descriptor("a", first.detach()), Descriptor("b", second.fileno())])
    assert "more than one" in caught.value.what
    second.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give the socket to any group")
def test_sharing_gives_the_group_the_socket_and_takes_it_back(home: Home) -> None:
    """0660 with the group, 0600 without; an unknown group is an error that names the key."""
    listener = open_listener(home)
    listener.share("nogroup")
    found = home.socket_path.lstat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, 65534)
    listener.share("")
    assert stat.S_IMODE(home.socket_path.lstat().st_mode) == 0o600
    with pytest.raises(ConfigError) as caught:
        listener.share("no-such-group-here")
    assert caught.value.where == "rpc.group"
    listener.close()
