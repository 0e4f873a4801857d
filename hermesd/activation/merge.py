"""The three-way merge of config.yaml as plain data: what is there, what was applied last, what is declared now.

    declared now                                    it is so
    declared last, not now, and still as applied    it goes, and a section that is empty then with it
    declared last, not now, and changed             it is the user's from now on
    never declared                                  it is the user's

Maps are merged key by key, whatever else is replaced as a whole: lists too. A key that cannot stand beside a declared
one gives way to it (``url`` beside ``command`` of an MCP server, a platform's key under ``extra`` and beside it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Tree = dict[str, Any]  # plain data: maps, lists, texts, numbers, truth values
Path = tuple[str, ...]


class Edit(NamedTuple):
    """``after`` is to be at a path where ``before`` is; None stands for nothing in both."""

    path: Path
    before: Any  # plain data
    after: Any


def merge(live: Tree, applied: Sequence[Tree], declared: Tree) -> list[Edit]:
    """What is to be changed in ``live``. ``applied``: the last one, and where runs were cut short each since then."""
    live = normal(live)
    applied = [normal(each) for each in applied]
    declared = normal(declared)
    edits = [Edit(path, _at(live, path), None) for path in _rivals(live, declared)]
    pruned = result(live, edits)
    return [*edits, *_merged((), pruned, applied, declared)]


def result(live: Tree, edits: Sequence[Edit]) -> Tree:
    """``live`` after the edits, which are the ones that ``merge`` has made of it."""
    found = normal(live)
    for edit in edits:
        place = found
        for name in edit.path[:-1]:
            place = place[name]
        if edit.after is None:
            del place[edit.path[-1]]
        else:
            place[edit.path[-1]] = _copy(edit.after)
    return found


def normal(tree: Tree) -> Tree:
    """With ``model: NAME`` as the section that it is short for, and without declared nothings (null)."""
    tree = {name: _copy(value) for name, value in tree.items()}
    if isinstance(tree.get("model"), str):
        tree["model"] = {"default": tree["model"]}
    return tree


def without_nulls(value: Any) -> Any:  # noqa: ANN401 - plain data
    """A null in a manifest declares nothing."""
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return [without_nulls(each) for each in value if each is not None] if isinstance(value, list) else value


def same(one: Any, other: Any) -> bool:  # noqa: ANN401 - plain data
    """Whether two values are alike; a truth value is no number, though Python says so."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(isinstance(one, bool) == isinstance(other, bool) and one == other)


def _merged(path: Path, live: Tree, applied: Sequence[Tree], declared: Tree) -> Iterator[Edit]:
    for name, want in declared.items():
        at = (*path, name)
        have = live.get(name)
        if isinstance(want, dict) and isinstance(have, dict):
            yield from _merged(at, have, _below(applied, name), want)
        elif not same(have, want):
            yield Edit(at, have, want)
    for name in dict.fromkeys(key for tree in applied for key in tree if key not in declared):
        if name in live:
            yield from _dropped((*path, name), live[name], [tree[name] for tree in applied if name in tree])


def _dropped(path: Path, have: Any, applied: Sequence[Any]) -> list[Edit]:  # noqa: ANN401 - plain data
    """Take out what was applied and is as it was then."""
    if any(same(have, each) for each in applied):
        return [Edit(path, have, None)]
    maps = [each for each in applied if isinstance(each, dict)]
    if not isinstance(have, dict) or not maps:
        return []
    edits = [
        edit
        for name in dict.fromkeys(key for tree in maps for key in tree)
        if name in have
        for edit in _dropped((*path, name), have[name], [tree[name] for tree in maps if name in tree])
    ]
    gone = {edit.path[-1] for edit in edits if len(edit.path) == len(path) + 1}
    return [Edit(path, have, None)] if gone and gone == have.keys() else edits


def _below(trees: Sequence[Tree], name: str) -> list[Tree]:
    return [tree[name] for tree in trees if isinstance(tree.get(name), dict)]


def _rivals(live: Tree, declared: Tree) -> list[Path]:
    """What is there and cannot stay beside what is declared."""
    found: list[Path] = []
    for name, server in _section(declared, "mcp_servers").items():
        there = _section(live, "mcp_servers").get(name)
        if isinstance(server, dict) and isinstance(there, dict):
            gone = {"command": ("url",), "url": ("command", "args")}
            pairs = [key for kind, others in gone.items() if kind in server for key in others]
            found += [("mcp_servers", name, key) for key in pairs if key in there and key not in server]
    for name, platform in _section(declared, "platforms").items():
        there = _section(_section(live, "platforms"), name)
        extra = _section(there, "extra")
        if isinstance(platform, dict) and extra:
            found += [("platforms", name, "extra", key) for key in platform if key in extra]
    return found


def _section(tree: Tree, name: str) -> Tree:
    value = tree.get(name)
    return value if isinstance(value, dict) else {}


def _at(tree: Any, path: Path) -> Any:  # noqa: ANN401 - plain data
    for name in path:
        tree = tree[name]
    return tree


def _copy(value: Any) -> Any:  # noqa: ANN401 - plain data
    if isinstance(value, dict):
        return {name: _copy(each) for name, each in value.items()}
    return [_copy(each) for each in value] if isinstance(value, list) else value
