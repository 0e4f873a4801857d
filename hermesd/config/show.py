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
    from hermesd.config.schema import Config


def to_plain(config: Config) -> dict[str, Any]:
    """All of a configuration, defaults included; secrets that are set are ``***``."""
    plain: dict[str, Any] = _plain(config, "")
    return plain


def value_of(config: Config, key: str) -> Any:  # noqa: ANN401 - a configuration value is whatever its key holds
    """The value of a dotted key as in ``to_plain``; '' is all of it, list items are numbers. Raises NotFoundError."""
    found: Any = to_plain(config)
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
