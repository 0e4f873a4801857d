"""From a path to an open directory: nothing ever leads out of the workspace or to a secret."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hermesd.home import Home, Profile
from hermesd.tools.files.paths import MissingError, PathError, Reach
from hermesd.tools.files.protected import Protection
from tests.servers.descriptors import open_descriptors


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    """A workspace with a bit of everything, and secrets beside it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("SECRET")
    work = tmp_path / "work"
    (work / "sub" / "deep").mkdir(parents=True)
    (work / "file").write_text("file")
    (work / "sub" / "file").write_text("sub/file")
    (work / "in").symlink_to("sub/file")
    (work / "in-dir").symlink_to("sub")
    (work / "in-absolute").symlink_to(work / "sub")
    (work / "up").symlink_to("..")
    (work / "out").symlink_to(outside)
    (work / "out-file").symlink_to("../outside/secret")
    (work / "loop").symlink_to("loop")
    (work / "sub" / "back").symlink_to("../file")
    (work / "sub" / "sneaky").symlink_to("deep/../../../outside/secret")
    return work


def reach_of(work: Path, *read_roots: Path) -> Reach:
    profile = Profile("default", work.parent / "home")
    return Reach(work, read_roots, Protection.of(profile))


def contents(reach: Reach, path: str) -> str:
    with reach.locate(path) as located, os.fdopen(located.open_to_read(), "r") as file:
        return file.read()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("file", "file"),
        ("./file", "file"),
        ("sub//file", "sub/file"),
        ("sub/../file", "file"),
        ("sub/deep/../../file", "file"),
        ("in", "sub/file"),
        ("in-dir/file", "sub/file"),
        ("in-dir/../file", "file"),
        ("in-absolute/file", "sub/file"),
        ("sub/back", "file"),
    ],
)
def test_paths_inside_are_found(ground: Path, path: str, expected: str) -> None:
    """Also through links, as long as they stay inside; `..` goes back the way that was come."""
    assert contents(reach_of(ground), path) == expected
    assert contents(reach_of(ground), str(ground / path)) == expected


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../outside/secret",
        "sub/../../outside/secret",
        "/etc/passwd",
        "~/x",
        "~",
        "up/outside/secret",
        "out/secret",
        "out-file",
        "sub/sneaky",
        "loop",
        "a\0b",
        "\udfff\ud800",
    ],
)
def test_paths_outside_are_refused(ground: Path, path: str) -> None:
    """By name, by `..`, by link, and by characters that are none."""
    with pytest.raises(PathError) as caught:
        contents(reach_of(ground), path)
    assert "SECRET" not in caught.value.what


def test_a_neighbour_with_the_same_beginning_is_outside(ground: Path) -> None:
    """/work-2 is not below /work."""
    neighbour = ground.parent / "work-2"
    neighbour.mkdir()
    (neighbour / "file").write_text("no")
    with pytest.raises(PathError, match="outside the workspace"):
        contents(reach_of(ground), str(neighbour / "file"))


NAMES = ["file", "sub", "deep", "in", "in-dir", "in-absolute", "up", "out", "out-file", "secret", "outside", "loop"]
PARTS = st.sampled_from([*NAMES, "back", "sneaky", "work", "new", "", "..", ".", "~", "/"])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(max_size=30), st.lists(PARTS, max_size=9).map("/".join)), st.booleans())
@example("in-dir/../../outside/secret", False)
def test_no_path_whatever_leaves_the_workspace(ground: Path, path: str, write: bool) -> None:
    """Either it is refused, or what was found lies, as the kernel says, in the workspace."""
    try:
        with reach_of(ground).locate(path, write=write) as located:
            directory = Path(f"/proc/self/fd/{located.directory}").readlink()
            assert directory.is_relative_to(ground.resolve())
            assert "/" not in located.name
            assert located.name not in (".", "..")
            if located.name:
                assert not (directory / located.name).is_symlink()
    except PathError:
        return


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PARTS, max_size=7).map("/".join))
def test_resolution_agrees_with_the_kernel(ground: Path, path: str) -> None:
    """A path that is found is the file that the kernel would have opened."""
    try:
        with reach_of(ground).locate(path) as located:
            real = located.real
    except PathError:
        return
    if real.exists():
        assert not path.startswith("/") or path.startswith(str(ground)) or path.strip("/.") == ""
        assert Path(os.path.realpath(ground / path)) == real


def test_descriptors_are_closed(ground: Path) -> None:
    """However a resolution ends."""
    before = open_descriptors()
    for path in ("file", "sub/deep", "out/secret", "../x", "sub/missing/x", "loop"):
        try:
            contents(reach_of(ground), path)
        except PathError:
            continue
    assert open_descriptors() == before


