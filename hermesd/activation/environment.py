""".env: declared variables win and go again when they are not declared any more; what its user has stored stays.

``hermesctl setup``, ``config set`` and ``mcp add`` put secrets there, so the file is not the manifest's alone. Of each
variable a digest is remembered: one that was changed since is the user's.
"""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hermesd.activation.sources import read_source
from hermesd.config.env import parse_env
from hermesd.config.env_file import with_variables
from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.activation.targets import Found
    from hermesd.deploy.container.manifest import Env

ENV = PurePosixPath(".env")
MODE = 0o600


def declared_variables(env: Env) -> dict[str, str]:
    """The values, then the files in their order; later wins. Raises ConfigError with file:line."""
    found = dict(env.values)
    for source in env.files:
        data = read_source(source)
        if data is None:
            continue
        where = source.removeprefix("-")
        notices: list[str] = []
        found |= parse_env(data, where, notices)
        if notices:
            raise ConfigError(notices[0].removesuffix(" and is passed over"), next_step="correct or remove the line")
    return found


def digest_of(name: str, value: str) -> str:
    """What is remembered of a variable."""
    return hashlib.sha256(f"{name}={value}".encode("utf-8", "surrogatepass")).hexdigest()


def changed_variables(
    live: dict[str, str], applied: Sequence[dict[str, str]], declared: dict[str, str]
) -> dict[str, str | None]:
    """What is to be set, or (None) removed."""
    changes: dict[str, str | None] = {name: value for name, value in declared.items() if live.get(name) != value}
    for name in dict.fromkeys(key for digests in applied for key in digests if key not in declared):
        known = [digests[name] for digests in applied if name in digests]
        if name in live and digest_of(name, live[name]) in known:
            changes[name] = None
    return changes


def variables_of(live: Found | None, where: str) -> dict[str, str]:
    """What the file sets now. Raises ConfigError with file:line."""
    return parse_env(live.data, where, []) if live else {}


def contents(live: Found | None, changes: dict[str, str | None]) -> bytes:
    """The new contents. Raises UsageError."""
    return with_variables(live.data if live else b"", changes)
