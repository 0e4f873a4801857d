"""The manifest: what a home is declared to be (docs/activation.md has every key; ``container`` is another verb's).

It is read as JSON, strictly: a key that nobody knows, or one that is given twice, is an error with the nearest name.
"""

from __future__ import annotations

import difflib
import re
from pathlib import PurePosixPath
from typing import Any, Literal

import msgspec

from hermesd.config.document import MAX_DEPTH
from hermesd.config.secret_keys import VARIABLE
from hermesd.deploy.container.manifest import SCHEMA, Env, read_object
from hermesd.errors import ConfigError, HermesError
from hermesd.home import DEFAULT_PROFILE, check_profile_name

MODE = re.compile(r"0?[0-7]{3}", re.ASCII)
CREDENTIAL = "credential:"
RESERVED = frozenset(
    {".activation", ".config.lock", ".container-mode", ".env", ".managed", "active_profile", "auth.json", "config.yaml"}
    | {"gateway_state.json", "hermesd.pid", "hermesd.sock", "logs", "plugins", "profiles"}
    | {"state.db", "state.db-shm", "state.db-wal"}
)
"""Names at the top of a profile that no file of a manifest may have: other keys, or hermesd itself, write them."""
OWNER_READS = 0o400
"""Without it the next activation could not tell what the file holds."""
_NAME_BYTES = 255
_MODE = "give a mode like 0400, 0600 or 0644"
_SEE = "see docs/activation.md"


