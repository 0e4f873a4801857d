"""Making and changing watches: what a person wrote becomes a watch that can work, or is refused with the reason."""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING

import msgspec

from hermesd.errors import ConflictError, UsageError
from hermesd.store.records import WatchRow
from hermesd.triggers import naming, schedule, turn_check
from hermesd.triggers import watch as watches
from hermesd.triggers.script import find_script
from hermesd.triggers.turn_spec import TurnSpec
from hermesd.triggers.watch import MAX_DEBOUNCE_S, MIN_DEBOUNCE_S, WatchSpec
from hermesd.triggers.watch_files import home_of
from hermesd.triggers.watch_pattern import parse_pattern

if TYPE_CHECKING:
    from hermesd.rpc.wire_watch import WatchFields
    from hermesd.store.protocol import Store
    from hermesd.triggers.turn_check import Owner

MAX_WATCHES = 1000  # of one profile
MAX_PATTERNS = 16
MAX_STATES = 10
KINDS = {"files": "file", "command": "command", "unit": "unit"}
BELONGS = {"every": "command", "timezone": "command", "states": "unit", "bus": "unit"}
FLAGS = {"every": "--every", "timezone": "--tz", "states": "--states", "bus": "--user"}
UNIT = re.compile(r"[A-Za-z0-9:_.@\\-]{1,255}")
UNIT_TYPES = ("service", "socket", "mount", "automount", "swap", "target", "path", "timer", "slice", "scope", "device")
STATES = ("active", "reloading", "inactive", "failed", "activating", "deactivating", "maintenance")
FREE = frozenset({"workspace", "scripts", "skills", "memories"})
"""Directories of a home in which nothing is written but what a person or an agent means to write."""

PLAIN = (
    *TurnSpec.__struct_fields__,
    "files",
    "command",
    "unit",
    "bus",
    "states",
    "mode",
    "debounce_s",
    "while_running",
)
"""Fields that stand in the watch as they are given."""

BOUNDS = {**turn_check.BOUNDS, "debounce_s": (MIN_DEBOUNCE_S, MAX_DEBOUNCE_S)}


class WatchDesk:
    """Watches by what people say of them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, owner: Owner, fields: WatchFields, *, paused: bool = False) -> WatchRow:
        """Make a watch. Raises UsageError, ConfigError, ConflictError, NotFoundError (a skill)."""
        existing = await self._store.watches.listing(profile=owner.name)
        if len(existing) >= MAX_WATCHES:
            raise ConflictError(
                f"there are {MAX_WATCHES} watches already", next_step="remove some: hermesctl watch list"
            )
        spec = read_fields(owner, fields)
        taken = {watch.name for watch in existing}
        name = naming.checked_name(fields.name) or _name(spec, taken)
        row = WatchRow(
            id=secrets.token_hex(4),
            profile=owner.name,
            name=name,
            spec=watches.encode(spec),
            state="paused" if paused else "active",
        )
        return await self._store.watches.put(row)

    async def switch(self, watch: WatchRow, *, paused: bool) -> WatchRow:
        """Pause or resume. What changed while it was paused is taken as seen."""
        state = "paused" if paused else "active"
        primed = watch.primed and watch.state == state
        return await self._store.watches.put(msgspec.structs.replace(watch, state=state, primed=primed, error=""))

    async def find(self, reference: str, *, profile: str | None) -> WatchRow:
        """By id, beginning of an id, or name. Raises NotFoundError, ConflictError (several)."""
        rows = await self._store.watches.listing(profile=profile)
        return naming.find(rows, reference, noun="watch", plural="watches", listing="hermesctl watch list")


def read_fields(owner: Owner, fields: WatchFields) -> WatchSpec:
    """A watch as it was described. Raises UsageError, ConfigError, NotFoundError for what could not work."""
    kinds = [kind for name, kind in KINDS.items() if getattr(fields, name)]
    if len(kinds) != 1:
        raise UsageError(
            f"a watch looks at one kind of thing, {len(kinds)} are given",
            next_step="give --file PATTERN, or --command SCRIPT with --every, or --unit NAME",
        )
    _check_kind(kinds[0], fields)
    given = turn_check.given(fields, PLAIN, BOUNDS)
    if fields.every:
        zone = fields.timezone or owner.timezone
        given["schedule"] = schedule.parse(fields.every, zone_name=zone, now=time.time())
    if "unit" in given and "." not in given["unit"]:
        given["unit"] += ".service"
    spec = WatchSpec(kind=kinds[0], **given)  # type: ignore[arg-type]  # one of KINDS' values
    _CHECKS[spec.kind](owner, spec)
    if not spec.prompt.strip():
        raise UsageError("a watch needs a prompt", next_step="say what is to be done when something changes")
    turn_check.check_turn(owner, spec)
    return spec


def _check_kind(kind: str, fields: WatchFields) -> None:
    """Refuse what would have no effect. Raises UsageError."""
    for name, belongs in BELONGS.items():
        if kind != belongs and getattr(fields, name) not in (None, "", [], "system"):
            raise UsageError(f"{FLAGS[name]} is for a watch of a {belongs}", next_step=f"leave {FLAGS[name]} out")


def _check_files(owner: Owner, spec: WatchSpec) -> None:
    if len(spec.files) > MAX_PATTERNS:
        raise UsageError(f"there are {len(spec.files)} patterns", next_step=f"give {MAX_PATTERNS} at most")
    home = home_of(owner.profile)
    for text in spec.files:
        base = parse_pattern(text).base
        if base == "/":
            raise UsageError(f"{text[:80]!r} is all of this machine", next_step="name a directory")
        if base == home or (base.startswith(f"{home}/") and not FREE.intersection(base.removeprefix(home).split("/"))):
            raise UsageError(
                f"{text[:80]!r} lies where the daemon itself writes",
                next_step=f"of its home only these can be watched: {', '.join(sorted(FREE))}",
            )


def _check_command(owner: Owner, spec: WatchSpec) -> None:
    find_script(spec.command, owner.root / "scripts")
    if spec.schedule is None or spec.schedule.kind == "once":
        raise UsageError("a command needs to be run again and again", next_step="give --every, like --every 10m")


def _check_unit(owner: Owner, spec: WatchSpec) -> None:
    del owner
    if not UNIT.fullmatch(spec.unit) or spec.unit.rpartition(".")[2] not in UNIT_TYPES:
        raise UsageError(f"{spec.unit[:80]!r} is no name of a unit", next_step="write it like nginx.service")
    unknown = [state for state in spec.states if state not in STATES]
    if unknown or len(spec.states) > MAX_STATES:
        raise UsageError(f"{str(unknown)[:80]} are no states of a unit", next_step=f"some of: {', '.join(STATES)}")


_CHECKS = {"file": _check_files, "command": _check_command, "unit": _check_unit}


def _name(spec: WatchSpec, taken: set[str]) -> str:
    """After what is watched, unlike all others."""
    subject = spec.command or spec.unit or (spec.files[0].rstrip("/").rpartition("/")[2] if spec.files else "")
    name = re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")[:40] or spec.kind
    return naming.free_name(name, taken)
