"""``jobs:``, with the fields of ``cron create``. Jobs are rows of the store."""

from __future__ import annotations

import secrets
import time
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from hermesd.config.schema import Config
from hermesd.errors import ConfigError, HermesError, NotFoundError, UsageError
from hermesd.manifest.document import entry_shape
from hermesd.manifest.entry import Key
from hermesd.rpc.wire_cron import JobFields
from hermesd.store.records import JobPut, JobRemoval, JobRow
from hermesd.triggers import desk, turn_check
from hermesd.triggers import job as jobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hermesd.manifest.entry import Batch, Change, Entry
    from hermesd.manifest.merge import Fields
    from hermesd.rpc.context import Daemon
    from hermesd.store.records import JobState
    from hermesd.triggers.job import JobSpec
    from hermesd.triggers.turn_check import Owner

_DEFAULTS: Fields = {
    **{each.name: each.default for each in msgspec.structs.fields(jobs.JobSpec) if each.name in desk.PLAIN},
    "skills": [],
    "toolsets": [],
    "expires": "",
    "context_from": "",
    "paused": False,
}


class Jobs:
    """See ``entry.Kind``. ``expires`` and single instants must be instants: a length of time would move on."""

    section = "jobs"
    noun = "job"
    shape = entry_shape(JobFields, without=("name",), paused=bool)

    def __init__(self, daemon: Daemon, new_profiles: Mapping[str, Fields]) -> None:
        self._daemon = daemon
        self._new_profiles = new_profiles
        self._rows: dict[Key, JobRow] = {}
        self._specs: dict[Key, JobSpec] = {}
        self._ids: dict[Key, str] = {}
        self._owners: dict[str, Owner] = {}
        self._now = time.time()

    async def live(self) -> dict[Key, Fields]:
        """Every job."""
        rows = await self._daemon.store.jobs.listing()
        self._rows = {Key(self.section, row.profile, row.name): row for row in rows}
        self._ids = {key: row.id for key, row in self._rows.items()}
        names = {row.id: row.name for row in rows}
        return {
            key: _fields(jobs.decode(row.spec), names, paused=row.state == "paused") for key, row in self._rows.items()
        }

    def defaults(self, key: Key) -> Fields:
        """The zone is the profile's."""
        try:
            zone = self._owner(key.profile).timezone
        except HermesError:  # of a profile that is gone or broken: whatever it was
            return _DEFAULTS
        return {**_DEFAULTS, "timezone": zone}

    def expect(self, entries: Iterable[Entry]) -> None:
        """New jobs get their ids, which ``context_from`` of another may need."""
        for entry in entries:
            self._ids.setdefault(entry.key, secrets.token_hex(4))
        count: dict[str, int] = {}
        for key in self._ids:
            count[key.profile] = count.get(key.profile, 0) + 1
            if count[key.profile] > desk.MAX_JOBS:
                raise ConfigError(f"there would be more than {desk.MAX_JOBS} jobs", next_step="remove some")

    def check(self, entry: Entry) -> Fields:
        """As ``cron create`` would understand it."""
        said = entry.fields
        owner = self._owner(entry.key.profile)
        row = self._rows.get(entry.key)
        # What was in the future when the job was made is no mistake afterwards.
        now = min(self._now, row.created_at) if row else self._now
        fields = msgspec.convert({name: value for name, value in said.items() if name != "paused"}, JobFields)
        context = self._context(entry.key, fields.context_from)
        origin = jobs.decode(row.spec).origin if row else None
        spec = desk.drafted(owner, fields, now=now, context_from=context, origin=origin)
        for name in ("schedule", "expires"):
            if name in said and (name == "expires" or spec.schedule.kind == "once"):
                _check_instant(name, said[name])
        self._specs[entry.key] = spec
        whole = _fields(spec, {context: fields.context_from or ""}, paused=bool(said.get("paused")))
        named = {*said, "timezone"} if spec.schedule.zone != owner.timezone else {*said}
        return {name: whole[name] for name in sorted(named)}

    def unfold(self, key: Key, fields: Fields) -> Fields:
        """What is not the default."""
        defaults = self.defaults(key)
        found = {name: value for name, value in fields.items() if value != defaults.get(name)}
        if Key(key.section, key.profile, found.get("context_from", "")) not in self._rows:
            found.pop("context_from", None)  # that job is gone
        return found

    def enact(self, change: Change, batch: Batch) -> None:
        """Rows, with the spec that they had when this was planned."""
        batch.before_rows[self.section] = self._daemon.routines.ensure
        row = self._rows.get(change.key)
        if change.step.action == "delete":
            assert row is not None
            batch.rows.append(JobRemoval(id=row.id, expected=row.spec))
            return
        assert change.fields is not None
        if row is None:
            spec = self._specs[change.key]
            row = JobRow(
                id=self._ids[change.key], profile=change.key.profile, name=change.key.name, spec=jobs.encode(spec)
            )
            state: JobState = "paused" if change.fields.get("paused") else "active"
            batch.rows.append(JobPut(job=desk.moved(row, spec, self._now, state=state)))
            return
        batch.rows.append(JobPut(job=self._updated(row, change), expected=row.spec))

    def _updated(self, row: JobRow, change: Change) -> JobRow:
        given = {field.name: field.after for field in change.step.fields}
        paused = given.pop("paused", row.state == "paused")
        spec = jobs.decode(row.spec)
        if "schedule" in given or "timezone" in given:
            drafted = self._specs[change.key].schedule
            spec = msgspec.structs.replace(spec, schedule=drafted)
            given.pop("schedule", None)
            given.pop("timezone", None)
        context = self._context(change.key, given.get("context_from"))
        owner = self._owner(change.key.profile)
        now = min(self._now, row.created_at) if "expires" in given else self._now
        spec = desk.redrafted(owner, spec, msgspec.convert(given, JobFields), now=now, context_from=context)
        is_over = row.state == "ended" and spec.schedule.after(self._now) is None
        state: JobState = "paused" if paused else "ended" if is_over else "active"
        return desk.moved(msgspec.structs.replace(row, spec=jobs.encode(spec)), spec, self._now, state=state)

    def _context(self, key: Key, name: str | None) -> str:
        if not name:
            return ""
        found = self._ids.get(Key(key.section, key.profile, name))
        if found is None or name == key.name:
            raise UsageError(f"context_from: there is no other job {name[:80]!r}", next_step="give another job's name")
        return found

    def _owner(self, profile: str) -> Owner:
        if profile not in self._owners:
            self._owners[profile] = self._found_owner(profile)
        return self._owners[profile]

    def _found_owner(self, profile: str) -> Owner:
        routines = self._daemon.routines
        if profile not in self._new_profiles:
            try:
                return routines.owner(profile)
            except NotFoundError as error:
                error.next_step = f"declare it too: `profiles: {{{profile}: {{}}}}`, or see `hermesctl profile list`"
                raise
        origin = routines.owner(str(self._new_profiles[profile].get("clone_from") or "default"))
        is_clone = bool(self._new_profiles[profile].get("clone_from"))
        config, known = (origin.config, origin.secrets) if is_clone else (Config(), {})
        return turn_check.Owner(profile, self._daemon.home.profile_root(profile), origin.timezone, config, known)


def _fields(spec: JobSpec, names: Mapping[str, str], *, paused: bool) -> Fields:
    found: Fields = {name: getattr(spec, name) for name in desk.PLAIN}
    return found | {
        "schedule": spec.schedule.text,
        "timezone": spec.schedule.zone,
        "expires": spec.schedule.local(spec.expires_at) if spec.expires_at else "",
        "context_from": names.get(spec.context_from, spec.context_from),
        "paused": paused,
    }


def _check_instant(name: str, text: str) -> None:
    if not text:
        return
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{name} {text[:60]!r} would be another instant with every apply", next_step="write 2026-12-31T00:00"
        ) from None