class ConfigPart(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """config.yaml: ``value``, or what the YAML file ``source`` holds. ``mode`` '': merge a value, copy a source."""

    mode: Literal["", "merge", "replace"] = ""
    value: dict[str, Any] | None = None
    source: str = ""

    @property
    def is_merged(self) -> bool:
        """Whether the user's own keys stay."""
        return self.mode == "merge" or (not self.mode and not self.source)


class FilePart(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One file. ``target`` is relative; ``mode`` is octal, as chmod(1) takes it."""

    target: str
    mode: str = "0600"
    text: str | None = None
    source: str = ""

    @property
    def bits(self) -> int:
        """The mode as a number."""
        return int(self.mode, 8)


class AuthPart(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """auth.json, put there once, or (``force``) every time."""

    source: str
    force: bool = False


class ManagerPart(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Who declares, and the command that brings a change of it about."""

    name: str = "NixOS"
    rebuild: str = ""


class ProfilePart(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename="camel"):
    """One agent. ``files`` lie below its home, ``documents`` below ``workingDirectory``."""

    description: str = ""
    working_directory: str = ""
    config: ConfigPart = ConfigPart()
    env: Env = Env()
    files: list[FilePart] = []
    documents: list[FilePart] = []
    auth: AuthPart | None = None
    plugins: list[Any] = []
    sidecar: dict[str, Any] | None = None
    cron: list[dict[str, Any]] = []
    webhooks: list[dict[str, Any]] = []
    watches: list[dict[str, Any]] = []


class Manifest(ProfilePart, frozen=True, rename="camel"):
    """The whole: the default profile, and others below ``profiles``."""

    schema: int = 0
    package: str = ""
    home: str = ""
    state_dir: str = ""
    managed_by: str | ManagerPart = ""
    profiles: dict[str, ProfilePart] = {}
    container: dict[str, Any] | None = None

    @property
    def manager(self) -> ManagerPart:
        """Who declares."""
        return self.managed_by if isinstance(self.managed_by, ManagerPart) else ManagerPart(self.managed_by or "NixOS")

    def agents(self) -> dict[str, ProfilePart]:
        """Every profile by name, the default one first."""
        return {DEFAULT_PROFILE: self, **self.profiles}


def parse(data: bytes, where: str, *, home: str = "") -> Manifest:
    """A manifest that is whole and makes sense; ``home`` is that of one that names none. Raises ConfigError."""
    raw = read_object(data, where, see=_SEE)
    _refuse_unless(_depth(raw) <= MAX_DEPTH, f"is nested more than {MAX_DEPTH} levels deep", where)
    try:
        found = msgspec.convert(raw, Manifest)
    except msgspec.ValidationError as error:
        what = "".join(char if char.isprintable() else "�" for char in str(error)[:300])  # it repeats a key's name
        raise ConfigError(what, where=where, next_step=_nearest(str(error))) from None
    _refuse_unless(found.schema == SCHEMA, f"schema is {found.schema}; this hermesctl reads {SCHEMA}", where)
    above = found.state_dir and f"{found.state_dir.rstrip('/')}/.hermes"
    _check_path("home", found.home or above or home, where)
    found = msgspec.structs.replace(found, home=str(PurePosixPath(found.home or above or home)))
    if found.state_dir:
        _check_path("stateDir", found.state_dir, where)
    _check_manager(found.manager, where)
    for name, agent in found.agents().items():
        prefix = "" if agent is found else f"profiles.{name}."
        if prefix:
            _check_profile(name, where)
            what = f"{prefix}sidecar: there is one for the home"
            _refuse_unless(agent.sidecar is None, what, where, "move it up")
        _check_agent(agent, prefix, where)
        root = PurePosixPath(found.home) / (f"profiles/{name}" if prefix else "")
        _check_documents(agent, root, prefix, where)
    return found


def _depth(value: Any) -> int:  # noqa: ANN401 - plain data
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        depth += 1
        maps = [list(each.values()) if isinstance(each, dict) else each for each in level]
        level = [below for each in maps if isinstance(each, list) for below in each]
    return depth


def _nearest(message: str) -> str:
    """For an unknown key, the known one that was probably meant."""
    unknown = re.search(r"unknown field `([^`]*)`", message)
    kinds = (Manifest, ConfigPart, FilePart, AuthPart, ManagerPart, Env)
    known = [field.encode_name for kind in kinds for field in msgspec.structs.fields(kind)]
    near = difflib.get_close_matches(unknown[1], known, n=1) if unknown else []
    return f"did you mean {near[0]}?" if near else _SEE


def _check_profile(name: str, where: str) -> None:
    try:
        check_profile_name(name)
    except HermesError as error:
        raise ConfigError(f"profiles: {error.what}", where=where, next_step=error.next_step) from None


def _check_manager(manager: ManagerPart, where: str) -> None:
    for key, text in (("name", manager.name), ("rebuild", manager.rebuild)):
        _refuse_unless(text.isprintable() and len(text) <= 200, f"managedBy.{key} cannot be {text[:60]!r}", where)
    is_name = bool(manager.name) and not set(manager.name) & set("=#")
    _refuse_unless(is_name, f"managedBy.name cannot be {manager.name[:60]!r}", where)


def _check_agent(agent: ProfilePart, prefix: str, where: str) -> None:
    config = agent.config
    _refuse_unless(config.value is None or not config.source, f"{prefix}config has a value and a source", where)
    _refuse_unless(
        config.is_merged or not agent.webhooks,
        f"{prefix}webhooks cannot be beside a config that replaces the whole file",
        where,
        "declare them in config, as platforms.webhook.routes",
    )
    if agent.working_directory:
        _check_path(f"{prefix}workingDirectory", agent.working_directory, where)
    for key, sources in (
        ("config.source", [config.source] if config.source else []),
        ("env.files", agent.env.files),
        ("auth.source", [agent.auth.source] if agent.auth else []),
        ("files", [each.source for each in agent.files if each.source]),
        ("documents", [each.source for each in agent.documents if each.source]),
    ):
        for source in sources:
            _check_source(f"{prefix}{key}", source, where)
    for name, value in agent.env.values.items():
        _refuse_unless(
            bool(VARIABLE.fullmatch(name)), f"{prefix}env.values: {name[:60]!r} is no variable's name", where
        )
        is_text = "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)
        _refuse_unless(is_text, f"{prefix}env.values.{name} holds a NUL, or is no text", where)
    _check_files(f"{prefix}files", agent.files, where, reserved=RESERVED)
    _check_files(f"{prefix}documents", agent.documents, where, reserved=frozenset())
    _check_named(f"{prefix}cron", agent.cron, where)
    _check_named(f"{prefix}webhooks", agent.webhooks, where)
    _check_named(f"{prefix}watches", agent.watches, where)


def _check_files(key: str, files: list[FilePart], where: str, *, reserved: frozenset[str]) -> None:
    seen: set[PurePosixPath] = set()
    for file in files:
        target = PurePosixPath(file.target)
        at = f"{key}: {file.target[:80]!r}"
        is_below = file.target and not target.is_absolute() and ".." not in target.parts and target.parts
        _refuse_unless(bool(is_below) and file.target.isprintable(), f"{at} is no path below its directory", where)
        fits = all(len(name.encode()) <= _NAME_BYTES for name in target.parts)
        _refuse_unless(fits, f"{at} has a name of more than {_NAME_BYTES} bytes", where)
        _refuse_unless(target.parts[0] not in reserved, f"{at} is not for files", where, f"use its own key; {_SEE}")
        _refuse_unless((file.text is None) != (not file.source), f"{at} needs either text or source", where)
        _refuse_unless(bool(MODE.fullmatch(file.mode)), f"{at} cannot have the mode {file.mode[:20]!r}", where)
        _refuse_unless(
            bool(file.bits & OWNER_READS), f"{at}: its owner may not read the mode {file.mode}", where, _MODE
        )
        _refuse_unless(target not in seen, f"{at} is declared twice", where)
        seen.add(target)
    for target in seen:
        inside = next((each for each in target.parents if each in seen), None)
        _refuse_unless(inside is None, f"{key}: {inside} is a file and has {target} below it", where)


def _check_documents(agent: ProfilePart, root: PurePosixPath, prefix: str, where: str) -> None:
    """A working directory may lie in the home: documents there are not to be what other keys write."""
    directory = PurePosixPath(agent.working_directory or root / "workspace")
    if not directory.is_relative_to(root):
        return
    files = {PurePosixPath(file.target) for file in agent.files}
    for document in agent.documents:
        target = (directory / document.target).relative_to(root)
        is_free = target.parts[0] not in RESERVED and target not in files
        what = f"{prefix}documents: {document.target[:80]!r} would be {str(target)[:80]!r} of the home"
        _refuse_unless(is_free, what, where, f"use its own key; {_SEE}")


def _check_named(key: str, entries: list[dict[str, Any]], where: str) -> None:
    names = [entry.get("name") for entry in entries]
    _refuse_unless(all(isinstance(name, str) and name for name in names), f"{key}: an entry has no name", where)
    twice = next((name for name in names if names.count(name) > 1), None)
    _refuse_unless(twice is None, f"{key}: {str(twice)[:60]!r} is declared twice", where)


def _check_source(key: str, source: str, where: str) -> None:
    """An absolute path, or a credential of the service; ``-`` before it: it may be missing."""
    named = source.removeprefix("-")
    if named.startswith(CREDENTIAL):
        name = named.removeprefix(CREDENTIAL)
        is_name = name.isprintable() and name not in ("", ".", "..") and "/" not in name
        _refuse_unless(is_name, f"{key}: {source[:80]!r} names no credential", where, "write credential:NAME")
    else:
        _check_path(key, named, where)


def _check_path(key: str, path: str, where: str) -> None:
    pure = PurePosixPath(path)
    is_right = pure.is_absolute() and ".." not in pure.parts and path.isprintable()
    _refuse_unless(is_right, f"{key} {path[:80]!r} is not an absolute path", where, "write it out")
    _refuse_unless(len(pure.parts) > 1, f"{key} cannot be /", where, "name a directory below it")


def _refuse_unless(is_right: bool, what: str, where: str, next_step: str = "correct the manifest") -> None:
    if not is_right:
        raise ConfigError(what, where=where, next_step=next_step)
