"""Changing one key of config.yaml by a round trip that keeps comments and order; secrets go to .env instead.

Nothing is written that would not load: the new contents are examined first, and only then put in place, new variables
before config.yaml and old ones taken away after it, so that a ``${VAR}`` in it is never unset. From the reading to the
writing the profile's lock is held (``config.lock``), so that another process loses nothing of what it has written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from hermesd.config.changed_files import Change, examine_change, read_config, read_env, write_files
from hermesd.config.env_file import with_variable
from hermesd.config.key_meaning import shape_at, value_of
from hermesd.config.lock import changing
from hermesd.config.placing import document_of, drop, put, with_key, without_key
from hermesd.config.roundtrip import comments_of, dump, unambiguous
from hermesd.config.secret_keys import IMPLIED, is_secret, variable_for
from hermesd.config.server_changes import is_of_servers
from hermesd.config.server_write import NOBODY, Claims, given, set_servers, unset_servers
from hermesd.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hermesd.config.shape import Shape
    from hermesd.home import Profile

_ENV_NAME = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)
_WHOLLY_REFERENCE = re.compile(r"\$\{(?:env:)?[A-Za-z_][A-Za-z0-9_]*\}", re.ASCII)


def set_value(profile: Profile, key: str, text: str, *, variable: str = "", claims: Claims = NOBODY) -> Change:
    """Set a dotted key to what ``text`` means for its type: a word, ``a,b`` or ``[a, b]`` for lists, ``{…}`` for maps.

    A secret goes to .env as ``variable`` (default: its usual name), and so does a key that is a variable's name. Those
    of MCP servers go there wherever they stand in the value, as ``set_servers`` has it.
    Raises UsageError for a key nobody knows, ConfigError for a value or a result that would not load or be written,
    ConflictError when another process keeps the files for itself.
    """
    if _ENV_NAME.fullmatch(key):
        with changing(profile):
            return write_files(profile, env=with_variable(read_env(profile), key, text), variable=key)
    if is_of_servers(key):
        return set_servers(profile, [given(key, text)], claims=claims)
    shape = shape_at(key)
    if _goes_to_env(key, shape, text):
        name = variable or variable_for(key)
        with changing(profile):
            env = with_variable(read_env(profile), name, text)
            implied = key in IMPLIED or bool(variable)
            config = without_key(read_config(profile), key) if implied else _with_key(profile, key, f"${{{name}}}")
            return write_files(profile, config=config, env=env, variable=name)
    value = value_of(key, text, shape)
    with changing(profile):
        return write_files(profile, config=_with_key(profile, key, value))


def set_section(profile: Profile, key: str, section: dict[str, Any]) -> Change:
    """Set a dotted key to plain values, written over several lines as people do; errors as for ``set_value``."""
    shape_at(key)
    with changing(profile):
        return write_files(profile, config=_with_key(profile, key, unambiguous(section)))


class Edit(NamedTuple):
    """Set a path of config.yaml to plain data, or (None) remove it; ``keep`` upper sections stay even if empty."""

    path: tuple[str, ...]
    value: Any
    keep: int = 0


def preview(
    profile: Profile, data: bytes, env: bytes, edits: Sequence[Edit], variables: Mapping[str, str | None]
) -> tuple[bytes, bytes]:
    """What config.yaml and .env would be, without a look at whether they load. Raises ConfigError, UsageError."""
    if edits:
        document = document_of(data)
        for edit in edits:
            if edit.value is None:
                drop(document, edit.path, keep=edit.keep)
            else:
                put(document, edit.path, unambiguous(edit.value), str(profile.config_path))
        data = dump(document, data) if document else comments_of(data)
    for name, value in variables.items():
        env = with_variable(env, name, value)
    return data, env


def rehearse(profile: Profile, origin: Profile, edits: Sequence[Edit], variables: Mapping[str, str | None]) -> None:
    """Raise ConfigError if ``change`` would. ``origin`` is whose files a profile that is yet to be made begins with."""
    data, env = preview(profile, read_config(origin), read_env(origin), edits, variables)
    examine_change(profile, origin, data or None, env, strict=False)


def change(
    profile: Profile, expected: bytes | None, edits: Sequence[Edit], variables: Mapping[str, str | None]
) -> None:
    """Make edits of config.yaml and .env together, each file written only if it changes.

    ``expected`` is what config.yaml must still be. Raises ConflictError when it is not; otherwise as ``set_value``.
    """
    with changing(profile):
        data, env = read_config(profile), read_env(profile)
        if expected is not None and data != expected:
            step = "look at it, try again"
            raise ConflictError("was changed meanwhile", where=str(profile.config_path), next_step=step)
        kept = {name: value for name, value in variables.items() if value is not None}
        _, with_new = preview(profile, data, env, (), kept)
        new_data, new_env = preview(profile, data, env, edits, variables)
        write_files(profile, config=new_data if new_data != data else None, env=with_new, env_after=new_env)


def unset_value(profile: Profile, key: str, *, variable: str = "", claims: Claims = NOBODY) -> Change:
    """Remove a dotted key, and a secret's variable from .env. Raises NotFoundError when neither is set; see above."""
    if is_of_servers(key):
        return unset_servers(profile, key, claims)
    is_variable = _ENV_NAME.fullmatch(key) is not None
    name = key
    if not is_variable:
        shape = shape_at(key)
        name = (variable or variable_for(key)) if _goes_to_env(key, shape) else ""
    with changing(profile):
        config = None if is_variable else without_key(read_config(profile), key)
        before = read_env(profile)
        env = with_variable(before, name, None) if name else before
        if config is None and env == before:
            raise NotFoundError(f"{key[:120]} is not set", next_step="see `hermesctl config show`")
        return write_files(profile, config=config, env_after=env, variable=name if env != before else "")


def write_config(profile: Profile, data: bytes) -> Change:
    """Replace config.yaml by contents that load. Raises ConfigError with file:line, ConflictError."""
    with changing(profile):
        return write_files(profile, config=data, strict=True)


def _with_key(profile: Profile, key: str, value: Any) -> bytes:  # noqa: ANN401 - a YAML value
    return with_key(read_config(profile), key, value, str(profile.config_path))


def _goes_to_env(key: str, shape: Shape | None, text: str = "") -> bool:
    """Whether a value is a secret, and none that refers to .env already."""
    if shape is None or shape.kind != "scalar":
        return False
    return is_secret(key) and not _WHOLLY_REFERENCE.fullmatch(text)
