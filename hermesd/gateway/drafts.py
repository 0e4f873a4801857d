"""Where a turn's unfinished answer is being shown, so that the final text can take its place, also after a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hermesd.store.records import Address, Record

if TYPE_CHECKING:
    from hermesd.store.protocol import Store


class Draft(Record, frozen=True, kw_only=True):
    """A draft at an address; ``ref`` is the platform's."""

    address: Address
    ref: str


async def load_draft(store: Store, turn_id: str) -> Draft | None:
    """The turn's draft, if one has been shown."""
    stored = await store.get_value(_name(turn_id))
    return msgspec.json.decode(stored, type=Draft) if stored else None


async def save_draft(store: Store, turn_id: str, draft: Draft) -> None:
    """Remember it under ``draft:<turn id>``."""
    await store.set_value(_name(turn_id), msgspec.json.encode(draft))


async def forget_draft(store: Store, turn_id: str) -> None:
    """It has become the final text, or nothing will."""
    await store.set_value(_name(turn_id), None)


def _name(turn_id: str) -> str:
    return f"draft:{turn_id}"
