"""One watch at work on a real store, with a source that a test holds."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
import trio

from hermesd.errors import ConfigError, ConflictError, NotFoundError
from hermesd.home import Profile
from hermesd.store.records import Address, EventRow, InboxRow, NewEvent, StepRow, WatchRow
from hermesd.store.sqlite import SqliteStore
from hermesd.store.watches import Changes
from hermesd.triggers import watch as watches
from hermesd.triggers import watch_at_work
from hermesd.triggers.watch import ONLY, NotThisTimeError, WatchSpec
from hermesd.triggers.watch_at_work import WatchAtWork
from hermesd.turns.prompt import INSTRUCTIONS
from tests.waiting import PATIENCE_S, until


class Held:
    """What there is to see is what the test says."""

    def __init__(self, **things: str) -> None:
        self.things = things
        self.looks = 0
        self.looked = trio.Event()
        self.error: Exception | None = None
        self.broken = trio.Event()
        self.changed: Callable[[], None] = lambda: None

    def put(self, **things: str) -> None:
        self.things = things
        self.looked = trio.Event()
        self.changed()

    async def run(self, changed: Callable[[], None], *, task_status: trio.TaskStatus[None]) -> None:
        self.changed = changed
        task_status.started()
        await self.broken.wait()
        raise ConfigError("it is broken", next_step="mend it")

    async def look(self) -> dict[str, str]:
        await trio.lowlevel.checkpoint()
        self.looks += 1
        self.looked.set()
        if self.error:
            raise self.error
        return dict(self.things)

    async def own(self, changes: Changes, since: float, until: float) -> Changes:
        await trio.lowlevel.checkpoint()
        assert since <= until
        return {thing: value for thing, value in changes.items() if thing.startswith("own")}


class Stage:
    """A store, a nursery, and the inbox as it fills."""

    def __init__(self, store: SqliteStore, nursery: trio.Nursery, root: Path) -> None:
        self.store = store
        self.root = root
        self.nursery = nursery
        self._changed = trio.Event()
        store.subscribe(self._on_events)

    def _on_events(self, events: list[EventRow]) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def change(self) -> None:
        """Until something is committed."""
        await self._changed.wait()

    async def watch(self, source: Held, **fields: object) -> WatchAtWork:
        given = {"kind": "file", "files": ["/x"], "prompt": "{paths}", "mode": "act", "debounce_s": 0.05, **fields}
        spec = WatchSpec(**given)  # type: ignore[arg-type]  # as given by the test
        row = await self.store.watches.put(WatchRow(id="w", profile="default", name="W", spec=watches.encode(spec)))
        return await self.work(row, source)

    async def work(self, row: WatchRow, source: Held) -> WatchAtWork:
        found = WatchAtWork(
            row,
            self.store,
            source=lambda _watch, _spec: source,
            homes=lambda _profile: {},
            profile_of=lambda name: Profile(name, self.root),
        )
        await self.nursery.start(lambda task_status: found.run(task_status=task_status))
        with trio.fail_after(PATIENCE_S):
            await found.armed()
        return found

    async def inbox(self, count: int) -> list[InboxRow]:
        """Its rows, oldest first, as soon as there are so many."""
        with trio.fail_after(PATIENCE_S):
            while len(rows := await self.store.inbox()) < count:
                await self.change()
        return rows[::-1]

    async def answer(self, row: InboxRow, at_work: WatchAtWork, *, tools: bool = False) -> None:
        """Stand in for the turn."""
        session = await self.store.open_session(row.profile, row.session_key, source=row.source)
        begun = await self.store.begin_turn(row.id, session_id=session.id)
        if tools:
            now = time.time()
            step = StepRow(turn_id=begun.turn.id, seq=0, kind="model", name="m", state="done", at=now)
            await self.store.journal([step, msgspec.structs.replace(step, seq=1, kind="tool", name="terminal")])
        await self.store.finish_turn(begun.turn.id, state="done", inbox_state="done")
        at_work.changed()


async def at_rest(work: WatchAtWork, *, after: trio.Event | None = None) -> None:
    """Until it has considered what there was (``after``: this reason to), and waits for another, but for no time."""
    await until(lambda: work._dirty is not after and work._dirty.statistics().tasks_waiting)
    assert trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf


@pytest.fixture
async def stage(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Stage]:
    store = SqliteStore.open(tmp_path / "home" / "state.db")
    await nursery.start(lambda task_status: store.run(task_status=task_status))
    yield Stage(store, nursery, tmp_path / "home")
    store.close()


async def test_what_is_there_at_first_begins_nothing(stage: Stage) -> None:
    """Only differences do; the first one names all that has changed."""
    source = Held(a="1", b="1")
    await stage.watch(source)
    assert await stage.store.inbox() == []
    source.put(a="2", c="1")
    [row] = await stage.inbox(1)
    assert row.text == "<untrusted>\nchanged a\ndeleted b\ncreated c\n</untrusted>"
    assert row.source == "watch:w"
    assert await stage.store.watches.seen("w") == {"a": "2", "c": "1"}


async def test_its_skills_are_instructions_and_one_that_is_gone_costs_nothing(stage: Stage) -> None:
    """They are the owner's words: they stand apart from what was seen. The agent is told of one that is not there."""
    source = Held()
    own = stage.root / "skills" / "mine" / "SKILL.md"
    own.parent.mkdir(parents=True)
    own.write_text("Look twice.")
    work = await stage.watch(source, skills=["mine", "incident-triage"])
    source.put(a="1")
    [first] = await stage.inbox(1)
    assert first.text == "<untrusted>\ncreated a\n</untrusted>"
    told = first.meta[INSTRUCTIONS]
    assert told.index("because of the watch 'W'") < told.index("Look twice.") < told.index("You look; you do not mend.")
    await stage.answer(first, work)
    own.unlink()
    source.put(a="1", b="1")
    [_, second] = await stage.inbox(2)
    assert "Note: there is no skill 'mine'." in second.meta[INSTRUCTIONS]
    assert "You look; you do not mend." in second.meta[INSTRUCTIONS]


