"""From a profile's config.yaml and .env to its Settings. Neither file need exist, and then its parser is not imported.

bytes ─► document (lines, bounds) ─► convert (schema, names, ${VAR}) ─► validate ─► Settings
                                            ▲
.env ─► Secrets ────────────────────────────┘
"""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING, Any

import msgspec

from hermesd.config import MAX_CONFIG_BYTES
from hermesd.config.env import load_env, parse_env
from hermesd.config.schema import Config
from hermesd.config.settings import Secrets, Settings
from hermesd.errors import ConfigError, HermesError
from hermesd.home import DEFAULT_PROFILE, read_bounded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.config.convert import Reading
    from hermesd.home import Profile

_DAEMON_WIDE = ("mcp_serve", "rpc", "store", "shutdown")


class Examination(msgspec.Struct):
    """Everything found in a profile's files. ``settings`` is None when there are ``problems``."""

    settings: Settings | None
    problems: list[ConfigError] = msgspec.field(default_factory=list)
    notices: list[str] = msgspec.field(default_factory=list)


def load_settings(profile: Profile) -> Settings:
    """Read and check a profile's configuration.

    Raises ConfigError for the first thing that is wrong, with file:line; it says how many more there are.
    """
    found = examine(profile)
    if found.settings is not None:
        return found.settings
    first, more = found.problems[0], len(found.problems) - 1
    if more:
        first.what += f" (and {more} more: `hermesctl config check`)"
    raise first


def try_load(profile: Profile) -> Settings | ConfigError:
    """``load_settings`` with the refusal as a value, for a reload that keeps what is in force."""
    try:
        return load_settings(profile)
    except ConfigError as error:
        return error


def examine(profile: Profile) -> Examination:
    """Read and check a profile's configuration, collecting what is wrong instead of raising."""
    notices: list[str] = []
    try:
        secrets = load_env(profile.env_path, notices)
        data = _contents(profile)
    except ConfigError as error:
        return Examination(None, [error], notices)
    except OSError as error:
        return Examination(None, [_unreadable(error, profile)], notices)
    return examine_contents(profile, data, secrets, notices)


def examine_contents(
    profile: Profile, data: bytes | None, secrets: Mapping[str, str] | bytes | None, notices: list[str] | None = None
) -> Examination:
    """Check contents that may not be on disk yet: of config.yaml (None: there is none) and of .env (bytes, or read)."""
    notices = [] if notices is None else notices
    try:
        if not isinstance(secrets, Secrets):
            secrets = Secrets(parse_env(secrets, str(profile.env_path), notices) if isinstance(secrets, bytes) else {})
        return _examine(profile, data, secrets, notices)
    except ConfigError as error:
        return Examination(None, [error], notices)


def _examine(profile: Profile, data: bytes | None, secrets: Secrets, notices: list[str]) -> Examination:
    if data is None and not secrets:
        return Examination(Settings(profile, Config(), secrets, tuple(notices)), notices=notices)
    from hermesd.config.convert import Reading

    reading = Reading(str(profile.config_path), secrets)
    plain: dict[str, Any] = {}
    if data is not None:
        from hermesd.config.document import parse

        plain = reading.read(parse(data, reading.source))
    from hermesd.config.environment_keys import fill_in

    fill_in(plain, secrets, str(profile.env_path))
    config = _convert(plain, reading)
    if config is not None:
        _validate(config, reading, str(profile.env_path))
        _permissions(profile, reading)
        if profile.name != DEFAULT_PROFILE and plain.get("isolation") != "process":
            for name in _DAEMON_WIDE:
                if name in plain:
                    reading.notice(f"{name} has an effect only in the default profile", reading.lines[name])
    notices = [*notices, *reading.notices]
    if reading.problems or config is None:
        return Examination(None, sorted(reading.problems, key=_line), notices)
    return Examination(Settings(profile, config, secrets, tuple(notices)), notices=notices)


def _convert(plain: dict[str, Any], reading: Reading) -> Config | None:
    import msgspec

    try:
        return msgspec.convert(plain, Config)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$.")
        key = path.rstrip("`")
        reading.problems.append(ConfigError(f"{key}: {what}", where=reading.where(key), next_step="correct it"))
        return None


def _validate(config: Config, reading: Reading, env_source: str) -> None:
    from hermesd.config.environment_keys import VARIABLES
    from hermesd.config.validate import validate

    def where(key: str) -> str:
        return env_source if key in VARIABLES.values() and key not in reading.lines else reading.where(key)

    def problem(key: str, what: str, next_step: str) -> None:
        reading.problems.append(ConfigError(f"{key} {what}", where=where(key), next_step=next_step))

    def notice(key: str, what: str, next_step: str) -> None:
        reading.notices.append(f"{where(key)}: {key} {what}; {next_step}")

    validate(config, problem, notice)


def _permissions(profile: Profile, reading: Reading) -> None:
    if reading.literal_secrets and stat.S_IMODE(_mode(profile)) & 0o077:
        key = reading.literal_secrets[0]
        reading.notices.append(
            f"{reading.where(key)}: {key} is a secret that others may read; "
            f"chmod 600 {profile.config_path}, or move it into .env"
        )


def _mode(profile: Profile) -> int:
    try:
        return profile.config_path.stat().st_mode
    except OSError:
        return 0


def _contents(profile: Profile) -> bytes | None:
    try:
        return read_bounded(profile.config_path, max_bytes=MAX_CONFIG_BYTES, follow=True)
    except FileNotFoundError:
        return None


def _unreadable(error: OSError, profile: Profile) -> ConfigError:
    where = str(error.filename or profile.root)
    if error.errno == errno.ELOOP:
        return ConfigError("is a symbolic link", where=where, next_step="put the file itself there")
    return ConfigError(f"cannot be read: {error.strerror}", where=where, next_step="make it readable for this user")


def _line(error: HermesError) -> tuple[str, int]:
    source, _, line = error.where.rpartition(":")
    return source, int(line) if line.isdigit() else 0
