""".container-mode: what it says, whom it is believed from, and that without it nothing is done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesctl import fast
from hermesctl.routing import place
from hermesctl.routing.marker import MAX_MARKER_BYTES, Marker, parse_marker, read_marker
from hermesctl.routing.place import FIRST_NAMESPACES, is_in_container
from hermesd.errors import ConfigError, DeniedError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def mark(home: Path, text: str = "", mode: int = 0o644) -> Path:
    home.mkdir(mode=0o700, exist_ok=True)
    path = home / ".container-mode"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_an_empty_file_means_the_defaults() -> None:
    """Those of the contract."""
    expected = Marker("docker", "hermes-agent", "hermes", "/data/current-package/bin/hermesctl")
    assert parse_marker("# only a comment\n\n", "m") == (expected, [])


def test_every_key_is_read_and_blanks_around_it_are_not() -> None:
    """As hermes-agent reads them."""
    text = "backend = podman\ncontainer_name=my agent\n exec_user=me\nhermes_bin=/opt/a b/bin/hermesctl\n"
    assert parse_marker(text, "m") == (Marker("podman", "my agent", "me", "/opt/a b/bin/hermesctl"), [])


def test_an_unknown_key_is_told_with_its_line() -> None:
    """And does no harm."""
    marker, [notice] = parse_marker("container=x\n", "/h/.container-mode")
    assert marker == Marker()
    assert notice.startswith("/h/.container-mode:1: unknown key 'container'; the keys are backend, container_name")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("backend=/tmp/evil", "there is no backend"),
        ("backend=lxc", "there is no backend"),
        ("container_name=--privileged", "begins with a dash"),
        ("exec_user=-x", "begins with a dash"),
        ("container_name=", "1 to 512 characters"),
        (f"container_name={'x' * 513}", "1 to 512 characters"),
        ("container_name=a\x1b[2J", "control characters"),
        ("hermes_bin=bin/hermesctl", "not an absolute path"),
        ("hermes_bin", "not key=value"),
        ("exec_user=a\nexec_user=b", "given twice"),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused(line: str, why: str) -> None:
    """With its number."""
    with pytest.raises(ConfigError, match=why) as refused:
        parse_marker(line, "m")
    assert refused.value.where.startswith("m:")
    assert refused.value.next_step


@given(st.text(max_size=200))
def test_any_text_is_a_marker_or_a_configuration_error(text: str) -> None:
    """What comes out could stand in any argument list."""
    try:
        marker, _ = parse_marker(text, "m")
    except ConfigError:
        return
    assert marker.backend in ("docker", "podman")
    assert all(value.isprintable() and not value.startswith("-") for value in marker)


@needs_root
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """The agent could have written it; root's is taken, whoever's the directory is."""
    path = mark(tmp_path / "home")
    os.chown(tmp_path / "home", 12345, 12345)
    assert read_marker(str(tmp_path / "home"))[0] == Marker()
    os.chown(path, 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to uid 12345"):
        read_marker(str(tmp_path / "home"))


@pytest.mark.parametrize("mode", [0o770, 0o777, 0o720])
def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    """Whoever may write there can put any file there."""
    mark(tmp_path / "home")
    (tmp_path / "home").chmod(mode)
    with pytest.raises(ConfigError, match="others may write to it"):
        read_marker(str(tmp_path / "home"))


@pytest.mark.parametrize("mode", [0o664, 0o606])
def test_a_file_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    """Whatever it says."""
    mark(tmp_path / "home", mode=mode)
    with pytest.raises(ConfigError, match="others may write to it"):
        read_marker(str(tmp_path / "home"))


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    """A link, a pipe that nobody writes to, a directory; the home itself may be reached by a link."""
    home = tmp_path / "home"
    path = mark(home)
    (tmp_path / "link").symlink_to(home)
    assert read_marker(str(tmp_path / "link"))[0] == Marker()
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is a symbolic link"):
        read_marker(str(home))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="is not a regular file"):
        read_marker(str(home))
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match="is not a regular file"):
        read_marker(str(home))


def test_a_huge_file_and_one_that_is_not_text_are_refused(tmp_path: Path) -> None:
    """Before they are read whole."""
    path = mark(tmp_path / "home", "#" * (MAX_MARKER_BYTES + 1))
    with pytest.raises(ConfigError, match="larger than"):
        read_marker(str(tmp_path / "home"))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_marker(str(tmp_path / "home"))


def test_no_file_is_no_error_but_a_home_that_is_closed_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can say that there is no marker in a directory that may not be looked into."""
    with pytest.raises(FileNotFoundError):
        read_marker(str(tmp_path))

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DeniedError, match="cannot be read: Permission denied"):
        read_marker(str(tmp_path))


@pytest.mark.parametrize("words", [("status",), ("chat", "-q", "x")])
def test_without_a_marker_one_open_fails_and_nothing_more_is_imported(tmp_path: Path, words: tuple[str, ...]) -> None:
    """By the fast path and by the parser's."""
    code = (
        "import sys, os; seen = []\n"
        "sys.addaudithook(lambda name, args: name == 'open' and seen.append(str(args[0])))\n"
        "import hermesctl.fast as fast; fast.run(['hermesctl', *sys.argv[1:]])\n"
        "print([name for name in seen if '.container-mode' in name].__len__())\n"
        "print([name for name in sys.modules if 'routing' in name or 'container' in name])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "HERMES_HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-2:] == ["1", "[]"]


def test_a_container_is_known_by_its_sign_and_its_namespaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine made from an image has the sign too, and the namespaces that a machine starts with."""
    root = f"{tmp_path}/"
    namespaces = tmp_path / "proc/self/ns"
    namespaces.mkdir(parents=True)
    for name in FIRST_NAMESPACES:
        (namespaces / name).symlink_to(f"/proc/self/ns/{name}")
        monkeypatch.setitem(FIRST_NAMESPACES, name, Path(f"/proc/self/ns/{name}").stat().st_ino)
    assert not is_in_container(root)
    (tmp_path / ".dockerenv").touch()
    assert not is_in_container(root)
    (namespaces / "pid").unlink()
    (namespaces / "pid").touch()
    assert is_in_container(root)
    (tmp_path / ".dockerenv").unlink()
    assert not is_in_container(root)


def test_inside_a_container_the_marker_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may lie in a home that both sides see, and say anything; HERMES_DEV=1 does the same outside."""
    mark(tmp_path / "home", "odd\n")
    monkeypatch.setenv("HERMES_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HERMES_DEV", raising=False)
    monkeypatch.setattr(place, "SIGNS", ())
    assert fast.is_routed()
    monkeypatch.setenv("HERMES_DEV", "1")
    assert not fast.is_routed()
    monkeypatch.setenv("HERMES_DEV", "0")
    assert fast.is_routed()
    monkeypatch.setattr(place, "SIGNS", (str(tmp_path / "home/.container-mode"),))
    monkeypatch.setitem(FIRST_NAMESPACES, "pid", 0)
    assert not fast.is_routed()