async def test_a_difference_waits_for_the_end_of_the_last_ones_turn(stage: Stage) -> None:
    """And many that come meanwhile are one."""
    source = Held()
    work = await stage.watch(source)
    source.put(a="1")
    [first] = await stage.inbox(1)
    await at_rest(work)
    reason, looks = work._dirty, source.looks
    source.put(a="1", b="1")
    source.put(a="1", b="1", c="1")
    await at_rest(work, after=reason)
    assert source.looks == looks, "there is no need to look before its end"
    await stage.answer(first, work)
    [_, second] = await stage.inbox(2)
    assert second.text == "<untrusted>\ncreated b\ncreated c\n</untrusted>"


async def test_what_the_turn_did_itself_is_taken_as_seen_also_after_a_crash(stage: Stage) -> None:
    """Only what the source tells to be its own, and only if the turn used a tool."""
    source = Held()
    work = await stage.watch(source)
    source.put(a="1")
    [first] = await stage.inbox(1)
    work.scope.cancel()
    await work.over.wait()
    await stage.answer(first, work, tools=True)
    source.things = {"a": "1", "own.log": "1", "b": "1"}
    again = await stage.work(await stage.store.watches.get("w"), source)
    [_, second] = await stage.inbox(2)
    assert second.text == "<untrusted>\ncreated b\n</untrusted>"
    source.things |= {"own.log": "2"}
    await stage.answer(second, again)
    [*_, third] = await stage.inbox(3)
    assert "changed own.log" in third.text, "a turn without tools has changed nothing"


async def test_what_never_rests_is_taken_up_nevertheless(stage: Stage) -> None:
    """After ten times the debounce."""
    source = Held()
    await stage.watch(source)
    with trio.move_on_after(PATIENCE_S):
        number = 0
        while not await stage.store.inbox():
            number += 1
            source.put(a=str(number))
            await trio.sleep(0.01)
    assert await stage.store.inbox()


