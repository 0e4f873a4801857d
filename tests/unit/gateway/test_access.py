"""Access: deny by default."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.gateway.access import AccessList, Party

ADA, EVE = Party("7", "Ada_L"), Party("9", "eve")
DM, GROUP = Party("7"), Party("-1001", "parrots")


@given(st.text(), st.text(), st.booleans(), st.booleans())
def test_an_empty_list_lets_nobody_in(user: str, name: str, group: bool, addressed: bool) -> None:
    """Whoever it is and wherever, the answer is never allow."""
    verdict = AccessList().judge(Party(user, name), Party(user, name), group=group, addressed=addressed)
    assert verdict != "allow"


@pytest.mark.parametrize("listed", [7, "7", "ada_l", "@ADA_L", " @Ada_L "])
def test_a_user_is_listed_by_id_or_name(listed: int | str) -> None:
    """Numbers and names, with or without @, in any case."""
    access = AccessList([listed])
    assert access.judge(ADA, DM, group=False, addressed=True) == "allow"
    assert access.judge(EVE, DM, group=False, addressed=True) == "refuse"


def test_a_listed_group_admits_its_members_when_they_address_the_bot() -> None:
    """And only there; what is not addressed is not heard, not refused."""
    access = AccessList(chats=["@parrots"])
    assert access.judge(EVE, GROUP, group=True, addressed=True) == "allow"
    assert access.judge(EVE, GROUP, group=True, addressed=False) == "ignore"
    assert access.judge(EVE, Party("9"), group=False, addressed=True) == "refuse"


def test_a_listed_user_is_answered_in_any_group_and_others_there_are_not() -> None:
    """The sender counts, not the room."""
    access = AccessList([7])
    assert access.judge(ADA, GROUP, group=True, addressed=True) == "allow"
    assert access.judge(EVE, GROUP, group=True, addressed=True) == "refuse"


def test_an_empty_entry_admits_nobody() -> None:
    """A stray '' or '@' in the list does not match people without a user name."""
    assert AccessList(["", "@"]).judge(Party("9"), DM, group=False, addressed=True) == "refuse"
