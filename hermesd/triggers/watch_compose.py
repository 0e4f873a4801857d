"""From a difference to the event that begins the turn. Names, outputs and states are text from outside, and fenced."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from hermesd.store.records import NewEvent
from hermesd.triggers.turn_spec import overrides
from hermesd.triggers.watch import ONLY
from hermesd.turns.outgoing import with_places
from hermesd.turns.prompt import INSTRUCTIONS, UNTRUSTED_PARTS, mark_untrusted
from hermesd.turns.suggestion import SUGGEST, WATCH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.store.records import Address, WatchRow
    from hermesd.store.watches import Changes
    from hermesd.triggers.watch import WatchSpec

MAX_PATHS = 50
MAX_OUTPUT_CHARS = 8000
MAX_ASKED_CHARS = 600
_NAME = re.compile(r"\{(path|paths|event|old|new|output|state)\}")
_OURS = re.compile(r"[a-z-]{1,40}")

HOW = (
    "You are called because of the watch {name!r}: {what} changed. {who} Your last message is delivered as it is; if "
    "there is nothing to report, answer with exactly [SILENT] and nothing is sent."
)
ALONE = "Nobody is there to answer questions."
AGREED = "Your user was asked and wants this done."


def event_of(
    watch: WatchRow, spec: WatchSpec, changes: Changes, seen: Mapping[str, str], to: list[Address], *, skills: str = ""
) -> NewEvent:
    """The event of one difference; ``seen`` is what was seen before. It has a session of its own.

    ``skills`` are the texts of its skills: their owner's, and so no part of what is told of the difference.
    """
    address, meta = with_places(to)
    number = watch.fired + 1
    asks = spec.mode == "suggest"
    how = HOW.format(name=watch.name, what=shown(spec.what), who=AGREED if asks else ALONE)
    if skills:
        how = f"{how}\n\n{skills}"
    meta |= {WATCH: watch.id, "may_be_silent": "1", UNTRUSTED_PARTS: "1", INSTRUCTIONS: how} | overrides(spec)
    if asks:
        meta[SUGGEST] = question_of(watch, spec, changes, seen)
    return NewEvent(
        profile=watch.profile,
        source=f"watch:{watch.id}",
        delivery_id=f"{number}:{digest(changes)}",
        session_key=f"agent:{watch.profile}:watch:dm:{watch.id}:{number}",
        text=text_of(spec, changes, seen),
        address=address,
        sender=f"watch:{watch.name}",
        meta=meta,
    )


def digest(changes: Changes) -> str:
    """The same for the same difference."""
    told = hashlib.blake2b(digest_size=12)
    for thing, value in sorted(changes.items()):
        for part in (thing, value or "", "" if value is None else "+"):
            told.update(f"{len(part.encode())}:".encode() + part.encode())
    return told.hexdigest()


def text_of(spec: WatchSpec, changes: Changes, seen: Mapping[str, str]) -> str:
    """The prompt with its placeholders filled in; without any, what happened stands before it."""
    values = values_of(spec, changes, seen)
    filled = _NAME.sub(lambda found: values.get(found.group(1), found.group(0)), spec.prompt)
    if filled != spec.prompt:
        return filled
    return f"{happened(spec, changes, seen)}\n\n{spec.prompt}"


def values_of(spec: WatchSpec, changes: Changes, seen: Mapping[str, str]) -> dict[str, str]:
    """Placeholder → what it stands for."""
    if spec.kind == "file":
        return {
            "path": mark_untrusted(shown(next(iter(sorted(changes))))),
            "paths": mark_untrusted(_list_of(changes, seen)),
            "event": events_of(changes, seen),
        }
    old, new = seen.get(ONLY, ""), changes.get(ONLY) or ""
    return {"event": "changed", "old": _fenced(old), "new": _fenced(new), "output": _fenced(new), "state": _fenced(new)}


def _fenced(text: str) -> str:
    """As it is, if it is one of a service manager's own words."""
    return text if _OURS.fullmatch(text) else mark_untrusted(_cut(text))


def happened(spec: WatchSpec, changes: Changes, seen: Mapping[str, str]) -> str:
    """What the agent is told when the prompt does not place it."""
    if spec.kind == "file":
        return f"{_count(changes, seen)}:\n{mark_untrusted(_list_of(changes, seen))}"
    values = values_of(spec, changes, seen)
    if spec.kind == "unit":
        return f"The state of {shown(spec.what)} changed from {values['old']} to {values['new']}."
    return f"What {shown(spec.command)} prints has changed. Before:\n{values['old']}\nNow:\n{values['new']}"


def _count(changes: Changes, seen: Mapping[str, str]) -> str:
    number = len(changes)
    return f"{number} file{'' if number == 1 else 's'} {events_of(changes, seen)}"


def events_of(changes: Changes, seen: Mapping[str, str]) -> str:
    """``created``, ``changed``, ``deleted``, or several of them with their counts."""
    counts: dict[str, int] = {}
    for thing, value in changes.items():
        word = _word(thing, value, seen)
        counts[word] = counts.get(word, 0) + 1
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))


def _word(thing: str, value: str | None, seen: Mapping[str, str]) -> str:
    if value is None:
        return "deleted"
    return "changed" if thing in seen else "created"


def _list_of(changes: Changes, seen: Mapping[str, str]) -> str:
    lines = [f"{_word(thing, changes[thing], seen)} {shown(thing)}" for thing in sorted(changes)[:MAX_PATHS]]
    more = len(changes) - len(lines)
    return "\n".join([*lines, f"and {more} more"] if more else lines)


def question_of(watch: WatchRow, spec: WatchSpec, changes: Changes, seen: Mapping[str, str]) -> str:
    """What its user is asked before anything is done."""
    if spec.kind == "file":
        first = shown(next(iter(sorted(changes))).rpartition("/")[2])
        others = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
        what = f"{first}{others} {events_of(changes, seen)}"
    elif spec.kind == "unit":
        what = f"{shown(spec.unit)} is {shown(changes.get(ONLY) or '')}, it was {shown(seen.get(ONLY, ''))}"
    else:
        what = f"{shown(spec.command)} prints something else"
    return f"{what} (watch {shown(watch.name)}). Shall I do this?\n{shown(spec.prompt)[:MAX_ASKED_CHARS]}"


def shown(text: str) -> str:
    """Text from outside in one line: nothing that ends a line or turns its direction."""
    clean = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return clean if len(clean) <= MAX_ASKED_CHARS else f"{clean[:MAX_ASKED_CHARS]}…"


def _cut(text: str) -> str:
    if len(text) <= MAX_OUTPUT_CHARS:
        return text
    half = MAX_OUTPUT_CHARS // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"
