"""``${VAR}`` and ``${env:VAR}`` in values of config.yaml, resolved from the profile's .env and from nowhere else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

FREE_TEXT = frozenset({"prompt", "system_prompt", "description"})
"""Fields whose text is for the model or for people: a ``$`` in them means itself."""

MAX_EXPANDED = 64 * 1024  # characters of one value

_REFERENCE = re.compile(r"\$\$\{|\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)\}|\$\{", re.ASCII)


_TOO_LONG = (f"is longer than {MAX_EXPANDED} characters", "make it shorter")


class UnresolvedError(ValueError):
    """A reference that cannot be resolved; ``next_step`` says what to do."""

    def __init__(self, what: str, next_step: str) -> None:
        super().__init__(what)
        self.next_step = next_step


def interpolate(text: str, secrets: Mapping[str, str]) -> str:
    """Replace references; ``$${`` stands for ``${``. Raises UnresolvedError for an unset or malformed one."""
    if "${" not in text:
        return text
    room = MAX_EXPANDED - len(text)
    if room < 0:
        raise UnresolvedError(*_TOO_LONG)

    def replace(match: re.Match[str]) -> str:
        nonlocal room
        if match[0] == "$${":
            return "${"
        name = match[1]
        if name is None:
            raise UnresolvedError("`${` begins no ${VAR}", "close it as ${VAR}, or write $${ for a literal ${")
        if name not in secrets:
            raise UnresolvedError(f"${{{name}}} is not set", f"set {name} in .env, or write $${{{name}}} for the text")
        room -= len(secrets[name])
        if room < 0:
            raise UnresolvedError(*_TOO_LONG)
        return secrets[name]

    return _REFERENCE.sub(replace, text)
