"""Changing one key of config.yaml by a round trip that keeps comments and order; secrets go to .env instead.

Nothing is written that would not load: the new contents are examined first, and only then put in place, new variables
before config.yaml and old ones taken away after it, so that a ``${VAR}`` in it is never unset. From the reading to the
writing the profile's lock is held (``config.lock``), so that another process loses nothing of what it has written.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from typing import TYPE_CHECKING, Any, NamedTuple

from hermesd.config import MAX_CONFIG_BYTES, MAX_ENV_BYTES, foreign
from hermesd.config.document import parse
from hermesd.config.env import parse_env, text_of
from hermesd.config.env_file import with_variable
from hermesd.config.load import examine_contents
from hermesd.config.lock import changing
from hermesd.config.plain import tree_of
from hermesd.config.roundtrip import add, comments_of, dump, from_comments, load, remove, replace, unambiguous, widen
from hermesd.config.scalars import to_value
from hermesd.config.schema import Config
from hermesd.config.secret_keys import IMPLIED, is_secret, variable_for
from hermesd.config.server_changes import IsRead, is_of_servers, plain_of, prepare, unneeded
from hermesd.config.shape import Shape, shape_of
from hermesd.errors import ConfigError, ConflictError, NotFoundError, UsageError
from hermesd.home import read_bounded, write_private

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hermesd.home import Profile

_ENV_NAME = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)
_WHOLLY_REFERENCE = re.compile(r"\$\{(?:env:)?[A-Za-z_][A-Za-z0-9_]*\}", re.ASCII)


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


def set_value(profile: Profile, key: str, text: str, *, variable: str = "", claims: Claims = NOBODY) -> Change:
    """Set a dotted key to what ``text`` means for its type: a word, ``a,b`` or ``[a, b]`` for lists, ``{…}`` for maps.

    A secret goes to .env as ``variable`` (default: its usual name), and so does a key that is a variable's name. Those
    of MCP servers go there wherever they stand in the value, as ``set_servers`` has it.
    Raises UsageError for a key nobody knows, ConfigError for a value or a result that would not load or be written,
    ConflictError when another process keeps the files for itself.
    """
    if _ENV_NAME.fullmatch(key):
        with changing(profile):
            return _write(profile, env=with_variable(_read_env(profile), key, text), variable=key)
    if is_of_servers(key):
        return set_servers(profile, [given(key, text)], claims=claims)
    shape = _shape_at(key)
    if _goes_to_env(key, shape, text):
        name = variable or variable_for(key)
        with changing(profile):
            env = with_variable(_read_env(profile), name, text)
            implied = key in IMPLIED or bool(variable)
            config = _without_key(profile, key) if implied else _with_key(profile, key, f"${{{name}}}")
            return _write(profile, config=config, env=env, variable=name)
    value = _value(key, text, shape)
    with changing(profile):
        return _write(profile, config=_with_key(profile, key, value))


def given(key: str, text: str) -> Given:
    """What ``text`` means for a dotted key of an MCP server, as in ``set_value``. Raises UsageError, ConfigError."""
    shape = _shape_at(key)
    if (shape is None or shape.kind != "scalar") and text.lstrip()[:1] in ("[", "{"):
        plain = plain_of(key, text.strip())  # before the other parser, which may tell what it cannot read
        return Given(key, plain, load(text))
    value = _value(key, text, shape)
    return Given(key, value, value)


def set_servers(profile: Profile, settings: Sequence[Given], *, claims: Claims = NOBODY) -> Change:
    """Set keys of MCP servers, all or none, with every secret in .env and a reference in its place.

    What contradicts a new key goes: the command where a url is set, and the other way round. Raises UsageError for a
    secret that cannot be kept, otherwise as ``set_value``.
    """
    with changing(profile):
        data, env = _read_config(profile), _read_env(profile)
        tree = tree_of(data, str(profile.config_path))
        known, problem = _variables(profile, env)
        found = prepare(tree, known, [(each.key, each.plain) for each in settings])
        if found.variables and problem is not None:
            raise problem
        document = _document(data)
        for each, value in zip(settings, found.values, strict=True):
            written = each.written if value == each.plain else unambiguous(value)
            _put(document, each.key.split("."), written, str(profile.config_path))
        for path in found.dropped:
            _drop(document, path)
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
    return replace_fields(change, variables=names, dropped=dropped)


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
    change = _write(profile, config=config, env=with_new, env_after=after)
    return replace_fields(change, gone=tuple(gone), left=tuple(left))


def set_section(profile: Profile, key: str, section: dict[str, Any]) -> Change:
    """Set a dotted key to plain values, written over several lines as people do; errors as for ``set_value``."""
    _shape_at(key)
    with changing(profile):
        return _write(profile, config=_with_key(profile, key, unambiguous(section)))


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
        document = _document(data)
        for edit in edits:
            if edit.value is None:
                _drop(document, edit.path, keep=edit.keep)
            else:
                _put(document, edit.path, unambiguous(edit.value), str(profile.config_path))
        data = dump(document, data) if document else comments_of(data)
    for name, value in variables.items():
        env = with_variable(env, name, value)
    return data, env


def rehearse(profile: Profile, origin: Profile, edits: Sequence[Edit], variables: Mapping[str, str | None]) -> None:
    """Raise ConfigError if ``change`` would. ``origin`` is whose files a profile that is yet to be made begins with."""
    data, env = preview(profile, _read_config(origin), _read_env(origin), edits, variables)
    _examine(profile, origin, data or None, env, strict=False)


def change(
    profile: Profile, expected: bytes | None, edits: Sequence[Edit], variables: Mapping[str, str | None]
) -> None:
    """Make edits of config.yaml and .env together, each file written only if it changes.

    ``expected`` is what config.yaml must still be. Raises ConflictError when it is not; otherwise as ``set_value``.
    """
    with changing(profile):
        data, env = _read_config(profile), _read_env(profile)
        if expected is not None and data != expected:
            step = "look at it, try again"
            raise ConflictError("was changed meanwhile", where=str(profile.config_path), next_step=step)
        kept = {name: value for name, value in variables.items() if value is not None}
        _, with_new = preview(profile, data, env, (), kept)
        new_data, new_env = preview(profile, data, env, edits, variables)
        _write(profile, config=new_data if new_data != data else None, env=with_new, env_after=new_env)


def unset_value(profile: Profile, key: str, *, variable: str = "", claims: Claims = NOBODY) -> Change:
    """Remove a dotted key, and a secret's variable from .env. Raises NotFoundError when neither is set; see above."""
    if is_of_servers(key):
        return _unset_servers(profile, key, claims)
    is_variable = _ENV_NAME.fullmatch(key) is not None
    name = key
    if not is_variable:
        shape = _shape_at(key)
        name = (variable or variable_for(key)) if _goes_to_env(key, shape) else ""
    with changing(profile):
        config = None if is_variable else _without_key(profile, key)
        before = _read_env(profile)
        env = with_variable(before, name, None) if name else before
        if config is None and env == before:
            raise NotFoundError(f"{key[:120]} is not set", next_step="see `hermesctl config show`")
        return _write(profile, config=config, env_after=env, variable=name if env != before else "")


