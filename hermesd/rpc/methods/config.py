"""``config.show``: the configuration in force, without its secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hermesd.errors import NotFoundError
from hermesd.rpc.routes import fast
from hermesd.rpc.wire import ConfigParams, ConfigResult

if TYPE_CHECKING:
    from hermesd.rpc.calls import Caller

REDACTED = "[redacted]"
SECRET_KEYS = ("token", "secret", "api_key", "password", "passwd", "client_key", "authorization")
LEAST_SECRET_CHARS = 4
"""Shorter values of .env are not looked for within other values: they would blank out ordinary text."""


@fast("config.show")
def show(caller: Caller, params: ConfigParams) -> ConfigResult:
    """A value, a section, or everything. Raises NotFoundError naming the part of the key that does not exist."""
    settings = caller.daemon.settings(params.profile)
    known = [value for value in settings.secrets.values() if len(value) >= LEAST_SECRET_CHARS]
    plain = _plain if params.key else msgspec.to_builtins  # asked for by name, a default is an answer too
    everything = {
        name: redacted(plain(getattr(settings.config, name)), known, key=name)
        for name in settings.config.__struct_fields__
    }
    return ConfigResult(value=_look_up(everything, params.key), source=str(settings.profile.config_path))


def _plain(value: object) -> object:
    """As ``to_builtins``, with every default."""
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return msgspec.to_builtins(value)


def _look_up(value: object, key: str) -> object:
    passed: list[str] = []
    for part in filter(None, key.split(".")):
        passed.append(part)
        if not isinstance(value, dict) or part not in value:
            raise NotFoundError(
                f"no key {'.'.join(passed)[:80]!r}", where="key", next_step="see `hermesctl config schema`"
            )
        value = value[part]
    return value


def redacted(value: object, secrets: list[str], *, key: str) -> object:
    """Plain data with every secret replaced: whatever a secret-looking key holds, and every value of .env anywhere."""
    if isinstance(value, dict):
        return {name: redacted(inner, secrets, key=str(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [redacted(inner, secrets, key=key) for inner in value]
    if not isinstance(value, str) or not value:
        return value
    if key.lower() in SECRET_KEYS or key.lower().endswith(tuple(f"_{name}" for name in SECRET_KEYS)):
        return REDACTED
    for secret in secrets:
        value = value.replace(secret, REDACTED)
    return value
