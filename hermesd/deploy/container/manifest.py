"""The manifest: a JSON object that declares the container (docs/containers.md has an example).

It is the file that Nix renders for ``hermesctl activate``; the parts that belong to that verb are passed over here, and
any other unknown key is an error.
"""

from __future__ import annotations

import difflib
import json
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA = 1
MAX_MANIFEST_BYTES = 8 * 1024 * 1024
SEE = "see docs/containers.md"
OF_ACTIVATE = frozenset(
    {"workingDirectory", "managedBy", "config", "files", "documents", "auth", "plugins", "sidecar", "profiles"}
    | {"cron", "webhooks", "watches"}
)
"""Top-level keys that ``hermesctl activate`` reads."""
OPTION_NAMES = {"extraVolumes": "volumes", "extraOptions": "options", "entrypoint": "entrypointText"}
"""Names of the NixOS options → the manifest's."""
CONTAINER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}", re.ASCII)
USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.ASCII)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
WORD = re.compile(r"[a-zA-Z0-9][!-~]{0,255}", re.ASCII)
TEXT = re.compile(r"[^\0]{0,65536}")
MAX_ID = 2**31 - 1


class Env(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What goes into the home's .env: ``values``, then ``files`` in their order; later wins.

    A file is named by an absolute path; one with ``-`` before it may be missing.
    """

    values: dict[str, str] = {}
    files: list[str] = []


class Container(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename="camel"):
    """What ``create`` is given. ``store``: host directories that are seen inside at the same path, read-only."""

    image: str
    backend: Literal["docker", "podman"] = "docker"
    name: str = "hermes-agent"
    user: str = "hermes"
    uid: int = 10000
    gid: int = 10000
    network: str = "host"
    store: list[str] = msgspec.field(default_factory=lambda: ["/nix/store"])
    volumes: list[str] = []
    options: list[str] = []
    args: list[str] = []
    host_users: list[str] = []
    entrypoint_text: str = ""
    pull: Literal["always", "missing", "never"] = "always"


class Manifest(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename="camel"):
    """``state_dir`` is seen inside as /data; ``home`` (HERMES_HOME) lies in it, by default as ``.hermes``."""

    schema: int
    package: str
    container: Container
    state_dir: str = ""
    home: str = ""
    env: Env = Env()


def parse_manifest(data: bytes, where: str) -> Manifest:
    """A manifest that is whole and makes sense; raises ConfigError that says where it does not."""
    raw = read_object(data, where)
    try:
        found = msgspec.convert(_in_our_names(raw), Manifest)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error), where=where, next_step=_nearest(str(error))) from None
    found = _with_defaults(found, where)
    _check(found, where)
    return found


def read_object(data: bytes, where: str, *, see: str = SEE) -> dict[str, Any]:
    """The JSON object of a manifest, no key of which is given twice. Raises ConfigError; ``see`` is its next step."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise ConfigError(f"is larger than {MAX_MANIFEST_BYTES} bytes", where=where, next_step="make it smaller")
    try:
        raw = json.loads(data, object_pairs_hook=_unique)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error), where=where, next_step="keep one of them") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"is not JSON: {error}", where=where, next_step=see) from None
    if not isinstance(raw, dict):
        raise ConfigError("is not a JSON object", where=where, next_step=see)
    return raw


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, _ in pairs if [name for name, _ in pairs].count(key) > 1)
        raise msgspec.ValidationError(f"the key {twice[:60]!r} is given twice")
    return found


def _in_our_names(raw: dict[str, Any]) -> dict[str, Any]:
    """Without the parts of ``activate``, and with one name for each setting."""
    ours = {key: value for key, value in raw.items() if key not in OF_ACTIVATE}
    container = ours.get("container")
    if isinstance(container, dict):
        renamed = [(OPTION_NAMES.get(str(key), str(key)), value) for key, value in container.items()]
        ours["container"] = _unique(renamed)
    return ours


def _nearest(message: str) -> str:
    """For an unknown key, the known one that was probably meant."""
    unknown = re.search(r"unknown field `([^`]*)`", message)
    known = [field.encode_name for kind in (Manifest, Container, Env) for field in msgspec.structs.fields(kind)]
    near = difflib.get_close_matches(unknown[1], known, n=1) if unknown else []
    return f"did you mean {near[0]}?" if near else SEE


def _with_defaults(found: Manifest, where: str) -> Manifest:
    """``home`` and ``state_dir``, of which one follows from the other."""
    if not found.state_dir and not found.home:
        raise ConfigError("neither stateDir nor home is given", where=where, next_step="give stateDir")
    state_dir = found.state_dir or str(PurePosixPath(found.home).parent)
    return msgspec.structs.replace(found, state_dir=state_dir, home=found.home or f"{state_dir.rstrip('/')}/.hermes")


def _check(found: Manifest, where: str) -> None:
    container = found.container
    _refuse_unless(found.schema == SCHEMA, "schema", f"is {found.schema}; this hermesctl reads {SCHEMA}", where)
    for key, path in (("package", found.package), ("stateDir", found.state_dir), ("home", found.home)):
        _check_path(key, path, where)
    for key, paths in (("container.store", container.store), ("env.files", found.env.files)):
        for path in paths:
            _check_path(key, path.removeprefix("-") if key == "env.files" else path, where)
    is_inside = PurePosixPath(found.state_dir) in PurePosixPath(found.home).parents
    _refuse_unless(is_inside, "home", f"does not lie in {found.state_dir}", where)
    for key, pattern, words in (
        ("container.name", CONTAINER_NAME, [container.name]),
        ("container.user", USER_NAME, [container.user]),
        ("container.hostUsers", USER_NAME, container.host_users),
        ("container.image", WORD, [container.image]),
        ("container.network", WORD, [container.network]),
        ("env.values", VARIABLE, list(found.env.values)),
        ("container.volumes", TEXT, container.volumes),
        ("container.options", TEXT, container.options),
        ("container.args", TEXT, container.args),
        ("container.entrypointText", TEXT, [container.entrypoint_text]),
        ("env.values", TEXT, list(found.env.values.values())),
    ):
        for word in words:
            _refuse_unless(bool(pattern.fullmatch(word)), key, f"cannot be {word[:60]!r}", where)
    for key, number in (("container.uid", container.uid), ("container.gid", container.gid)):
        _refuse_unless(0 < number <= MAX_ID, key, f"is {number}, not that of an unprivileged user", where)


def _refuse_unless(is_right: bool, key: str, what: str, where: str) -> None:
    if not is_right:
        raise ConfigError(f"{key} {what}", where=where, next_step=f"correct it; {SEE}")


def _check_path(key: str, path: str, where: str) -> None:
    """Absolute, as it is meant, and with nothing that has a meaning in ``--mount``."""
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts or str(pure) == "/":
        raise ConfigError(f"{key} {path[:80]!r} is not an absolute path", where=where, next_step="write it out")
    if not path.isprintable() or set(path) & set(',:"'):
        raise ConfigError(
            f"{key} {path[:80]!r} holds a comma, colon, quote or control character", where=where, next_step="rename it"
        )