async def test_what_cannot_be_looked_at_this_time_is_noted_and_waited_for(stage: Stage) -> None:
    """Not tried again before there is a reason to; then the note is gone."""
    source = Held(a="1")
    work = await stage.watch(source)
    source.error = NotThisTimeError("no luck", next_step="wait")
    source.put(a="2")
    with trio.fail_after(PATIENCE_S):
        while not (await stage.store.watches.get("w")).error:
            await stage.change()
    assert (await stage.store.watches.get("w")).error == "no luck. wait"
    looks = source.looks
    await at_rest(work)
    assert source.looks == looks
    source.error = None
    work.changed()
    await stage.inbox(1)
    assert (await stage.store.watches.get("w")).error == ""


async def test_a_source_that_breaks_is_made_anew(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a pause that grows, and what happened meanwhile counts."""
    monkeypatch.setattr(watch_at_work, "FIRST_RETRY_S", 0.01)
    source = Held(a="1")
    await stage.watch(source)
    former, source.broken = source.broken, trio.Event()
    source.things = {"a": "2"}
    former.set()
    [row] = await stage.inbox(1)
    assert "changed a" in row.text


async def test_a_removed_watch_ends(stage: Stage) -> None:
    """As soon as it looks for its row."""
    source = Held()
    work = await stage.watch(source)
    await stage.store.watches.delete("w")
    source.put(a="1")
    with trio.fail_after(PATIENCE_S):
        await work.over.wait()
    assert await stage.store.inbox() == []


async def test_only_the_states_that_are_wanted_count(stage: Stage) -> None:
    """The others are seen, and begin nothing."""
    source = Held(**{ONLY: "active"})
    await stage.watch(source, kind="unit", files=[], unit="web.service", states=["failed"], prompt="{old} {state}")
    source.put(**{ONLY: "inactive"})
    with trio.fail_after(PATIENCE_S):
        await source.looked.wait()
    source.put(**{ONLY: "failed"})
    [row] = await stage.inbox(1)
    assert row.text == "inactive failed"


async def test_the_store_takes_a_difference_up_once(stage: Stage) -> None:
    """Not while the last one is open, not of a watch that is paused, not of one that is gone."""
    store = stage.store.watches
    row = await store.put(WatchRow(id="w", profile="default", name="W", spec="{}", primed=True))
    address = Address(platform="log")
    event = NewEvent(profile="default", source="watch:w", delivery_id="1", session_key="k", text="t", address=address)
    run = await store.fire("w", {"a": "1"}, event)
    assert run is not None
    assert run.state == "handed"
    assert await store.fire("w", {"a": "2"}, event) is None
    await store.take_as_seen("w", {}, settled=True)
    await store.put(msgspec.structs.replace(row, state="paused"))
    assert await store.fire("w", {"a": "2"}, event) is None
    assert await store.seen("w") == {"a": "1"}
    with pytest.raises(ConflictError, match="there is a watch 'W' already"):
        await store.put(WatchRow(id="v", profile="default", name="W", spec="{}"))
    await store.delete("w")
    assert await store.fire("w", {"a": "2"}, event) is None
    assert await store.seen("w") == {}
    with pytest.raises(NotFoundError):
        await store.get("w")


async def test_a_profiles_watches_go_with_it(stage: Stage) -> None:
    """Renamed, and removed with what they have seen."""
    store = stage.store.watches
    await store.put(WatchRow(id="w", profile="coder", name="W", spec="{}"))
    await store.take_as_seen("w", {"a": "1"})
    await stage.store.rename_profile("coder", "writer")
    assert [watch.id for watch in await store.listing(profile="writer")] == ["w"]
    await stage.store.delete_profile("writer")
    assert await store.listing() == []
    assert await store.seen("w") == {}
