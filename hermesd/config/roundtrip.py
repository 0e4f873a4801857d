"""YAML that is changed and written again with its comments and its order (ruamel.yaml, imported when needed)."""

from __future__ import annotations

import io
import re
from typing import Any

from hermesd.errors import ConfigError

# A line that ends in a colon, and below it, further right, an item of a list.
_INDENTED_LIST = re.compile(rb"^([ ]*)[^\s#-][^\n]*:[ \t]*\n(?:[ \t]*#[^\n]*\n)*\1[ ]+-[ \t]", re.MULTILINE)
_AMBIGUOUS = re.compile(r"(?i:y|n|yes|no|on|off|true|false|null|~|)|[-+.0-9].*", re.ASCII)  # no text in YAML 1.1
_AFTER, _AFTER_ITEM = 2, 0  # where ruamel.yaml keeps the comment behind a key's value, and behind a list's item

Document = Any
"""A CommentedMap, or what stands below one; ruamel.yaml has no types."""


def load(text: str) -> Document:
    """Parse; None when there is nothing but comments. Raises ConfigError."""
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import YAMLError

    try:
        return _yaml().load(text)
    except DuplicateKeyError:  # it would tell both values
        raise ConfigError("is not YAML: a key is set twice", next_step="keep one of them") from None
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


def comments_of(data: bytes) -> bytes:
    """What is left of a file when its last key is taken out: the comments that are about no section."""
    return b"".join(line for line in data.splitlines(keepends=True) if line.startswith(b"#"))


def quoted(text: str) -> Any:  # noqa: ANN401 - ruamel.yaml has no types
    """Text that is written in double quotes."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    return DoubleQuotedScalarString(text)


def unambiguous(value: Any) -> Any:  # noqa: ANN401 - plain data
    """With quotes around every text that could be taken for something else."""
    if isinstance(value, dict):
        return {name: unambiguous(below) for name, below in value.items()}
    if isinstance(value, list):
        return [unambiguous(below) for below in value]
    is_clear = not isinstance(value, str) or (value.isprintable() and not _AMBIGUOUS.fullmatch(value))
    return value if is_clear else quoted(value)


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


def replace(holder: Document, name: Any, value: Any) -> None:  # noqa: ANN401 - YAML values
    """Set a key that is there. Comments between its value and what follows stay behind the new one."""
    following = _take_behind(holder, name)
    holder[name] = _commented(value)
    _put_behind(holder, name, following)


def remove(holder: Document, name: Any) -> None:  # noqa: ANN401 - a YAML key
    """Take out a key. Comments between its value and what follows stay where they are."""
    following = _take_behind(holder, name)
    names = list(holder)
    index = names.index(name)
    del holder[name]
    if index > 0:
        _put_behind(holder, names[index - 1], following)
    elif following and len(names) > 1:
        text = "\n".join(line.strip().removeprefix("#").removeprefix(" ") for line in following.strip("\n").split("\n"))
        holder.yaml_set_comment_before_after_key(names[1], before=text, indent=holder.lc.col if holder.lc.col else 0)


def _take_behind(holder: Document, name: Any) -> str:  # noqa: ANN401 - a YAML key
    """The comment lines behind a key's value, taken out, but for the one on its own line; '' without any."""
    token = _take_following_comment_at(*_deepest(holder, name))
    return "" if token is None else str(token.value)[1:]


def _put_behind(holder: Document, name: Any, text: str) -> None:  # noqa: ANN401 - a YAML key
    """Append comment lines to those that stand behind a key's value."""
    if not text:
        return
    from ruamel.yaml.error import CommentMark
    from ruamel.yaml.tokens import CommentToken

    last, key, slot = _deepest(holder, name)
    entry = last.ca.items.setdefault(key, [None, None, None, None])
    token = entry[slot]
    if isinstance(token, CommentToken):  # its column stays
        token.value = token.value.removesuffix("\n") + f"\n{text}"
    else:
        entry[slot] = CommentToken(f"\n{text}", CommentMark(0), None)


def _deepest(holder: Document, name: Any) -> tuple[Document, Any, int]:  # noqa: ANN401 - a YAML key
    """The deepest last value below a key: its holder, its key, and where its comment is kept."""
    below = holder[name]
    if _has_lines(below):
        return _last(below)
    return holder, name, _AFTER_ITEM if isinstance(holder, list) else _AFTER


def _has_lines(value: Any) -> bool:  # noqa: ANN401 - a YAML value
    """Whether it is written over lines of its own; the comment behind ``{…}`` and ``[…]`` is their holder's."""
    return isinstance(value, dict | list) and bool(value) and not _is_flow(value)


def _is_flow(node: Any) -> bool:  # noqa: ANN401 - a YAML map or list
    return hasattr(node, "fa") and bool(node.fa.flow_style())


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
        if not _has_lines(below):
            return node, key, _AFTER_ITEM if is_list else _AFTER
        node = below


def _take_following_comment(node: Document) -> Any:  # noqa: ANN401 - a comment token
    """The comment lines behind a node's deepest last value, without the one on its own line; None without any."""
    return _take_following_comment_at(*_last(node)) if node else None


def _take_following_comment_at(holder: Document, key: Any, slot: int) -> Any:  # noqa: ANN401 - a comment token
    from ruamel.yaml.tokens import CommentToken

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
