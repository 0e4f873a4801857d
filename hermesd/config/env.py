"""A profile's .env, as python-dotenv reads it (https://saurabh-kumar.com/python-dotenv/).

``KEY=VALUE`` with an optional ``export``, quotes and escapes; ``${OTHER}`` in a value is what the same file set above
it. The process environment is neither read nor written. python-dotenv is imported only where a .env exists.
"""

from __future__ import annotations

import io
import stat
from typing import TYPE_CHECKING

from hermesd.config import MAX_ENV_BYTES
from hermesd.config.secret_keys import VARIABLE
from hermesd.config.settings import Secrets
from hermesd.errors import ConfigError
from hermesd.home import read_bounded

if TYPE_CHECKING:
    from pathlib import Path

MAX_UNREADABLE_LINES = 20


def load_env(path: Path, notices: list[str]) -> Secrets:
    """The file's variables; none when it does not exist. Lines that say nothing are added to ``notices``.

    Raises ConfigError when others may read or write the file, and when it is too large, no regular file or not UTF-8.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return Secrets({})
    if stat.S_ISREG(found.st_mode) and found.st_mode & 0o077:
        raise ConfigError("others may read it", where=str(path), next_step=f"chmod 600 {path}")
    return Secrets(parse_env(read_bounded(path, max_bytes=MAX_ENV_BYTES), str(path), notices))


def text_of(data: bytes, source: str) -> str:
    """A .env's contents as text, without the BOM. Raises ConfigError with file:line for what is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError("is not UTF-8", where=f"{source}:{line}", next_step="save it as UTF-8") from None


def parse_env(data: bytes, source: str, notices: list[str]) -> dict[str, str]:
    """The variables of a .env's contents. Raises ConfigError with file:line."""
    if len(data) > MAX_ENV_BYTES:
        raise ConfigError(f"is larger than {MAX_ENV_BYTES} bytes", where=source, next_step="make it smaller")
    text = text_of(data, source).replace("\x00", "")
    from dotenv.parser import parse_stream
    from dotenv.variables import parse_variables

    values: dict[str, str | None] = {}
    unreadable = 0
    for binding in parse_stream(io.StringIO(text, newline="")):
        line = binding.original.line + binding.original.string[: -len(binding.original.string.lstrip()) or None].count(
            "\n"
        )
        if binding.error or (binding.key is not None and not VARIABLE.fullmatch(binding.key)):
            unreadable += 1
            if unreadable > MAX_UNREADABLE_LINES:
                raise ConfigError(
                    "too many lines are no KEY=VALUE", where=f"{source}:{line}", next_step="correct or remove them"
                )
            notices.append(f"{source}:{line}: is no KEY=VALUE and is passed over")
        elif binding.key is not None and binding.value is None:
            values[binding.key] = None  # a bare name takes back what a line before it said
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = "".join(atom.resolve(values) for atom in parse_variables(binding.value))[
                :MAX_ENV_BYTES
            ]
    return {name: value for name, value in values.items() if value is not None}
