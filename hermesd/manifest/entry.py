"""What the parts of a manifest are called, and what a kind of them must do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from hermesd.home import DEFAULT_PROFILE, Profile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from hermesd.config.shape import Shape
    from hermesd.config.write import Edit
    from hermesd.home import Home
    from hermesd.manifest.merge import Fields, Step
    from hermesd.rpc.context import Daemon
    from hermesd.store.records import StoreChange


class Key(NamedTuple):
    """Which one. ``section`` is the file's: ``jobs``, ``webhooks`` and so on."""

    section: str
    profile: str
    name: str

    def __str__(self) -> str:
        return f"{self.section}/{self.profile}/{self.name}"


def profile_at(home: Home, name: str) -> Profile:
    """The profile of a name, also one that is yet to be made."""
    return home.default_profile if name == DEFAULT_PROFILE else Profile(name, home.profile_root(name))


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a file as it was read. ``where`` is file:line; ``lines`` are those of its fields."""

    key: Key
    fields: Fields
    where: str
    lines: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """A step with all that is needed to make it. ``fields`` are the wanted ones in their canonical form."""

    key: Key
    step: Step
    fields: Fields | None
    where: str = ""


@dataclass(slots=True)
class Edits:
    """Changes of a profile's config.yaml, which must still be ``expected``, and of its .env (None removes)."""

    config: list[Edit] = field(default_factory=list)
    variables: dict[str, str | None] = field(default_factory=dict)
    expected: bytes | None = None


@dataclass(slots=True)
class Batch:
    """What an apply does, in this order; each part is all or nothing.

    Profiles are made and described, each profile's files are written once, rows of the store change in one
    transaction, and profiles are removed last.
    """

    by_manager: bool = False
    """Whether whoever declares the configuration asks for it, and so may change what is declared."""
    new_profiles: list[str] = field(default_factory=list)
    descriptions: dict[str, str] = field(default_factory=dict)
    edits: dict[str, Edits] = field(default_factory=dict)
    rows: list[StoreChange] = field(default_factory=list)
    gone_profiles: list[str] = field(default_factory=list)
    before_rows: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    """What must run before rows change, by section: a service that takes them up."""
    after_rows: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """What has to be told that rows have changed. After a crash the daemon's start does it."""

    @property
    def touches_files(self) -> bool:
        """Whether anything but rows of the store changes."""
        return bool(self.new_profiles or self.descriptions or self.edits or self.gone_profiles)

    def of(self, profile: str) -> Edits:
        """The edits of a profile's files."""
        return self.edits.setdefault(profile, Edits())


class Kind(Protocol):
    """A kind of entry, made anew for each plan with the daemon and the profiles that the files make."""

    section: str
    noun: str
    shape: Shape
    """Of an entry in a file, which is refused where it does not fit."""

    def __init__(self, daemon: Daemon, new_profiles: Mapping[str, Fields]) -> None: ...

    async def live(self) -> dict[Key, Fields]:
        """Everything of this kind in all profiles, as flat fields; those with their default may be left out.

        Called once, before anything else.
        """

    def defaults(self, key: Key) -> Fields:
        """Of fields that are not named; a field without one has None. Raises HermesError (a profile in disorder)."""

    def expect(self, entries: Iterable[Entry]) -> None:
        """All entries of this kind that the files want, before the first of them is checked: they may name another."""

    def check(self, entry: Entry) -> Fields:
        """The canonical form of what the file says, flat. Raises HermesError for what could not be applied."""

    def unfold(self, key: Key, fields: Fields) -> Fields:
        """Live fields as a file would have them (for an export); only what is not the default."""

    def enact(self, change: Change, batch: Batch) -> None:
        """Put what makes the change into the batch. Raises HermesError."""
