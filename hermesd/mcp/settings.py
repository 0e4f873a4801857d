"""A server's configuration with its variables filled in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.config.schema import McpServerConfig

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def fill_in(text: str, variables: Mapping[str, str], *, where: str) -> str:
    """Replace every ``${NAME}``; raises ConfigError naming one that is not set."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in variables:
            raise ConfigError(f"${{{name}}} is not set", where=where, next_step=f"set {name} in the profile's .env")
        return variables[name]

    return VARIABLE.sub(value, text)


def resolved(config: McpServerConfig, variables: Mapping[str, str], *, where: str) -> McpServerConfig:
    """The same with ``${NAME}`` in args, env, headers and url replaced from ``variables``.

    Raises ConfigError for a variable that is not set, and for a server with neither command nor url.
    """
    if not config.command and not config.url:
        raise ConfigError("it has neither command nor url", where=where, next_step="set one of them in config.yaml")

    def filled(text: str) -> str:
        return fill_in(text, variables, where=where)

    return msgspec.structs.replace(
        config,
        url=filled(config.url),
        args=[filled(item) for item in config.args],
        env={name: filled(value) for name, value in config.env.items()},
        headers={name: filled(value) for name, value in config.headers.items()},
    )
