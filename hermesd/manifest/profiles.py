"""``profiles:``, with the fields of ``profile create``. ``clone_from`` counts only when a profile is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.config.document import Scalar, parse
from hermesd.config.managed import refuse_managed
from hermesd.errors import ConfigError, ConflictError
from hermesd.home import DEFAULT_PROFILE, check_profile_name, read_bounded, write_private
from hermesd.manifest.document import entry_shape
from hermesd.manifest.entry import Key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hermesd.home import Home, Profile
    from hermesd.manifest.entry import Batch, Change, Entry
    from hermesd.manifest.merge import Fields
    from hermesd.rpc.context import Daemon

MAX_BYTES = 64 * 1024
MAX_DESCRIPTION = 1000
FILE_THREADS = trio.CapacityLimiter(1)


class ProfileEntry(msgspec.Struct):
    """What a file may say of a profile, besides what is nested below it."""

    description: str = ""
    clone_from: str = ""


class Profiles:
    """See ``entry.Kind``."""

    section = "profiles"
    noun = "profile"
    shape = entry_shape(ProfileEntry)

    def __init__(self, daemon: Daemon, new_profiles: Mapping[str, Fields]) -> None:
        self._daemon = daemon
        self._there: set[str] = set()

    async def live(self) -> dict[Key, Fields]:
        """Every profile with its description."""
        found = await trio.to_thread.run_sync(_descriptions, self._daemon.home, limiter=FILE_THREADS)
        self._there = set(found)
        return {Key(self.section, name, name): {"description": text} for name, text in found.items()}

    def defaults(self, key: Key) -> Fields:
        """Nothing is said."""
        return {"description": ""}

    def expect(self, entries: Iterable[Entry]) -> None:
        """They do not name each other."""

    def check(self, entry: Entry) -> Fields:
        """A name that a profile may have."""
        name, origin = entry.key.name, entry.fields.get("clone_from")
        if name not in self._there:
            check_profile_name(name)
            if origin:
                self._daemon.home.profile(origin)
        description = entry.fields.get("description", "")
        if len(description) > MAX_DESCRIPTION or not description.isprintable():
            raise ConfigError(
                f"description must be one line of at most {MAX_DESCRIPTION} characters", next_step="shorten it"
            )
        return {name: value for name, value in entry.fields.items() if name != "clone_from"}

    def unfold(self, key: Key, fields: Fields) -> Fields:
        """What is said."""
        return {name: value for name, value in fields.items() if value}

    def enact(self, change: Change, batch: Batch) -> None:
        """Directories and their profile.yaml."""
        name = change.key.name
        if change.step.action == "delete":
            if name == DEFAULT_PROFILE:
                raise ConflictError("the profile 'default' cannot be deleted", next_step="keep it in the file")
            if batch.by_manager:
                return  # what it declared goes; the agent with its sessions and memories is nobody's to delete
            refuse_managed(self._daemon.home, "profile", name, name, "delete")
            batch.gone_profiles.append(name)
        elif change.step.action == "create":
            batch.new_profiles.append(name)
        else:
            batch.descriptions[name] = next(field.after for field in change.step.fields if field.name == "description")


def _descriptions(home: Home) -> dict[str, str]:
    return {profile.name: _description(profile) for profile in home.profiles()}


def _description(profile: Profile) -> str:
    path = profile.root / "profile.yaml"
    try:
        found = parse(read_bounded(path, max_bytes=MAX_BYTES), str(path)).values.get("description")
    except (OSError, ConfigError):  # it is shown nowhere else, and a new one replaces it
        return ""
    return found.text if isinstance(found, Scalar) else ""


def describe(profile: Profile, description: str) -> None:
    """Change the description in profile.yaml, whatever else stands there. Raises ConfigError, OSError."""
    from hermesd.config.roundtrip import dump, from_comments, load, quoted

    path = profile.root / "profile.yaml"
    try:
        data = read_bounded(path, max_bytes=MAX_BYTES)
    except FileNotFoundError:
        data = b""
    document = load(data.decode("utf-8", "replace"))
    if not isinstance(document, dict):
        document = from_comments(b"")
    document["description"] = quoted(description)
    write_private(path, dump(document, data))
