"""Where an answer goes, and when it is not sent."""

from __future__ import annotations

import pytest

from hermesd.store.records import Address, NewEvent
from hermesd.turns.outgoing import is_silent, outbox_rows, places, with_places

TARGETS = [Address(platform="telegram", chat="1"), Address(platform="local"), Address(platform="log")]


@pytest.mark.parametrize(
    ("text", "silent"),
    [
        ("[SILENT]", True),
        (" SILENT \n", True),
        ("NO_REPLY", True),
        ("[SILENT]\nnothing has changed", True),
        ("nothing has changed\n\n[SILENT]", True),
        ("I would say [SILENT] here", False),
        ("first\n[SILENT]\nlast", False),
        ("silent", False),
        ("", False),
    ],
)
def test_an_answer_may_ask_not_to_be_sent(text: str, silent: bool) -> None:
    """As the whole of it, its first or its last line."""
    assert is_silent(text) is silent


def test_each_place_has_a_row_with_its_own_key() -> None:
    """One that cannot be reached does not hold up the others."""
    address, meta = with_places(TARGETS)
    event = NewEvent(
        profile="p", source="cron:j", delivery_id="1", session_key="k", text="x", address=address, meta=meta
    )
    assert places(event) == TARGETS
    rows = outbox_rows(event, "hello", key="turn:t:reply", turn_id="t")
    assert [row.address for row in rows] == TARGETS
    assert [row.idempotency_key for row in rows] == ["turn:t:reply", "turn:t:reply:1", "turn:t:reply:2"]
