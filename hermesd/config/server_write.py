"""Setting and removing keys of MCP servers in config.yaml, with their secrets in .env."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from hermesd.config.changed_files import Change, read_config, read_env, write_files
from hermesd.config.env import parse_env
from hermesd.config.env_file import with_variable
from hermesd.config.key_meaning import shape_at, value_of
from hermesd.config.lock import changing
from hermesd.config.placing import document_of, drop, put, without_key
from hermesd.config.plain import tree_of
from hermesd.config.roundtrip import dump, load, unambiguous
from hermesd.config.server_changes import IsRead, plain_of, prepare, unneeded
from hermesd.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hermesd.home import Profile


class Given(NamedTuple):
    """A setting of an MCP server: its dotted key, plain data, and what to write where that holds no secret."""

    key: str
    plain: Any
    written: Any


@dataclass(frozen=True, slots=True)
class Claims:
    """Who else has a say in variables of .env. ``check`` raises for one that may not be changed.

    ``is_read`` tells whether something may read one that config.yaml does not tell of; without better knowledge,
    whatever does not bear the name of the server that it is for.
    """

    check: Callable[[str], None] = lambda _name: None
    is_read: IsRead = lambda _name, is_own: not is_own


NOBODY = Claims()


def given(key: str, text: str) -> Given:
    """What ``text`` means for a server's dotted key, as in ``write.set_value``. Raises UsageError, ConfigError."""
    shape = shape_at(key)
    if (shape is None or shape.kind != "scalar") and text.lstrip()[:1] in ("[", "{"):
        plain = plain_of(key, text.strip())  # before the other parser, which may tell what it cannot read
        return Given(key, plain, load(text))
    value = value_of(key, text, shape)
    return Given(key, value, value)


def set_servers(profile: Profile, settings: Sequence[Given], *, claims: Claims = NOBODY) -> Change:
    """Set keys of MCP servers, all or none, with every secret in .env and a reference in its place.

    What contradicts a new key goes: the command where a url is set, and the other way round. Raises UsageError for a
    secret that cannot be kept, otherwise as ``write.set_value``.
    """
    with changing(profile):
        data, env = read_config(profile), read_env(profile)
        tree = tree_of(data, str(profile.config_path))
        known, problem = _variables(profile, env)
        found = prepare(tree, known, [(each.key, each.plain) for each in settings])
        if found.variables and problem is not None:
            raise problem
        document = document_of(data)
        for each, value in zip(settings, found.values, strict=True):
            written = each.written if value == each.plain else unambiguous(value)
            put(document, each.key.split("."), written, str(profile.config_path))
        for path in found.dropped:
            drop(document, path)
        config = dump(document, data)
        replaced, _ = unneeded(
            tree,
            [tuple(each.key.split(".")) for each in settings],
            config,
            env,
            lambda name, is_own: not is_own or claims.is_read(name, is_own),
        )
        gone, left = unneeded(tree, found.dropped, config, env, claims.is_read)
        new = {name: value for name, value in found.variables.items() if known.get(name) != value}
        change = _write_servers(profile, (config, env), new, ([*replaced, *gone], left), claims)
    names, dropped = tuple(found.variables), tuple(".".join(path) for path in found.dropped)
    return replace(change, variables=names, dropped=dropped)


def _variables(profile: Profile, env: bytes) -> tuple[Mapping[str, str], ConfigError | None]:
    """Those of .env, or what is wrong with it, which is no matter to a setting that needs no variable."""
    try:
        return parse_env(env, str(profile.env_path), []), None
    except ConfigError as error:
        return {}, error


def _write_servers(
    profile: Profile,
    contents: tuple[bytes, bytes],
    new: Mapping[str, str],
    unneeded: tuple[Sequence[str], Sequence[str]],
    claims: Claims,
) -> Change:
    """Write config.yaml as in ``contents``, and .env with what is new and without what is of no use any more."""
    config, env = contents
    gone, left = ([name for name in names if with_variable(env, name, None) != env] for names in unneeded)
    for name in (*new, *gone):
        claims.check(name)
    with_new = after = env
    for name, value in new.items():
        with_new = after = with_variable(with_new, name, value)
    for name in gone:
        after = with_variable(after, name, None)
    change = write_files(profile, config=config, env=with_new, env_after=after)
    return replace(change, gone=tuple(gone), left=tuple(left))


def unset_servers(profile: Profile, key: str, claims: Claims) -> Change:
    """Remove ``mcp_servers`` or a dotted key below it, and its variables that nothing else needs from .env.

    Raises NotFoundError when it is not set, otherwise as ``set_servers``.
    """
    shape_at(key)
    with changing(profile):
        data, env = read_config(profile), read_env(profile)
        tree = tree_of(data, str(profile.config_path))
        config = without_key(data, key)
        if config is None:
            raise NotFoundError(f"{key[:120]} is not set", next_step="see `hermesctl config show`")
        found = unneeded(tree, [tuple(key.split("."))], config, env, claims.is_read)
        return _write_servers(profile, (config, env), {}, found, claims)
