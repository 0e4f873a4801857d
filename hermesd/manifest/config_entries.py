"""What webhooks and MCP servers have in common: they are sections of a profile's config.yaml."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from hermesd.config.managed import manager_of
from hermesd.config.raw import contents, with_references
from hermesd.config.schema import Config
from hermesd.config.shape import Shape
from hermesd.config.write import Edit
from hermesd.errors import ConfigError, NotFoundError
from hermesd.manifest import secrets
from hermesd.manifest.entry import Key, profile_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hermesd.manifest.entry import Batch, Change, Entry
    from hermesd.manifest.merge import Fields
    from hermesd.rpc.context import Daemon

FILE_THREADS = trio.CapacityLimiter(1)


class ConfigEntries(abc.ABC):
    """See ``entry.Kind``. A subclass says where the sections are, and what else there is about one."""

    section: str
    noun: str
    shape: Shape
    path: tuple[str, ...]
    """Of the map of sections in config.yaml."""
    blank: msgspec.Struct
    """One with all its defaults."""

    def __init__(self, daemon: Daemon, new_profiles: Mapping[str, Fields]) -> None:
        self._daemon = daemon
        self._new_profiles = new_profiles
        self.files: dict[str, bytes] = {}
        self.configs: dict[str, Config] = {}
        self._broken: dict[str, ConfigError] = {}

    async def live(self) -> dict[Key, Fields]:
        """Those of every profile whose config.yaml can be read."""
        await trio.to_thread.run_sync(self._read, limiter=FILE_THREADS)
        return {
            Key(self.section, profile, name): flat(found)
            for profile, config in self.configs.items()
            if profile not in self._new_profiles
            for name, found in self.sections(config).items()
        }

    def _read(self) -> None:
        home = self._daemon.home
        for profile in home.profiles():
            try:
                self.files[profile.name] = contents(profile)
                self.configs[profile.name] = with_references(self.files[profile.name], str(profile.config_path))
            except ConfigError as error:
                self._broken[profile.name] = error
        for name, fields in self._new_profiles.items():
            origin = str(fields.get("clone_from") or "")
            self.files[name] = self.files.get(origin, b"")
            self.configs[name] = self.configs.get(origin, Config())

    @abc.abstractmethod
    def sections(self, config: Config) -> Mapping[str, msgspec.Struct]:
        """The sections of a configuration by name."""

    def defaults(self, key: Key) -> Fields:
        """Those of the schema. Raises ConfigError for a profile whose config.yaml cannot be read."""
        if key.profile in self._broken:
            raise self._broken[key.profile]
        return flat(self.blank)

    def expect(self, entries: Iterable[Entry]) -> None:  # noqa: B027 - most kinds have nothing to add
        """They do not name each other."""

    def check(self, entry: Entry) -> Fields:
        """References instead of secrets, and nothing that somebody else declares."""
        profile = entry.key.profile
        if profile in self._broken:
            raise self._broken[profile]
        if profile not in self.configs:
            step = f"declare it too: `profiles: {{{profile}: {{}}}}`, or see `hermesctl profile list`"
            raise NotFoundError(f"there is no profile {profile!r}", next_step=step)
        return dict(sorted(secrets.resolved(entry.fields).items()))

    def unfold(self, key: Key, fields: Fields) -> Fields:
        """What is not the default."""
        defaults = self.defaults(key)
        return {name: value for name, value in fields.items() if value != defaults.get(name)}

    def enact(self, change: Change, batch: Batch) -> None:
        """Edits of config.yaml: a whole section, or the fields that change."""
        key = change.key
        path = (*self.path, key.name)
        manager = manager_of(self._daemon.home)
        if manager is not None and not batch.by_manager and manager.declares(".".join(path), key.profile):
            raise manager.refusal(f"{change.step.action} {self.noun} {key.name}")
        edits = batch.of(key.profile)
        edits.expected = None if key.profile in self._new_profiles else self.files[key.profile]
        if change.step.action == "delete":
            edits.config.append(Edit(path, None))
        elif change.step.action == "create":
            assert change.fields is not None
            edits.config.append(Edit(path, nested(change.fields)))
        else:
            assert change.fields is not None
            for field in change.step.fields:  # what is not declared any more is taken out, which makes it the default
                after = field.after if field.name in change.fields else None
                edits.config.append(Edit((*path, *field.name.split(".")), after, keep=len(path)))

    def variables(self, profile: str) -> Mapping[str, str]:
        """What .env sets. Raises ConfigError."""
        from hermesd.config.env import load_env

        origin = str(self._new_profiles.get(profile, {}).get("clone_from") or profile)
        return load_env(profile_at(self._daemon.home, origin).env_path, [])


def flat(found: msgspec.Struct, path: str = "") -> Fields:
    """A section's fields as ``a.b``, those of maps within too; lists stay lists."""
    fields: Fields = {}
    for name in found.__struct_fields__:
        value: Any = getattr(found, name)  # Any: a field of a schema
        full = f"{path}{name}"
        if isinstance(value, msgspec.Struct):
            fields |= flat(value, f"{full}.")
        elif isinstance(value, dict):
            fields |= {f"{full}.{key}": below for key, below in value.items()}
        else:
            fields[full] = value
    return fields


def nested(fields: Fields) -> Fields:
    """The inverse, for what is written."""
    found: Fields = {}
    for name, value in fields.items():
        *above, last = name.split(".")
        place = found
        for each in above:
            place = place.setdefault(each, {})
        place[last] = value
    return found
