"""A Config as plain data for people and for RPC: every key with its value in force, secrets as ``***``."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import msgspec

from hermesd.config.schema import McpServerConfig
from hermesd.config.secret_keys import REDACTED, is_secret
from hermesd.config.server_secrets import HIDDEN_MAPS, shown_args, shown_url
from hermesd.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.config.schema import Config


LEAST_SECRET_CHARS = 4
"""Shorter values of .env are not looked for within other values: they would blank out ordinary text."""


def to_plain(config: Config, secrets: Mapping[str, str] | None = None) -> dict[str, Any]:
    """All of a configuration, defaults included; secrets that are set are ``***``.

    In settings of MCP servers so is whatever .env holds (``secrets``), which may stand in any of them.
    """
    plain: dict[str, Any] = _plain(config, "")
    known = sorted(
        (text for text in (secrets or {}).values() if len(text) >= LEAST_SECRET_CHARS), key=len, reverse=True
    )
    plain["mcp_servers"] = _without(plain["mcp_servers"], known)
    return plain


def value_of(config: Config, key: str, secrets: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - whatever the key holds
    """The value of a dotted key as in ``to_plain``; '' is all of it, list items are numbers. Raises NotFoundError."""
    found: Any = to_plain(config, secrets)
    path = key.replace("[", ".").replace("]", "")
    for name in path.split(".") if key else ():
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdigit() and int(name) < len(found):
            found = found[int(name)]
        else:
            near = difflib.get_close_matches(name, found, n=1) if isinstance(found, dict) else []
            hint = f"did you mean {near[0]!r}?" if near else "see `hermesctl config show`"
            raise NotFoundError(f"there is no key {key[:120]!r}", next_step=hint)
    return found


def text_of(value: Any) -> str:  # noqa: ANN401 - as ``value_of`` has it
    """The value for people: a section as YAML, a single value as it is."""
    if isinstance(value, dict | list):
        import yaml

        text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
        return text
    return f"{str(value).lower() if isinstance(value, bool) else value}\n"


def _plain(value: Any, key: str) -> Any:  # noqa: ANN401 - plain data of any shape
    if isinstance(value, msgspec.Struct):
        plain = {name: _plain(getattr(value, name), name) for name in value.__struct_fields__}
        if isinstance(value, McpServerConfig):
            plain |= {"url": shown_url(value.url), "args": shown_args(value.args)}
        return plain
    if isinstance(value, dict):
        if key in HIDDEN_MAPS:
            return dict.fromkeys(value, REDACTED)
        return {name: _plain(below, "") for name, below in value.items()}
    if isinstance(value, list):
        return [_plain(below, key) for below in value]
    return REDACTED if value and isinstance(value, str) and is_secret(key) else value


def _without(value: Any, known: list[str]) -> Any:  # noqa: ANN401 - plain data
    if isinstance(value, dict):
        return {name: _without(below, known) for name, below in value.items()}
    if isinstance(value, list):
        return [_without(below, known) for below in value]
    if isinstance(value, str):
        for secret in known:
            value = value.replace(secret, REDACTED)
    return value