def test_a_directory_swapped_for_a_link_is_not_followed(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The race between looking and opening ends in an error."""
    looked = os.stat

    def swap(path: object, *arguments: object, **named: object) -> os.stat_result:
        found = looked(path, *arguments, **named)  # type: ignore[arg-type]  # passed through
        if path == "deep":
            (ground / "sub" / "deep").rename(ground / "sub" / "was")
            (ground / "sub" / "deep").symlink_to(ground.parent / "outside")
        return found

    monkeypatch.setattr(os, "stat", swap)
    with pytest.raises(PathError, match="changed while"):
        contents(reach_of(ground), "sub/deep/secret")


def test_read_roots_can_be_read_and_not_written(ground: Path) -> None:
    """They are named by absolute paths, and links may not lead out of them either."""
    shared = ground.parent / "shared"
    shared.mkdir()
    (shared / "notes").write_text("notes")
    (shared / "out").symlink_to(ground.parent / "outside" / "secret")
    reach = reach_of(ground, shared)
    assert contents(reach, str(shared / "notes")) == "notes"
    with pytest.raises(PathError):
        contents(reach, str(shared / "out"))
    with pytest.raises(PathError, match="outside"), reach.locate(str(shared / "notes"), write=True):
        pass


@pytest.mark.parametrize("kind", ["fifo", "socket", "directory"])
def test_only_regular_files_are_opened(ground: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO would block for ever."""
    if kind == "fifo":
        os.mkfifo(ground / "odd")
    elif kind == "socket":
        import socket

        with socket.socket(socket.AF_UNIX) as bound:
            monkeypatch.chdir(ground)  # the address of a socket is short
            bound.bind("odd")
    else:
        (ground / "odd").mkdir()
    with pytest.raises(PathError):
        contents(reach_of(ground), "odd")


SECRETS = [".env", "auth.json", "config.yaml", "state.db", "mcp-tokens/github.json", "mcp-tokens"]
SECRETS += [".activation/applied.json", ".activation"]


@pytest.mark.parametrize("path", SECRETS)
@pytest.mark.parametrize("depth", [0, 1])
def test_secrets_of_the_home_are_not_read_even_inside_the_workspace(home: Home, path: str, depth: int) -> None:
    """A workspace may be the home itself, or hold it."""
    work = home.root if depth == 0 else home.root.parent
    reach = Reach(work, (), Protection.of(home.default_profile))
    (home.root / "alias").symlink_to(path)
    for spelling in (path, f"workspace/../{path}", "alias"):
        with pytest.raises(PathError, match="secrets"), reach.locate(spelling if depth == 0 else f"home/{spelling}"):
            pass


def test_a_hard_link_to_a_secret_is_not_read(home: Home) -> None:
    """The same file by another name is the same secret."""
    os.link(home.root / ".env", home.default_profile.workspace / "innocent")
    reach = Reach(home.default_profile.workspace, (), Protection.of(home.default_profile))
    with pytest.raises(PathError, match="secret"):
        contents(reach, "innocent")
    with pytest.raises(PathError, match="secret"):
        reach.check("innocent")


def test_profiles_do_not_read_each_other(home: Home) -> None:
    """Neither one profile another, nor the default profile the others, nor they the default's secrets."""
    for name in ("one", "two"):
        (home.root / "profiles" / name / "workspace").mkdir(parents=True)
        (home.root / "profiles" / name / "workspace" / "mine").write_text(name)
        (home.root / "profiles" / name / ".env").write_text("SECRET")
    one = Reach(home.root, (), Protection.of(Profile("one", home.root / "profiles" / "one")))
    assert contents(one, "profiles/one/workspace/mine") == "one"
    for path in ("profiles/two/workspace/mine", "profiles/one/.env", ".env"):
        with pytest.raises(PathError, match="secrets"):
            contents(one, path)
    default = Reach(home.root, (), Protection.of(home.default_profile))
    with pytest.raises(PathError, match="secrets"):
        contents(default, "profiles/one/workspace/mine")


@pytest.mark.parametrize(
    "path",
    [".config.lock", "SOUL.md", "plugins/x/plugin.yaml", "skills/a/b/SKILL.md", "scripts/x.sh", "cron/jobs.json"],
)
def test_what_steers_the_daemon_is_not_written(home: Home, path: str) -> None:
    """A model does not rewrite its own identity, plugins and schedules with a file tool."""
    target = home.root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("mine")
    reach = Reach(home.root, (), Protection.of(home.default_profile))
    assert contents(reach, path) == "mine"
    with pytest.raises(PathError, match="not for file tools"), reach.locate(path, write=True):
        pass


@pytest.mark.parametrize("path", [".git/config", ".git/hooks/pre-commit", "sub/.git", "sub/.GIT/config"])
def test_git_directories_are_not_written(ground: Path, path: str) -> None:
    """A repository's config names programs that git runs."""
    (ground / ".git" / "hooks").mkdir(parents=True)
    (ground / "sub" / ".GIT").mkdir()
    with pytest.raises(PathError, match="git"), reach_of(ground).locate(path, write=True):
        pass


def test_a_missing_workspace_is_made(tmp_path: Path) -> None:
    """The first call finds a place to work in."""
    reach = reach_of(tmp_path / "new" / "workspace")
    with pytest.raises(MissingError, match="does not exist"):
        contents(reach, "file")
    assert (tmp_path / "new" / "workspace").is_dir()
