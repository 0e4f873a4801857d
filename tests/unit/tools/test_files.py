"""read_file, write_file, patch_file, list_files and search_files on a real disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermesd.tools.base import ToolContext, ToolResult
from hermesd.tools.files.patch import patched
from hermesd.tools.files.paths import PathError
from hermesd.tools.files.read import MAX_RESULT_BYTES
from hermesd.tools.registry import ToolRegistry

REGISTRY = ToolRegistry(["files"])


async def call(context: ToolContext, tool: str, **arguments: object) -> ToolResult:
    found = REGISTRY.get(tool)
    assert found
    assert REGISTRY.complaint(found, arguments) is None
    return await found.run(arguments, context)


async def good(context: ToolContext, tool: str, **arguments: object) -> str:
    result = await call(context, tool, **arguments)
    assert not result.is_error, result.text
    return result.text


async def bad(context: ToolContext, tool: str, **arguments: object) -> str:
    result = await call(context, tool, **arguments)
    assert result.is_error, result.text
    return result.text


# -- read_file -------------------------------------------------------------------------------------------------------


async def test_a_file_is_read_as_it_stands(context: ToolContext) -> None:
    """No line numbers, and the text is from outside."""
    (context.workspace / "a").write_text("één\n\ttwo\n")
    assert await call(context, "read_file", path="a") == ToolResult("één\n\ttwo", untrusted=True)


async def test_a_piece_says_where_to_go_on(context: ToolContext) -> None:
    """offset and limit count lines, from 1."""
    (context.workspace / "a").write_text("".join(f"{n}\n" for n in range(1, 8)))
    assert await good(context, "read_file", path="a", offset=3, limit=2) == "3\n4\n[there is more; go on with offset=5]"
    assert await good(context, "read_file", path="a", offset=6, limit=2) == "6\n7"
    assert "has only 7 lines" in await bad(context, "read_file", path="a", offset=99)


async def test_a_large_file_comes_in_bounded_pieces(context: ToolContext) -> None:
    """200 kB at most, at a line's end, and the pieces join to the whole."""
    lines = [f"{n} {'x' * 90}" for n in range(5000)]
    (context.workspace / "a").write_text("\n".join(lines) + "\n")
    seen: list[str] = []
    while True:
        text = await good(context, "read_file", path="a", offset=len(seen) + 1, limit=100_000)
        assert len(text) <= MAX_RESULT_BYTES + 100
        *body, last = text.split("\n")
        if not last.startswith("["):
            seen += [*body, last]
            break
        seen += body
        assert last.endswith(f"offset={len(seen) + 1}]")
    assert seen == lines


async def test_one_endless_line_is_cut(context: ToolContext) -> None:
    """A minified file does not fill memory."""
    (context.workspace / "a").write_text("x" * 3 * MAX_RESULT_BYTES)
    text = await good(context, "read_file", path="a")
    assert text.endswith("is longer than 200000 bytes and is cut]")
    assert len(text) < MAX_RESULT_BYTES + 200


async def test_binary_files_are_named_and_not_shown(context: ToolContext) -> None:
    """A NUL byte near the beginning marks one."""
    (context.workspace / "a").write_bytes(b"\x7fELF\0\0")
    assert await bad(context, "read_file", path="a") == "'a' is a binary file of 6 bytes and is not shown"


async def test_text_in_another_encoding_is_shown_as_well_as_can_be(context: ToolContext) -> None:
    """Bytes that are not UTF-8 become replacement characters; a byte order mark goes."""
    (context.workspace / "a").write_bytes(b"\xef\xbb\xbfcaf\xe9")
    assert await good(context, "read_file", path="a") == "caf\ufffd"


async def test_missing_files_and_directories_are_said(context: ToolContext) -> None:
    """The sentence tells the model what it did wrong."""
    assert await bad(context, "read_file", path="none/x") == "'none/x' does not exist"
    assert "is a directory" in await bad(context, "read_file", path=".")


# -- write_file ------------------------------------------------------------------------------------------------------


async def test_writing_creates_directories_and_replaces(context: ToolContext) -> None:
    """Twice is as once."""
    for verb in ("created", "replaced"):
        assert await good(context, "write_file", path="a/b/c.txt", content="hé") == f"{verb} a/b/c.txt (3 bytes)"
    assert (context.workspace / "a/b/c.txt").read_text() == "hé"
    assert [item.name for item in (context.workspace / "a/b").iterdir()] == ["c.txt"]


async def test_the_mode_of_an_existing_file_is_kept(context: ToolContext) -> None:
    """A script stays a script, a private file private."""
    for mode in (0o755, 0o600):
        (context.workspace / "a").write_text("old")
        (context.workspace / "a").chmod(mode)
        await good(context, "write_file", path="a", content="new")
        assert stat.S_IMODE((context.workspace / "a").stat().st_mode) == mode


async def test_a_link_inside_is_written_through(context: ToolContext) -> None:
    """The link stays a link."""
    (context.workspace / "real").write_text("old")
    (context.workspace / "link").symlink_to("real")
    await good(context, "write_file", path="link", content="new")
    assert (context.workspace / "link").is_symlink()
    assert (context.workspace / "real").read_text() == "new"


