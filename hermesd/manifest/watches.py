"""``watches:``, with the fields of ``watch add``. Watches are rows of the store, and a service works by them."""

from __future__ import annotations

import functools
import secrets
from typing import TYPE_CHECKING

import msgspec

from hermesd.errors import HermesError
from hermesd.manifest.document import entry_shape
from hermesd.manifest.entry import Key
from hermesd.rpc.wire_watch import WatchFields
from hermesd.store.records import WatchPut, WatchRemoval, WatchRow
from hermesd.triggers import watch, watch_desk
from hermesd.triggers.watch import WatchSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hermesd.manifest.entry import Batch, Change, Entry
    from hermesd.manifest.merge import Fields
    from hermesd.rpc.context import Daemon
    from hermesd.store.records import WatchState

_DEFAULTS: Fields = {
    **{name: getattr(WatchSpec(kind="file"), name) for name in watch_desk.PLAIN},
    "every": "",
    "paused": False,
}


class Watches:
    """See ``entry.Kind``. A changed watch begins anew: what it looks at then is what differences count from."""

    section = "watches"
    noun = "watch"
    shape = entry_shape(WatchFields, without=("name",), paused=bool)

    def __init__(self, daemon: Daemon, new_profiles: Mapping[str, Fields]) -> None:
        self._daemon = daemon
        self._rows: dict[Key, WatchRow] = {}

    async def live(self) -> dict[Key, Fields]:
        """Every watch."""
        rows = await self._daemon.store.watches.listing()
        self._rows = {Key(self.section, row.profile, row.name): row for row in rows}
        return {key: _fields(watch.decode(row.spec), paused=row.state == "paused") for key, row in self._rows.items()}

    def defaults(self, key: Key) -> Fields:
        """The zone is the profile's."""
        try:
            return {**_DEFAULTS, "timezone": self._daemon.routines.owner(key.profile).timezone}
        except HermesError:  # of a profile that is gone, broken or yet to be made
            return _DEFAULTS

    def expect(self, entries: Iterable[Entry]) -> None:
        """They do not name each other."""

    def check(self, entry: Entry) -> Fields:
        """As ``watch add`` would understand it."""
        whole = _fields(self._spec(entry.key, entry.fields), paused=bool(entry.fields.get("paused")))
        return {name: whole[name] for name in sorted(entry.fields) if name in whole}

    def unfold(self, key: Key, fields: Fields) -> Fields:
        """What is not the default."""
        defaults = self.defaults(key)
        return {name: value for name, value in fields.items() if value != defaults.get(name)}

    def enact(self, change: Change, batch: Batch) -> None:
        """A row, and the service told of it."""
        row = self._rows.get(change.key)
        if change.step.action == "delete":
            assert row is not None
            batch.rows.append(WatchRemoval(id=row.id, expected=row.spec))
        else:
            assert change.fields is not None
            fields = dict(change.fields)
            if row is not None:
                old = _fields(watch.decode(row.spec), paused=row.state == "paused")
                fields = old | {field.name: field.after for field in change.step.fields}
            state: WatchState = "paused" if fields.get("paused") else "active"
            spec = watch.encode(self._spec(change.key, fields))
            new = row or WatchRow(id=secrets.token_hex(4), profile=change.key.profile, name=change.key.name, spec=spec)
            primed = row is not None and row.spec == spec and row.state == state and row.primed
            put = msgspec.structs.replace(new, spec=spec, state=state, primed=primed, error="")
            batch.rows.append(WatchPut(watch=put, expected=row.spec if row else None))
            row = put
        batch.after_rows.append(functools.partial(self._daemon.watching.refresh, row.id))

    def _spec(self, key: Key, fields: Fields) -> WatchSpec:
        given = {name: value for name, value in fields.items() if name != "paused" and value not in ("", [])}
        return watch_desk.read_fields(self._daemon.routines.owner(key.profile), msgspec.convert(given, WatchFields))


def _fields(spec: WatchSpec, *, paused: bool) -> Fields:
    found: Fields = {name: getattr(spec, name) for name in watch_desk.PLAIN}
    schedule = spec.schedule
    zone = {"timezone": schedule.zone} if schedule else {}
    return found | zone | {"every": schedule.text if schedule else "", "paused": paused}
