"""Changing one variable of a .env while everything else in it stays as it was written."""

from __future__ import annotations

import io
import re

from hermesd.config import MAX_ENV_BYTES
from hermesd.config.secret_keys import VARIABLE
from hermesd.errors import UsageError

_BARE = re.compile(r"[A-Za-z0-9_./:@%+,=-]*", re.ASCII)


def with_variable(data: bytes, name: str, value: str | None) -> bytes:
    """The contents with ``name`` set to ``value``, or without it (None). Raises UsageError for what a .env can't hold.

    The last line that sets it is the one replaced, earlier ones go: the last is the one that counts.
    """
    if not VARIABLE.fullmatch(name):
        raise UsageError(f"{name[:80]!r} is not a variable's name", next_step="use letters, digits and _")
    from dotenv.parser import parse_stream

    bindings = list(parse_stream(io.StringIO(data.decode("utf-8-sig"), newline="")))
    own = [index for index, binding in enumerate(bindings) if binding.key == name and not binding.error]
    parts = [binding.original.string for binding in bindings]
    for index in own:
        lead = parts[index][: len(parts[index]) - len(parts[index].lstrip())]
        parts[index] = lead if index != own[-1] or value is None else f"{lead}{_line(name, value)}"
    if value is not None and not own:
        if parts and not parts[-1].endswith(("\n", "\r")):
            parts.append("\n")
        parts.append(_line(name, value))
    written = "".join(parts).encode()
    if len(written) > MAX_ENV_BYTES:
        raise UsageError(f".env would be larger than {MAX_ENV_BYTES} bytes", next_step="make it smaller")
    return written


def _line(name: str, value: str) -> str:
    if "${" in value or "\x00" in value:
        raise UsageError("a value in .env can hold neither `${` nor a NUL", next_step="choose another secret")
    if _BARE.fullmatch(value):
        return f"{name}={value}\n"
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{quoted}'\n"
