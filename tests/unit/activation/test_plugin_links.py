"""Declared directory plugins become links; the user's own plugins stay as they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermesd.activation.plugins import LinkChange, declared_plugins, link_plugins, plan_links
from hermesd.errors import ConfigError
from hermesd.home import Profile
from hermesd.plugins.discovery import discover

WHERE = "manifest.json"


def source(root: Path, name: str, *, directory: str = "") -> Path:
    """A plugin as a package manager has it."""
    path = root / "store" / (directory or name)
    path.mkdir(parents=True, mode=0o755)
    (path / "plugin.yaml").write_text(f"name: {name}\n")
    (path / "__init__.py").write_text("def register(ctx): pass\n")
    return path


class Linked:
    """A home and what is done to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home"
        self.home.mkdir(mode=0o700)
        self.fd = os.open(self.home, os.O_RDONLY)

    @property
    def plugins(self) -> Path:
        return self.home / "plugins"

    def apply(self, *entries: object) -> list[LinkChange]:
        return link_plugins(self.fd, declared_plugins(entries, WHERE), str(self.home))

    def names(self) -> set[str]:
        return {path.name for path in self.plugins.iterdir() if path.name != ".managed.json"}


@pytest.fixture
def linked(tmp_path: Path) -> Iterator[Linked]:
    found = Linked(tmp_path)
    yield found
    os.close(found.fd)


def test_declared_plugins_are_linked_found_and_removed_again(linked: Linked) -> None:
    """By the name in plugin.yaml, whatever the directory is called; a second run writes nothing."""
    one = source(linked.root, "one", directory="hash-one-1.0")
    two = source(linked.root, "two")
    assert linked.apply(str(one), {"path": str(two), "name": "deux"}) == [
        LinkChange("link", "one", str(one)),
        LinkChange("link", "deux", str(two)),
    ]
    assert set(discover(Profile("default", linked.home), linked.home)) >= {"one", "two"}
    before = {path: path.lstat().st_mtime_ns for path in [linked.plugins, *linked.plugins.iterdir()]}
    assert linked.apply(str(one), {"path": str(two), "name": "deux"}) == []
    assert {path: path.lstat().st_mtime_ns for path in [linked.plugins, *linked.plugins.iterdir()]} == before
    assert linked.apply(str(one)) == [LinkChange("remove", "deux")]
    assert linked.names() == {"one"}


def test_a_new_version_takes_the_place_of_the_old_link(linked: Linked) -> None:
    """The link is replaced in one step."""
    old, new = source(linked.root, "one", directory="one-1"), source(linked.root, "one", directory="one-2")
    linked.apply(str(old))
    assert linked.apply(str(new)) == [LinkChange("link", "one", str(new))]
    assert (linked.plugins / "one").readlink() == new


@pytest.mark.parametrize("kind", ["directory", "link", "file"])
def test_a_plugin_of_the_users_own_is_never_touched(linked: Linked, kind: str) -> None:
    """A clash of names is refused before anything is changed, and says what to do."""
    own, other = source(linked.root, "one", directory="own"), source(linked.root, "two")
    linked.plugins.mkdir(mode=0o700)
    mine = linked.plugins / "one"
    if kind == "directory":
        mine.mkdir()
    elif kind == "link":
        mine.symlink_to(own)
    else:
        mine.write_text("mine")
    declared = source(linked.root, "one", directory="declared")
    with pytest.raises(ConfigError, match="already, which is not declared"):
        linked.apply(str(other), str(declared))
    assert linked.names() == {"one"}
    assert linked.apply(str(other)) == [LinkChange("link", "two", str(other))]
    assert linked.apply() == [LinkChange("remove", "two")]
    assert linked.names() == {"one"}