def _unset_servers(profile: Profile, key: str, claims: Claims) -> Change:
    _shape_at(key)
    with changing(profile):
        data, env = _read_config(profile), _read_env(profile)
        tree = tree_of(data, str(profile.config_path))
        config = _without_key(profile, key)
        if config is None:
            raise NotFoundError(f"{key[:120]} is not set", next_step="see `hermesctl config show`")
        found = unneeded(tree, [tuple(key.split("."))], config, env, claims.is_read)
        return _write_servers(profile, (config, env), {}, found, claims)


def write_config(profile: Profile, data: bytes) -> Change:
    """Replace config.yaml by contents that load. Raises ConfigError with file:line, ConflictError."""
    with changing(profile):
        return _write(profile, config=data, strict=True)


# -- the key and its value ---------------------------------------------------------------------------------------------


def _shape_at(key: str) -> Shape | None:
    """The shape of a dotted key; None below a key of hermes-agent's that means nothing here. Raises UsageError."""
    shape = shape_of(Config)
    for name in key.split("."):
        if (struct := shape.struct) is not None:
            if name in shape.fields:
                shape = shape.fields[name]
                continue
            known = foreign.KNOWN.get(struct, frozenset())
            if name in known:
                return None
            near = difflib.get_close_matches(name, [*shape.fields, *known], n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(shape.fields)}"
            raise UsageError(f"there is no key {key[:120]!r}", next_step=hint)
        if shape.kind != "map" or shape.item is None or not name:
            raise UsageError(f"there is no key {key[:120]!r}", next_step="set the whole list or section")
        shape = shape.item
    return shape


def _goes_to_env(key: str, shape: Shape | None, text: str = "") -> bool:
    """Whether a value is a secret, and none that refers to .env already."""
    if shape is None or shape.kind != "scalar":
        return False
    return is_secret(key) and not _WHOLLY_REFERENCE.fullmatch(text)


