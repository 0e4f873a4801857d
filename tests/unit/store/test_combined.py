"""Changes of different kinds in one transaction: all or none, and only over what was expected to be there."""

from __future__ import annotations

import pytest

from hermesd.errors import ConflictError
from hermesd.store.records import JobPut, JobRemoval, JobRow, StoreChange, ValueChange
from hermesd.store.sqlite import SqliteStore

ONE = JobRow(id="1", profile="default", name="one", spec="{}")
TWO = JobRow(id="2", profile="default", name="two", spec="{}")


async def test_they_are_made_together(store: SqliteStore) -> None:
    """Rows and values."""
    await store.commit([JobPut(job=ONE), JobPut(job=TWO), ValueChange(name="v", value=b"1")])
    assert [job.name for job in await store.jobs.listing()] == ["one", "two"]
    await store.commit([JobRemoval(id="1", expected="{}"), ValueChange(name="v", value=None)])
    assert [job.name for job in await store.jobs.listing()] == ["two"]
    assert await store.get_value("v") is None


@pytest.mark.parametrize(
    "bad",
    [
        JobPut(job=ONE, expected="{other}"),
        JobPut(job=ONE),
        JobPut(job=TWO, expected="{}"),
        JobRemoval(id="1", expected="{other}"),
        JobPut(job=JobRow(id="3", profile="default", name="one", spec="{}")),
    ],
    ids=["changed", "there already", "gone", "removed, but changed", "the name is taken"],
)
async def test_what_is_not_as_expected_undoes_all(store: SqliteStore, bad: StoreChange) -> None:
    """Also what came before it."""
    await store.commit([JobPut(job=ONE)])
    with pytest.raises(ConflictError):
        await store.commit([ValueChange(name="v", value=b"1"), bad])
    assert await store.get_value("v") is None
    assert [job.spec for job in await store.jobs.listing()] == ["{}"]


async def test_removing_what_is_gone_is_no_error(store: SqliteStore) -> None:
    """It is as it should be: what else was to be changed is."""
    await store.commit([JobRemoval(id="1", expected="{}"), ValueChange(name="v", value=b"1")])
    assert await store.get_value("v") == b"1"
    assert await store.jobs.listing() == []
