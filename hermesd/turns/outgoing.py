"""What an event's answer becomes on its way out: a row for each place, or nothing at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from hermesd.store.records import Address, NewEvent, NewOutbox

if TYPE_CHECKING:
    from collections.abc import Sequence

ALSO = "deliver_also"
"""In an event's ``meta``: further addresses, as a JSON list of ``Address``."""

SILENT = frozenset({"[SILENT]", "SILENT", "NO_REPLY"})

_addresses = msgspec.json.Decoder(list[Address]).decode


def is_silent(text: str) -> bool:
    """Whether an answer asks not to be sent: ``[SILENT]`` and the like as the whole of it, its first or last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return bool(lines) and (lines[0] in SILENT or lines[-1] in SILENT)


def places(event: NewEvent) -> list[Address]:
    """Everywhere the answer goes."""
    also = event.meta.get(ALSO)
    return [event.address, *(_addresses(also) if also else ())]


def with_places(addresses: Sequence[Address]) -> tuple[Address, dict[str, str]]:
    """An event's ``address`` and the ``meta`` that names the others."""
    first, *others = addresses
    return first, {ALSO: msgspec.json.encode(others).decode()} if others else {}


def outbox_rows(
    event: NewEvent, text: str, *, key: str, turn_id: str = "", kind: Literal["reply", "notice"] = "reply"
) -> list[NewOutbox]:
    """One row for each place, each with a key of its own and so with its own attempts."""
    return [
        NewOutbox(
            profile=event.profile,
            address=address,
            text=text,
            idempotency_key=f"{key}:{number}" if number else key,
            turn_id=turn_id,
            kind=kind,
        )
        for number, address in enumerate(places(event))
    ]