def _value(key: str, text: str, shape: Shape | None) -> Any:  # noqa: ANN401 - a YAML value
    if shape is None or (shape.kind != "scalar" and text.lstrip()[:1] in ("[", "{")):
        return load(text)
    if shape.kind == "list" and shape.item is not None and shape.item.kind == "scalar":
        words = [word.strip() for word in text.split(",")]
        return [_scalar(key, word, shape.item) for word in words if word]
    if shape.kind != "scalar":
        raise UsageError(f"{key} must be {shape.expected}", next_step="write it as [a, b] or {key: value}")
    return _scalar(key, text, shape)


def _scalar(key: str, text: str, shape: Shape) -> Any:  # noqa: ANN401 - a YAML value
    if "${" in text:
        return text
    try:
        value = to_value(text, shape, plain=True)
    except ValueError as error:
        raise ConfigError(f"{key} must be {error}, not {text[:60]!r}", next_step="give another value") from None
    return unambiguous(value)


# -- the document ------------------------------------------------------------------------------------------------------


def _with_key(profile: Profile, key: str, value: Any) -> bytes:  # noqa: ANN401 - a YAML value
    data = _read_config(profile)
    document = _document(data)
    _put(document, key.split("."), value, str(profile.config_path))
    return dump(document, data)


def _without_key(profile: Profile, key: str) -> bytes | None:
    """None when it was not set."""
    data = _read_config(profile)
    document = load(data.decode("utf-8-sig")) if data.strip() else None
    if not _drop(document, key.split(".")):
        return None
    return dump(document, data) if document else comments_of(data)


def _document(data: bytes) -> Any:  # noqa: ANN401 - a YAML mapping
    document = load(data.decode("utf-8-sig")) if data.strip() else None
    return from_comments(data) if document is None else document


def _put(document: Any, path: Sequence[str], value: Any, where: str) -> None:  # noqa: ANN401 - YAML values
    place = document
    *sections, last = path
    while sections:
        name = sections[0]
        below = place.get(name)
        if below is None:
            break
        if name == "model" and isinstance(below, str):
            below = widen(place, name, "default")
        if not isinstance(below, dict):
            raise ConfigError(f"{name} is no section", where=where, next_step="use config edit")
        place = below
        del sections[0]
    if sections:
        for name in reversed([*sections[1:], last]):
            value = {name: value}
        last = sections[0]
    place = _where_set(place, last)
    if place.get(last) is None:
        add(place, last, value)
    else:
        replace(place, last, value)


def _drop(document: Any, path: Sequence[str], *, keep: int = 0) -> bool:  # noqa: ANN401 - a YAML mapping
    """Remove a key, and sections that are empty then but for the upper ``keep``; whether it was there."""
    places: list[tuple[Any, str]] = []
    place = document
    for name in path:
        if not isinstance(place, dict):
            return False
        place = _where_set(place, name)
        if name not in place:
            return False
        places.append((place, name))
        place = place[name]
    depth = len(places) - 1
    while depth > keep and len(places[depth][0]) == 1:
        depth -= 1
    if depth >= keep:
        remove(*places[depth])
    return True


def _where_set(place: Any, name: str) -> Any:  # noqa: ANN401 - a YAML mapping
    """A platform's settings may stand under ``extra``; there they are changed."""
    extra = place.get("extra")
    return extra if name not in place and isinstance(extra, dict) and name in extra else place


# -- the files ---------------------------------------------------------------------------------------------------------


def _read_config(profile: Profile) -> bytes:
    data = _read(profile.config_path, MAX_CONFIG_BYTES)
    parse(data, str(profile.config_path))  # the bounds of a file that is safe to load as a whole
    return data


def _read_env(profile: Profile) -> bytes:
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


def _write(
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
    before = _read_env(profile)
    env = before if env is None else env
    env_after = env if env_after is None else env_after
    notices = _examine(profile, profile, config, env_after if env_after != before else None, strict=strict)
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


def _examine(
    profile: Profile, origin: Profile, config: bytes | None, env: bytes | None, *, strict: bool
) -> tuple[str, ...]:
    """The notices of new contents (None: those of ``origin``). Raises ConfigError for a problem that they bring."""
    old_config = _read(origin.config_path, MAX_CONFIG_BYTES) or None
    old_env = _read_env(origin)
    new = examine_contents(profile, old_config if config is None else config, old_env if env is None else env)
    if new.problems:
        known = () if strict else {found.what for found in examine_contents(profile, old_config, old_env).problems}
        for problem in new.problems:
            if problem.what not in known:
                raise problem
    return tuple(new.notices)
