"""Changing one variable of a .env while everything else in it stays as it was written."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from hermesd.config import MAX_ENV_BYTES
from hermesd.config.secret_keys import VARIABLE
from hermesd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_BARE = re.compile(r"[A-Za-z0-9_./:@%+,=-]*", re.ASCII)


def with_variable(data: bytes, name: str, value: str | None) -> bytes:
    """The contents with ``name`` set to ``value``, or without it (None). Raises UsageError for what a .env can't hold.

    The last line that sets it is the one replaced, earlier ones go: the last is the one that counts.
    """
    if value is not None and "${" in value:
        raise UsageError("a value in .env can hold no `${`", next_step="choose another secret")
    return with_variables(data, {name: value})


def with_variables(data: bytes, values: Mapping[str, str | None]) -> bytes:
    """The same for many at once. A ``${`` in a value is written so that it is read as it stands. Raises UsageError."""
    for name in values:
        if not VARIABLE.fullmatch(name):
            raise UsageError(f"{name[:80]!r} is not a variable's name", next_step="use letters, digits and _")
    from dotenv.parser import parse_stream

    bindings = list(parse_stream(io.StringIO(data.decode("utf-8-sig"), newline="")))
    named = [(index, each.key) for index, each in enumerate(bindings) if each.key in values and not each.error]
    own = {key: index for index, key in named if key is not None}
    parts = [binding.original.string for binding in bindings]
    for index, key in named:
        assert key is not None
        value = values[key]
        lead = parts[index][: len(parts[index]) - len(parts[index].lstrip())]
        parts[index] = lead if index != own[key] or value is None else f"{lead}{_line(key, value)}"
    for name, value in values.items():
        if value is not None and name not in own:
            if parts and parts[-1] and not parts[-1].endswith(("\n", "\r")):
                parts.append("\n")
            parts.append(_line(name, value))
    written = "".join(parts).encode()
    if len(written) > MAX_ENV_BYTES:
        raise UsageError(f".env would be larger than {MAX_ENV_BYTES} bytes", next_step="make it smaller")
    return written


def _line(name: str, value: str) -> str:
    if "\x00" in value:
        raise UsageError("a value in .env can hold no NUL", next_step="choose another secret")
    value = value.replace("${", "${:-$}{")  # the default of a variable that cannot be: a lone $, then the brace
    if _BARE.fullmatch(value):
        return f"{name}={value}\n"
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{quoted}'\n"
