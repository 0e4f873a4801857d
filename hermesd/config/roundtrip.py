"""YAML that is changed and written again with its comments and its order (ruamel.yaml, imported when needed)."""

from __future__ import annotations

import io
import re
from typing import Any

from hermesd.errors import ConfigError

# A line that ends in a colon, and below it, further right, an item of a list.
_INDENTED_LIST = re.compile(rb"^([ ]*)[^\s#-][^\n]*:[ \t]*\n(?:[ \t]*#[^\n]*\n)*\1[ ]+-[ \t]", re.MULTILINE)
_AFTER, _AFTER_ITEM = 2, 0  # where ruamel.yaml keeps the comment behind a key's value, and behind a list's item

Document = Any
"""A CommentedMap, or what stands below one; ruamel.yaml has no types."""


def load(text: str) -> Document:
    """Parse; None when there is nothing but comments. Raises ConfigError."""
    from ruamel.yaml.error import YAMLError

    try:
        return _yaml().load(text)
    except YAMLError as error:
        what = getattr(error, "problem", None) or "cannot be read"
        raise ConfigError(f"is not YAML: {what}", next_step="quote it, or use `hermesctl config edit`") from None


def dump(document: Document, like: bytes) -> bytes:
    """Write; lists stand further right than their key if they did in ``like``."""
    yaml = _yaml()
    if _INDENTED_LIST.search(like):
        yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.BytesIO()
    yaml.dump(document, stream)
    return stream.getvalue()


def from_comments(data: bytes) -> Document:
    """A mapping that begins with the comments of a file that holds nothing else."""
    from ruamel.yaml.comments import CommentedMap

    document = CommentedMap()
    lines = [line.lstrip("#").removeprefix(" ") for line in data.decode("utf-8-sig").splitlines()]
    if lines:
        document.yaml_set_start_comment("\n".join(lines))
    return document


def quoted(text: str) -> Any:  # noqa: ANN401 - ruamel.yaml has no types
    """Text that is written in double quotes."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    return DoubleQuotedScalarString(text)


def widen(holder: Document, name: str, key: str) -> Document:
    """Make the word under ``name`` the value of ``key`` in a mapping there, with the comment behind it."""
    from ruamel.yaml.comments import CommentedMap

    below = CommentedMap({key: holder[name]})
    comment = holder.ca.items.pop(name, None)
    if comment is not None:
        below.ca.items[key] = comment
    holder[name] = below
    return below


def add(holder: Document, name: str, value: Any) -> None:  # noqa: ANN401 - a YAML value
    """Append a key. Comments that stood between what was last and the next section stay in front of that section."""
    following = _take_following_comment(holder)
    holder[name] = _commented(value)
    if following is not None:
        last, key, slot = _last(holder)
        entry = [None, None, None, None]
        entry[slot] = following
        last.ca.items[key] = entry


def _commented(value: Any) -> Any:  # noqa: ANN401 - a YAML value
    """Plain maps and lists as those that can carry comments."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if type(value) is dict:
        return CommentedMap({name: _commented(below) for name, below in value.items()})
    return CommentedSeq(_commented(below) for below in value) if type(value) is list else value


def _last(node: Document) -> tuple[Document, str | int, int]:
    """The deepest last value of a node that is not empty: its holder, its key, and where its comment is kept."""
    while True:
        is_list = isinstance(node, list)
        key = len(node) - 1 if is_list else list(node)[-1]
        below = node[key]
        if not isinstance(below, dict | list) or not below:
            return node, key, _AFTER_ITEM if is_list else _AFTER
        node = below


def _take_following_comment(node: Document) -> Any:  # noqa: ANN401 - a comment token
    """The comment lines behind a node's deepest last value, without the one on its own line; None without any."""
    from ruamel.yaml.tokens import CommentToken

    if not node:
        return None
    holder, key, slot = _last(node)
    entry = holder.ca.items.get(key)
    token = entry[slot] if entry else None
    if not isinstance(token, CommentToken):
        return None
    same_line, _, following = token.value.partition("\n")
    if not following:
        return None
    if same_line:
        token.value = f"{same_line}\n"
    else:
        entry[slot] = None
    return CommentToken(f"\n{following}", token.start_mark)


def _yaml() -> Any:  # noqa: ANN401 - ruamel.yaml has no types
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.allow_unicode = True
    return yaml
