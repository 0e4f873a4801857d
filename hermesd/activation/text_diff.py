"""What a step changes, in lines that may be shown: secrets are ``***`` and texts bounded."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any, Literal

from hermesd.activation.steps import Detail
from hermesd.config.plain import leaves
from hermesd.config.secret_keys import REDACTED
from hermesd.config.server_secrets import HIDDEN_MAPS
from hermesd.manifest.secrets import REFERENCE, holds_secret
from hermesd.redact import Redactor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hermesd.activation.merge import Edit, Path

Mark = Literal["+", "-", "~"]

MAX_LINES = 100
MAX_VALUE = 300
_FORMS = Redactor()


def of_edits(edits: Sequence[Edit]) -> tuple[Detail, ...]:
    """A line for each key."""
    return tuple(detail for edit in edits for detail in _of_edit(edit))


def of_variables(live: Mapping[str, str], changes: Mapping[str, str | None]) -> tuple[Detail, ...]:
    """Names only."""
    marks: dict[str, Mark] = {
        name: "-" if value is None else "~" if name in live else "+" for name, value in changes.items()
    }
    return tuple(Detail(marks[name], name) for name in sorted(marks))


def of_texts(before: bytes, after: bytes) -> tuple[Detail, ...]:
    """A short unified diff; nothing for what is no text."""
    try:
        old, new = before.decode().splitlines(), after.decode().splitlines()
    except UnicodeDecodeError:
        return ()
    lines = [line for line in difflib.unified_diff(old, new, n=1, lineterm="") if not line.startswith(("---", "+++"))]
    shown = [_FORMS.redact(line)[:MAX_VALUE] for line in lines[:MAX_LINES] if not line.startswith("@@")]
    if len(lines) > MAX_LINES:
        shown.append(f" … {len(lines) - MAX_LINES} lines more")
    return tuple(Detail(_mark_of(line), clean(line[1:])) for line in shown)


def clean(text: str) -> str:
    """On one line, without control characters."""
    return "".join(char if char.isprintable() else "�" for char in text)


def _of_edit(edit: Edit) -> Iterator[Detail]:
    before, after = dict(_leaves(edit.path, edit.before)), dict(_leaves(edit.path, edit.after))
    for path in before | after:
        mark: Mark = "+" if path not in before else "-" if path not in after else "~"
        values = [_shown(path, tree[path]) for tree in (before, after) if path in tree]
        yield Detail(mark, clean(f"{'.'.join(path)}: {' → '.join(values)}"))


def _leaves(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:  # noqa: ANN401 - plain data
    if isinstance(value, dict) and value:
        yield from leaves(value, path)
    elif value is not None:
        yield path, value


def _shown(path: Path, value: Any) -> str:  # noqa: ANN401 - plain data
    is_hidden = HIDDEN_MAPS & set(path[:-1]) and not (isinstance(value, str) and REFERENCE.fullmatch(value))
    if is_hidden or holds_secret(".".join(path), value):
        return REDACTED
    text = _FORMS.redact(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}… ({len(text)} characters)"


def _mark_of(line: str) -> Literal["+", "-", " "]:
    return "+" if line.startswith("+") else "-" if line.startswith("-") else " "