async def test_a_dangling_link_out_of_the_workspace_writes_nothing(context: ToolContext, tmp_path: Path) -> None:
    """Neither the link nor what it names."""
    (context.workspace / "link").symlink_to(tmp_path / "planted")
    assert "leaves the workspace" in await bad(context, "write_file", path="link", content="x")
    assert not (tmp_path / "planted").exists()


async def test_a_failed_write_leaves_the_old_contents(context: ToolContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Injected: the rename fails with EIO; no temporary file stays."""
    (context.workspace / "a").write_text("old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "rename", fail)
    assert await bad(context, "write_file", path="a", content="new") == "the file system refused: Input/output error"
    assert (context.workspace / "a").read_text() == "old"
    assert [item.name for item in context.workspace.iterdir()] == ["a"]


@pytest.mark.parametrize("content", ["\ud800", "ok\udfff"])
async def test_text_without_bytes_is_refused(context: ToolContext, content: str) -> None:
    """JSON can spell lone surrogates; files cannot hold them."""
    assert "cannot be written as UTF-8" in await bad(context, "write_file", path="a", content=content)


async def test_outside_nothing_is_written(context: ToolContext, tmp_path: Path) -> None:
    """Not even a directory is made on the way."""
    for path in ("../evil/x", str(tmp_path / "evil" / "x"), "a/../../evil/x"):
        await bad(context, "write_file", path=path, content="x")
    assert not (tmp_path / "evil").exists()
    assert not (context.workspace.parent / "evil").exists()


# -- patch_file ------------------------------------------------------------------------------------------------------


async def test_a_piece_is_replaced(context: ToolContext) -> None:
    """Exactly once, and everything else, bytes that are not UTF-8 included, stays."""
    (context.workspace / "a").write_bytes(b"caf\xe9\nold\n")
    assert await good(context, "patch_file", path="a", old="old", new="new") == "replaced 1 place in a"
    assert (context.workspace / "a").read_bytes() == b"caf\xe9\nnew\n"
    assert "reads so already" in await good(context, "patch_file", path="a", old="old", new="new")


async def test_an_insertion_is_made_once(context: ToolContext) -> None:
    """`new` holding `old` is the usual way to insert; a repeat does not insert twice."""
    (context.workspace / "a").write_text("import a\n")
    for _ in range(3):
        await good(context, "patch_file", path="a", old="import a\n", new="import a\nimport b\n")
    assert (context.workspace / "a").read_text() == "import a\nimport b\n"


async def test_an_ambiguous_piece_is_refused(context: ToolContext) -> None:
    """Unless all are meant."""
    (context.workspace / "a").write_text("x x x")
    assert "occurs 3 times" in await bad(context, "patch_file", path="a", old="x", new="y")
    assert await good(context, "patch_file", path="a", old="x", new="y", all=True) == "replaced 3 places in a"
    assert (context.workspace / "a").read_text() == "y y y"


async def test_windows_line_ends_are_met_halfway(context: ToolContext) -> None:
    """The model writes \\n; the file keeps \\r\\n throughout."""
    (context.workspace / "a").write_bytes(b"one\r\ntwo\r\n")
    await good(context, "patch_file", path="a", old="one\ntwo\n", new="one\nhalf\ntwo\n")
    assert (context.workspace / "a").read_bytes() == b"one\r\nhalf\r\ntwo\r\n"


async def test_a_patch_that_would_match_again_is_refused(context: ToolContext) -> None:
    """It could not be repeated safely after a crash."""
    (context.workspace / "a").write_text("aabb")
    assert "would occur again" in await bad(context, "patch_file", path="a", old="ab", new="")
    assert (context.workspace / "a").read_text() == "aabb"


@settings(max_examples=500)
@given(st.text("ab", max_size=12), st.text("ab", min_size=1, max_size=4), st.text("ab", max_size=5), st.booleans())
def test_patching_twice_is_patching_once(text: str, old: str, new: str, every: bool) -> None:
    """What makes patch_file idempotent: a second run changes nothing, whatever the texts."""
    try:
        once, count = patched(text.encode(), old.encode(), new.encode(), every=every)
    except PathError:
        return
    assert (count == 0) == (once == text.encode())
    try:
        twice, again = patched(once, old.encode(), new.encode(), every=every)
    except PathError:
        return
    assert (twice, again) == (once, 0)


# -- list_files and search_files -------------------------------------------------------------------------------------


@pytest.fixture
def project(context: ToolContext) -> Path:
    work = context.workspace
    (work / "src/deep").mkdir(parents=True)
    (work / ".git").mkdir()
    (work / "src/a.py").write_text("import os\nprint('Hello')\n")
    (work / "src/deep/b.py").write_text("hello = 1\n")
    (work / "readme.md").write_text("hello (world)\n")
    (work / ".git/config").write_text("hello")
    (work / "binary").write_bytes(b"hello\0")
    (work / "out").symlink_to("/etc")
    return work


async def test_a_directory_is_listed(context: ToolContext, project: Path) -> None:
    """Sorted, with sizes; links are named and not followed."""
    assert (await good(context, "list_files")).splitlines() == [
        ".git/",
        "binary  6",
        "out  [link]",
        "readme.md  14",
        "src/",
    ]


async def test_a_tree_is_listed_by_pattern(context: ToolContext, project: Path) -> None:
    """A pattern without a slash is for names, with one for paths."""
    assert await good(context, "list_files", recursive=True, glob="*.py") == "src/a.py  25\nsrc/deep/b.py  10"
    assert await good(context, "list_files", recursive=True, glob="src/**/*.py") == "src/a.py  25\nsrc/deep/b.py  10"
    assert await good(context, "list_files", path="src", glob="*.md") == "[nothing found]"


async def test_a_long_listing_is_cut_and_says_so(context: ToolContext) -> None:
    """1,000 lines and one more."""
    for number in range(1100):
        (context.workspace / f"{number:04}").touch()
    lines = (await good(context, "list_files")).splitlines()
    assert len(lines) == 1001
    assert lines[-1] == "[the list is not complete: only the first 1000 are shown]"


async def test_odd_file_names_stay_on_one_line(context: ToolContext) -> None:
    """A name cannot forge lines or escape sequences."""
    (context.workspace / "a\nb\x1b[2J").touch()
    os.close(os.open(os.fsencode(context.workspace) + b"/\xff", os.O_CREAT))
    assert await good(context, "list_files") == "a\\nb\\x1b[2J  0\n\\xff  0"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"pattern": "hello"}, ["readme.md:1: hello (world)", "src/deep/b.py:1: hello = 1"]),
        (
            {"pattern": "HELLO", "ignore_case": True, "glob": "*.py"},
            ["src/a.py:2: print('Hello')", "src/deep/b.py:1: hello = 1"],
        ),
        ({"pattern": "(world)"}, ["readme.md:1: hello (world)"]),
        ({"pattern": r"^h\w+ =", "regex": True}, ["src/deep/b.py:1: hello = 1"]),
        (
            {"pattern": r"HEL+O", "regex": True, "ignore_case": True, "path": "src"},
            ["a.py:2: print('Hello')", "deep/b.py:1: hello = 1"],
        ),
        ({"pattern": "hello", "path": "readme.md"}, ["readme.md:1: hello (world)"]),
        ({"pattern": "absent"}, ["[nothing found]"]),
    ],
)
async def test_lines_are_found(
    context: ToolContext, project: Path, arguments: dict[str, object], expected: list[str]
) -> None:
    """As path:line: text; not in .git, not in binary files, not through links."""
    assert (await good(context, "search_files", **arguments)).splitlines() == expected


async def test_many_lines_are_cut_and_said_so(context: ToolContext) -> None:
    """200 lines, of 300 characters each."""
    (context.workspace / "a").write_text(("x" * 1000 + "\n") * 300)
    lines = (await good(context, "search_files", pattern="x")).splitlines()
    assert len(lines) == 201
    assert len(lines[0]) < 310
    assert lines[-1] == "[the search is not complete: only the first 200 are shown]"


async def test_a_wrong_expression_is_said(context: ToolContext, project: Path) -> None:
    """With what is wrong about it."""
    assert "not a regular expression: " in await bad(context, "search_files", pattern="(", regex=True)


async def test_an_expression_that_never_ends_is_ended(context: ToolContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catastrophic backtracking happens in a process of its own, and the daemon's loop goes on meanwhile."""
    import trio

    from hermesd.tools.files import search

    monkeypatch.setattr(search, "REGEX_TIMEOUT_S", 0.5)
    (context.workspace / "a").write_text("a" * 40 + "b\n")
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await trio.sleep(0.01)
            ticks += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        text = await bad(context, "search_files", pattern="(a+)+$", regex=True)
        nursery.cancel_scope.cancel()
    assert text.startswith("the search took longer than 0.5 s")
    assert ticks >= 5, "of fifty"


async def test_secrets_are_neither_listed_nor_found(make_context, home) -> None:  # type: ignore[no-untyped-def]  # fixtures
    """A workspace that is the home shows what is the model's, and nothing of .env, tokens or other profiles."""
    (home.root / "notes.md").write_text("SECRET is a word\n")
    os.link(home.root / ".env", home.root / "innocent")
    context = make_context(workspace=home.root)
    listed = await good(context, "list_files", recursive=True)
    assert ".env" not in listed
    assert "mcp-tokens" not in listed
    for regex in (False, True):
        assert await good(context, "search_files", pattern="SECRET", regex=regex) == "notes.md:1: SECRET is a word"


@pytest.mark.parametrize("tool", ["read_file", "list_files", "search_files", "write_file", "patch_file"])
def test_effects(tool: str) -> None:
    """Reading reads; writing can be repeated."""
    found = REGISTRY.get(tool)
    assert found
    assert found.effect({}) == ("idempotent" if tool in ("write_file", "patch_file") else "read_only")
