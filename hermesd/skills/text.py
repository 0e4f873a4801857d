"""A SKILL.md taken apart: what its front matter says of it (https://agentskills.io/specification), and its text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from hermesd.errors import ConfigError
from hermesd.home import read_bounded
from hermesd.skills.places import SKILL_FILE

MAX_BYTES = 64 * 1024
MAX_FRONT_MATTER = 16 * 1024  # characters
MAX_DESCRIPTION = 1024  # characters, as the specification has it
_FENCE = "---"
_NEXT = "begin it with ---, name: …, description: … and --- on lines of their own"


class SkillText(NamedTuple):
    """``description`` is the first line of the body where the front matter has none."""

    description: str
    body: str


def read_skill(path: Path) -> SkillText:
    """The skill of a file. Raises ConfigError for one that cannot be used."""
    text = _read(path)
    lines = text.split("\n")
    if lines[0].rstrip() != _FENCE:  # a text of its own, as homes have them
        return SkillText(_first_line(text), text.strip())
    end = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() == _FENCE), 0)
    if not end:
        raise ConfigError("its front matter has no end", where=f"{path}:1", next_step=_NEXT)
    front = "\n".join(lines[1:end])
    if len(front) > MAX_FRONT_MATTER:
        what = f"its front matter has {len(front)} characters"
        raise ConfigError(what, where=f"{path}:1", next_step=f"{MAX_FRONT_MATTER} at most: shorten it")
    body = "\n".join(lines[end + 1 :]).strip()
    if not body:
        raise ConfigError("there is nothing behind its front matter", where=str(path), next_step="write what is done")
    return SkillText(_description(front, path) or _first_line(body), body)


def _read(path: Path) -> str:
    """A link may lead to a SKILL.md elsewhere, but to nothing else: not to a key, say, of whoever unpacked it."""
    try:
        real = Path(os.path.realpath(path, strict=True))
        if not real.name.endswith(SKILL_FILE):
            raise ConfigError(f"is a link to what is no {SKILL_FILE}", where=str(path), next_step="put the text there")
        data = read_bounded(real, max_bytes=MAX_BYTES)
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise ConfigError(what, where=str(path), next_step="mend or remove it") from None
    text = data.decode("utf-8-sig", "replace").replace("\r\n", "\n")
    if not text.strip():
        raise ConfigError("is empty", where=str(path), next_step="write what is done, or remove it")
    return text.lstrip("\n")


def _description(front: str, path: Path) -> str:
    from hermesd.config.document import Scalar, parse

    try:
        found = parse(f"\n{front}\n".encode(errors="replace"), str(path))  # the fence is the file's first line
    except ConfigError as error:
        raise ConfigError(f"its front matter {error.what}", where=error.where, next_step=_NEXT) from None
    description = found.values.get("description")
    return _cut(description.text) if isinstance(description, Scalar) else ""


def _first_line(body: str) -> str:
    return _cut(body.partition("\n")[0].lstrip("# "))


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MAX_DESCRIPTION else f"{text[: MAX_DESCRIPTION - 1]}…"
