"""From files to what is to be done: everything is read and checked here, and nothing is changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.config.write import rehearse
from hermesd.errors import ConfigError, HermesError
from hermesd.manifest.document import PROFILES, Manifest, Source, read
from hermesd.manifest.entry import Batch, Change, Entry, Key, Kind, profile_at
from hermesd.manifest.kinds import KINDS
from hermesd.manifest.ledger import Ledger
from hermesd.manifest.merge import CHANGING, Fields, merge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.home import Home
    from hermesd.manifest.merge import Applied
    from hermesd.rpc.context import Daemon

AT_ONCE = 20
READING_THREADS = trio.CapacityLimiter(1)


@dataclass(slots=True)
class Plan:
    """What is to be done. ``revision`` names exactly this plan: another state or other files have another one."""

    name: str
    changes: list[Change]
    unmanaged: list[Key]
    revision: str
    kinds: dict[str, Kind]
    batch: Batch
    new_profiles: dict[str, Fields]
    ledger: Ledger
    applied: dict[Key, Applied]

    @property
    def pending(self) -> list[Change]:
        """Changes of what is there."""
        return [change for change in self.changes if change.step.action in CHANGING]

    @property
    def conflicts(self) -> list[Change]:
        """Changes that would undo what somebody did by hand."""
        return [change for change in self.changes if change.step.conflicts]


async def plan(daemon: Daemon, sources: Sequence[Source], *, profile: str = "", by_manager: bool = False) -> Plan:
    """Compare files with what is there. ``by_manager``: for whoever declares the configuration (``config.managed``).

    Raises ConfigError with file:line, StoreError.
    """
    shapes = {kind.section: kind.shape for kind in KINDS}
    manifest = await trio.to_thread.run_sync(lambda: read(sources, shapes, profile=profile), limiter=READING_THREADS)
    ledger = await Ledger.load(daemon.store)
    applied = ledger.of(manifest.name)
    there = {found.name for found in daemon.home.profiles()}
    new_profiles = {
        key.name: entry.fields
        for key, entry in manifest.entries.items()
        if key.section == PROFILES and key.name not in there
    }
    kinds: dict[str, Kind] = {kind.section: kind(daemon, new_profiles) for kind in KINDS}
    live: dict[Key, Fields] = {}
    for kind in kinds.values():
        live |= await kind.live()
    wanted = await _checked(manifest, kinds, ledger)
    changes = await _changes(manifest, kinds, applied, live, wanted)
    batch = await _enacted(changes, kinds, Batch(by_manager=by_manager))
    _check_gone(batch, manifest)
    origins = {name: str(fields.get("clone_from") or name) for name, fields in new_profiles.items()}
    await trio.to_thread.run_sync(_rehearse, daemon.home, batch, origins, changes, limiter=READING_THREADS)
    used = {change.key for change in changes}
    return Plan(
        manifest.name,
        changes,
        sorted(live.keys() - used - ledger.owners(but=manifest.name).keys()),
        _revision(manifest.name, used, applied, live, wanted),
        kinds,
        batch,
        {name: new_profiles[name] for name in batch.new_profiles},
        ledger,
        applied,
    )


async def _checked(manifest: Manifest, kinds: dict[str, Kind], ledger: Ledger) -> dict[Key, Fields]:
    """What is wanted, in canonical form. Raises ConfigError with the place in the file."""
    owners = ledger.owners(but=manifest.name)
    for section, kind in kinds.items():
        entries = [entry for key, entry in manifest.entries.items() if key.section == section]
        try:
            kind.expect(entries)
        except HermesError as error:
            where = entries[0].where if entries else ""
            raise ConfigError(error.what, where=where, next_step=error.next_step) from None
    wanted: dict[Key, Fields] = {}
    for number, (key, entry) in enumerate(manifest.entries.items()):
        await _let_others(number)
        if key in owners:
            step = f"keep it in one of them, or give this file `name: {owners[key]}`"
            raise ConfigError(f"{key} was applied as part of {owners[key]!r}", where=entry.where, next_step=step)
        try:
            wanted[key] = kinds[key.section].check(entry)
        except HermesError as error:
            raise ConfigError(
                f"{key.section}.{key.name}: {_in(error)}", where=_place(entry, error), next_step=error.next_step
            ) from None
    return wanted


async def _let_others(number: int) -> None:
    """The loop is not to be held for thousands of entries."""
    if number % AT_ONCE == 0:
        await trio.lowlevel.checkpoint()


def _in(error: HermesError) -> str:
    return f"{error.where}: {error.what}" if error.where else error.what


def _place(entry: Entry, error: HermesError) -> str:
    """The line of the field that the sentence begins with, else of the entry."""
    words = {error.what.partition(" ")[0].rstrip(":"), error.where}
    return next((line for name, line in entry.lines.items() if name in words), entry.where)


async def _changes(
    manifest: Manifest,
    kinds: dict[str, Kind],
    applied: dict[Key, Applied],
    live: dict[Key, Fields],
    wanted: dict[Key, Fields],
) -> list[Change]:
    order = list(kinds)
    keys = sorted(
        {key for key in wanted.keys() | applied.keys() if key.section in kinds},
        key=lambda key: (order.index(key.section), key.profile, key.name),
    )
    found = []
    for number, key in enumerate(keys):
        await _let_others(number)
        step = merge(applied.get(key), live.get(key), wanted.get(key), kinds[key.section].defaults(key))
        where = manifest.entries[key].where if key in manifest.entries else ""
        found.append(Change(key, step, wanted.get(key), where))
    return found


async def _enacted(changes: list[Change], kinds: dict[str, Kind], batch: Batch) -> Batch:
    for number, change in enumerate(changes):
        await _let_others(number)
        if change.step.action in CHANGING:
            try:
                kinds[change.key.section].enact(change, batch)
            except HermesError as error:
                what = f"{change.key.section}.{change.key.name}: {error.what}"
                raise ConfigError(what, where=change.where or error.where, next_step=error.next_step) from None
    return batch


def _check_gone(batch: Batch, manifest: Manifest) -> None:
    """Nothing may be wanted in a profile that is not."""
    for key, entry in manifest.entries.items():
        if key.profile in batch.gone_profiles:
            step = f"keep it: `profiles: {{{key.profile}: {{}}}}`, or move this to another profile"
            what = f"{key.section}.{key.name} is in the profile {key.profile!r}, which is not in the files any more"
            raise ConfigError(what, where=entry.where, next_step=step)


def _rehearse(home: Home, batch: Batch, origins: dict[str, str], changes: list[Change]) -> None:
    """Refuse what a configuration would not load with."""
    for name, edits in batch.edits.items():
        profile = profile_at(home, name)
        origin = profile_at(home, origins.get(name, name))
        try:
            rehearse(profile, origin, edits.config, edits.variables)
        except HermesError as error:
            guilty = (each for each in changes if each.key.profile == name and f".{each.key.name}" in error.what)
            where = next((each.where for each in guilty if each.where), "")
            step = error.next_step.partition(", or write $${")[0]  # which a manifest cannot hold
            raise ConfigError(error.what if where else _in(error), where=where, next_step=step) from None


def _revision(
    name: str, keys: set[Key], applied: dict[Key, Applied], live: dict[Key, Fields], wanted: dict[Key, Fields]
) -> str:
    parts = [(key, applied.get(key), live.get(key), wanted.get(key)) for key in sorted(keys)]
    return hashlib.sha256(msgspec.json.encode([name, parts], order="deterministic")).hexdigest()[:32]
