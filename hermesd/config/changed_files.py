"""A profile's config.yaml and .env read to be changed, and put in place: examined first, in an order that is safe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermesd.config import MAX_CONFIG_BYTES, MAX_ENV_BYTES
from hermesd.config.document import parse
from hermesd.config.env import text_of
from hermesd.config.load import examine_contents
from hermesd.errors import ConfigError
from hermesd.home import read_bounded, write_private

if TYPE_CHECKING:
    from pathlib import Path

    from hermesd.home import Profile


@dataclass(frozen=True, slots=True)
class Change:
    """What was written: ``path``, and the variable when it was .env. ``notices`` are those of the new configuration.

    Of MCP servers: ``variables`` got a value in .env, keys that were ``dropped`` contradicted the new ones, variables
    that are ``gone`` were referred to by nothing else, those ``left`` neither, but something else may read them.
    """

    path: Path
    variable: str = ""
    notices: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def read_config(profile: Profile) -> bytes:
    """config.yaml; nothing where there is none. Raises ConfigError for what is not safe to be read as a whole."""
    data = _read(profile.config_path, MAX_CONFIG_BYTES)
    parse(data, str(profile.config_path))  # the bounds of a file that is safe to load as a whole
    return data


def read_env(profile: Profile) -> bytes:
    """.env; nothing where there is none. Raises ConfigError for what is no text."""
    data = _read(profile.env_path, MAX_ENV_BYTES)
    text_of(data, str(profile.env_path))  # what is no text cannot be changed either
    return data


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        return read_bounded(path, max_bytes=max_bytes)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path), next_step="look at it: ls -l") from None


def write_files(
    profile: Profile,
    *,
    config: bytes | None = None,
    env: bytes | None = None,
    env_after: bytes | None = None,
    variable: str = "",
    strict: bool = False,
) -> Change:
    """Examine, then write what changes, while the caller holds the lock.

    ``env`` before config.yaml and ``env_after`` behind it, so that whatever ends this in between leaves no ``${VAR}``
    that is not set. Problems that were there before do not stand in the way unless ``strict``.
    """
    before = read_env(profile)
    env = before if env is None else env
    env_after = env if env_after is None else env_after
    notices = examine_change(profile, profile, config, env_after if env_after != before else None, strict=strict)
    try:
        if env != before:
            write_private(profile.env_path, env)
        if config is not None:
            write_private(profile.config_path, config)
        if env_after != env:
            write_private(profile.env_path, env_after)
    except OSError as error:
        raise ConfigError(
            f"cannot be written: {error.strerror}", where=str(profile.root), next_step="look at it: ls -ld"
        ) from None
    path = profile.env_path if variable else profile.config_path
    return Change(path, variable, notices)


def examine_change(
    profile: Profile, origin: Profile, config: bytes | None, env: bytes | None, *, strict: bool
) -> tuple[str, ...]:
    """The notices of new contents (None: those of ``origin``). Raises ConfigError for a problem that they bring."""
    old_config = _read(origin.config_path, MAX_CONFIG_BYTES) or None
    old_env = read_env(origin)
    new = examine_contents(profile, old_config if config is None else config, old_env if env is None else env)
    if new.problems:
        known = () if strict else {found.what for found in examine_contents(profile, old_config, old_env).problems}
        for problem in new.problems:
            if problem.what not in known:
                raise problem
    return tuple(new.notices)
