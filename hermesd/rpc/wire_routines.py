"""The types of ``routines.*``: beside ``rpc.wire``."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from hermesd.rpc.wire import Params, Result


class RoutinesFile(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A manifest's text, and the name it has in messages."""

    name: str
    text: str


class RoutinesPlanParams(Params, kw_only=True):
    """Files that belong together. ``profile``: of entries and files that name none; empty: the default one."""

    files: list[RoutinesFile]
    profile: str = ""


class RoutinesApplyParams(Params, kw_only=True):
    """As for a plan. ``revision`` is that of the plan that was shown; another one is refused.

    ``force_conflicts`` takes the files' where somebody has changed the same by hand.
    """

    files: list[RoutinesFile]
    revision: str
    profile: str = ""
    force_conflicts: bool = False


class RoutinesField(Result, kw_only=True):
    """A field that changes. Absent ``before`` or ``after``: there is no value. ``by_hand``: since the last apply."""

    name: str
    before: Any = None  # JSON
    after: Any = None  # JSON
    by_hand: bool = False
    conflict: bool = False


class RoutinesChange(Result, kw_only=True):
    """What is done about an entry. ``keep`` and ``forget`` change nothing of it; ``where`` is file:line."""

    action: Literal["create", "update", "delete", "keep", "forget"]
    kind: str
    section: str
    profile: str
    name: str
    where: str = ""
    note: str = ""
    conflict: bool = False
    fields: list[RoutinesField] = msgspec.field(default_factory=list)


class RoutinesPlanResult(Result, kw_only=True):
    """``pending`` counts what is created, updated and deleted; ``unmanaged`` names what no apply has touched."""

    name: str
    revision: str
    pending: int
    conflicts: int
    changes: list[RoutinesChange]
    unmanaged: list[str] = msgspec.field(default_factory=list)


class RoutinesApplyResult(Result, kw_only=True):
    """What was done, and what of the configuration was not taken up."""

    message: str
    changes: list[RoutinesChange]
    refused: list[str] = msgspec.field(default_factory=list)


class RoutinesExportParams(Params, kw_only=True):
    """Empty ``profile``: those of every profile."""

    profile: str = ""
