"""The three-way merge of one entry: what was applied last, what is there now, and what the files want.

Fields are flat (``tools.include``), and a field that is not named has its kind's default. Only fields that the files
name, or named when they were applied last, are ever changed; everything else is whoever's it is.

    not in the files   never applied            unmanaged: left alone
                       applied, made by us      delete, a conflict if somebody has changed it
                       applied, only taken over forgotten: it stays, and is not ours any more
    in the files       not there                create
                       there, and as wanted     keep
                       there, and different     update; a conflict where both sides have changed a field
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

Fields = dict[str, Any]  # plain data: texts, numbers, truth values, lists and maps of them
Action = Literal["unmanaged", "create", "update", "delete", "keep", "forget"]
CHANGING: frozenset[Action] = frozenset({"create", "update", "delete"})


class Applied(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is remembered of an entry. ``made``: by an apply, so an apply may delete it.

    ``pending``: written before its change was made, ``before`` being what had been applied until then; whether the
    change came about is seen from what is there.
    """

    fields: Fields
    made: bool = False
    pending: bool = False
    before: Fields = {}


@dataclass(frozen=True, slots=True)
class FieldChange:
    """``before`` is there now (None: nothing is), ``after`` is wanted. ``by_hand``: not as it was applied last."""

    name: str
    before: Any  # plain data, as in Fields
    after: Any
    by_hand: bool = False
    conflict: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done about an entry. ``to_note``: nothing of it changes, but what is remembered of it does."""

    action: Action
    fields: tuple[FieldChange, ...] = ()
    note: str = ""
    to_note: bool = False

    @property
    def conflicts(self) -> bool:
        """Whether it would undo what somebody else did."""
        return any(field.conflict for field in self.fields)


def merge(last: Applied | None, live: Fields | None, wanted: Fields | None, defaults: Fields) -> Step:
    """The step for one entry; None stands for an entry that is not there."""
    if wanted is None:
        return _without(last, live, defaults)
    if live is None:
        note = "was removed by hand" if last and not last.pending else ""
        shown = tuple(FieldChange(name, None, wanted[name], by_hand=bool(note)) for name in sorted(wanted))
        return Step("create", shown, note)
    changes = _changes(last, live, wanted, defaults)
    if changes:
        note = "" if last else "was made by hand"
        return Step("update", changes, note or ("an apply was cut short" if last and last.pending else ""))
    if last is None:
        return Step("keep", note="is taken over as it is", to_note=True)
    return Step("keep", to_note=last.pending or last.fields != wanted)


def outcome(last: Applied | None, step: Step, wanted: Fields | None) -> Applied | None:
    """What is to be remembered once the step has been made."""
    if wanted is None or step.action in ("delete", "forget", "unmanaged"):
        return None
    return Applied(wanted, made=step.action == "create" or (last is not None and last.made))


def intent(last: Applied | None, step: Step, wanted: Fields | None) -> Applied | None:
    """What is to be remembered before the step is made, so that a crash in its midst leaves something to go on from."""
    if wanted is None or step.action in ("delete", "forget"):
        return last
    after = outcome(last, step, wanted)
    if after is None or step.action not in CHANGING:
        return after
    return Applied(after.fields, made=after.made, pending=True, before=_all(last))


def _all(last: Applied | None) -> Fields:
    """Every field that an apply may have left there."""
    if last is None:
        return {}
    return {**last.before, **last.fields} if last.pending else last.fields


def _without(last: Applied | None, live: Fields | None, defaults: Fields) -> Step:
    if last is None:
        return Step("unmanaged")
    if live is None:
        return Step("forget", note="is gone already", to_note=True)
    if not last.made:
        return Step("forget", note="was not made by an apply, so it stays", to_note=True)
    names = sorted(live.keys() | _all(last).keys())
    changed = {name for name in names if _value(live, name, defaults) not in _known(last, name, defaults)}
    shown = (name for name in names if name in changed or _value(live, name, defaults) != defaults.get(name))
    return Step(
        "delete",
        tuple(
            FieldChange(name, _value(live, name, defaults), None, by_hand=name in changed, conflict=name in changed)
            for name in shown
        ),
    )


def _changes(last: Applied | None, live: Fields, wanted: Fields, defaults: Fields) -> tuple[FieldChange, ...]:
    names = sorted(wanted.keys() | _all(last).keys())
    found = []
    for name in names:
        want, have = _value(wanted, name, defaults), _value(live, name, defaults)
        if want == have:
            continue
        by_hand = last is None or have not in _known(last, name, defaults)
        in_file = last is None or want != _value(last.fields, name, defaults)
        found.append(FieldChange(name, have, want, by_hand=by_hand, conflict=by_hand and in_file))
    return tuple(found)


def _value(fields: Fields, name: str, defaults: Fields) -> Any:  # noqa: ANN401 - plain data
    return fields[name] if name in fields else defaults.get(name)


def _known(last: Applied, name: str, defaults: Fields) -> tuple[Any, ...]:  # Any: plain data
    """The values that an apply may have left there."""
    value = _value(last.fields, name, defaults)
    return (value, _value(last.before, name, defaults)) if last.pending else (value,)
