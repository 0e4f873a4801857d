"""config.yaml with its ``${REFERENCES}`` left as they stand: for comparing and copying it without its secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from hermesd.config import MAX_CONFIG_BYTES
from hermesd.config.convert import Reading
from hermesd.config.document import Mapping as Section
from hermesd.config.document import parse
from hermesd.config.schema import Config
from hermesd.errors import ConfigError
from hermesd.home import read_bounded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermesd.home import Profile


class _Themselves(Mapping[str, str]):
    """Every variable is its own reference."""

    def __getitem__(self, name: str) -> str:
        return f"${{{name}}}"

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def contents(profile: Profile) -> bytes:
    """Of config.yaml; empty when there is none. Raises ConfigError."""
    try:
        return read_bounded(profile.config_path, max_bytes=MAX_CONFIG_BYTES, follow=True)
    except FileNotFoundError:
        return b""
    except OSError as error:
        where = str(profile.config_path)
        raise ConfigError(f"cannot be read: {error.strerror}", where=where, next_step="look at it: ls -l") from None


def is_set(data: bytes, source: str, path: tuple[str, ...]) -> bool:
    """Whether contents say something at a path. Raises ConfigError."""
    node: object = parse(data, source)
    for name in path:
        if not isinstance(node, Section):
            return False
        extra = node.values.get("extra")  # where a platform's settings may stand, too
        if name not in node.values and isinstance(extra, Section):
            node = extra
        node = node.values.get(name)
    return node is not None


def with_references(data: bytes, source: str) -> Config:
    """Understand contents, references as they stand. Raises ConfigError for the first thing that is wrong."""
    reading = Reading(source, _Themselves())
    plain = reading.read(parse(data, source))
    if reading.problems:
        raise reading.problems[0]
    try:
        return msgspec.convert(plain, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error), where=source, next_step="hermesctl config check") from None