def test_a_link_that_its_user_has_changed_is_left_when_it_is_no_longer_declared(linked: Linked) -> None:
    """What is not as we left it is not ours any more."""
    one, own = source(linked.root, "one"), source(linked.root, "one", directory="own")
    linked.apply(str(one))
    (linked.plugins / "one").unlink()
    (linked.plugins / "one").symlink_to(own)
    with pytest.raises(ConfigError, match="not declared"):
        linked.apply(str(one))
    assert linked.apply() == []
    assert (linked.plugins / "one").readlink() == own


def test_a_run_that_was_killed_between_ledger_and_links_is_taken_up(linked: Linked) -> None:
    """The ledger names old and new target first, so the next run knows either as ours."""
    old, new = source(linked.root, "one", directory="one-1"), source(linked.root, "one", directory="one-2")
    linked.apply(str(old))
    ledger = f'{{"schema":1,"links":{{"one":["{old}","{new}"]}}}}'
    (linked.plugins / ".managed.json").write_text(ledger)
    (linked.plugins / ".one.0123456789ab").symlink_to(new)
    linked.apply(str(new))
    assert linked.names() == {"one"}
    (linked.plugins / ".managed.json").write_text(ledger)
    assert linked.apply() == [LinkChange("remove", "one")]


def test_a_link_instead_of_the_directory_of_plugins_is_refused(linked: Linked, tmp_path: Path) -> None:
    """Its target is untouched."""
    target = tmp_path / "target"
    target.mkdir()
    linked.plugins.symlink_to(target)
    with pytest.raises(ConfigError, match="symbolic link"):
        linked.apply(str(source(linked.root, "one")))
    assert list(target.iterdir()) == []


def test_a_link_instead_of_the_ledger_is_refused_and_not_followed(linked: Linked, tmp_path: Path) -> None:
    """Nobody else's file is read or written."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    linked.plugins.mkdir(mode=0o700)
    (linked.plugins / ".managed.json").symlink_to(secret)
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        linked.apply(str(source(linked.root, "one")))
    assert caught.value.where.endswith(".managed.json")
    assert secret.read_text() == "secret"


def test_a_plan_writes_nothing(linked: Linked) -> None:
    """Also where there is no home yet."""
    declared = declared_plugins([str(source(linked.root, "one"))], WHERE)
    assert plan_links(linked.fd, declared, str(linked.home)) == plan_links(None, declared, "there")
    assert not linked.plugins.exists()


@pytest.mark.parametrize("entry", ["relative", "/a/../b", 7, {"path": 7}, {"path": "/a", "nane": "b"}, "/nowhere"])
def test_an_entry_that_is_no_plugin_is_refused(entry: object) -> None:
    """With the manifest's name in the error."""
    with pytest.raises(ConfigError) as caught:
        declared_plugins([entry], WHERE)
    assert caught.value.where == WHERE


def test_two_plugins_of_one_name_are_refused(linked: Linked) -> None:
    """Neither of them wins."""
    one, other = source(linked.root, "one"), source(linked.root, "one", directory="other")
    with pytest.raises(ConfigError, match="two are called 'one'"):
        declared_plugins([str(one), str(other)], WHERE)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sets(st.sampled_from("abcd")), max_size=5), st.sets(st.sampled_from("abcd")))
def test_after_any_runs_the_links_are_what_was_declared_last(
    tmp_path_factory: pytest.TempPathFactory, runs: list[set[str]], own: set[str]
) -> None:
    """Beside what the user had before, and a further run changes nothing."""
    linked = Linked(tmp_path_factory.mktemp("linked"))
    try:
        linked.plugins.mkdir(mode=0o700)
        for name in own:
            (linked.plugins / f"own-{name}").mkdir()
        sources = {name: str(source(linked.root, name)) for name in "abcd"}
        for declared in runs:
            linked.apply(*(sources[name] for name in sorted(declared)))
            assert linked.names() == declared | {f"own-{name}" for name in own}
            assert linked.apply(*(sources[name] for name in sorted(declared))) == []
    finally:
        os.close(linked.fd)
