"""The fleet in one process: boot, renaming cut in the middle, removal, settings that change under a turn."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from hermesd.config.settings import Settings
from hermesd.errors import ConflictError, NotFoundError
from hermesd.fleet import RENAMING, Fleet
from hermesd.gateway.http_front import HttpFront
from hermesd.gateway.shared import Shared
from hermesd.gateway.states import gateway_status
from hermesd.home import Home
from hermesd.store.records import Address, NewEvent
from hermesd.store.sqlite import SqliteStore
from hermesd.supervision.supervisor import Supervisor
from hermesd.turns.live import Live
from hermesd.turns.questions import Questions
from tests.unit.turns.conftest import ScriptedProvider, reply
from tests.waiting import until

FAILING_TELEGRAM = "platforms: {telegram: {enabled: true, token: '1:x', base_url: 'http://127.0.0.1:9'}}\n"


class House:
    """A home with a store and a root supervisor, in which fleets come and go."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        self.home.create()
        self.loaded: list[Settings] = []

    def write(self, profile: str, text: str = "model: offline\n", *, desired: str = "stopped") -> None:
        root = self.home.root if profile == "default" else self.home.profile_root(profile)
        root.mkdir(mode=0o700, exist_ok=True)
        (root / "config.yaml").write_text(text)
        (root / "gateway_state.json").write_text(json.dumps({"desired_state": desired}))

    @contextlib.asynccontextmanager
    async def fleet(self) -> AsyncIterator[Fleet]:
        store = SqliteStore.open(self.home.state_path)
        root = Supervisor("hermesd")
        shared = Shared(
            jobs=lambda _profile, _origin: None,  # type: ignore[arg-type,return-value]  # no turn is run
            home=self.home,
            store=store,
            live=Live(),
            questions=Questions(store),
            limiter=trio.CapacityLimiter(math.inf),
            http=HttpFront(root, store),
            environment={},
        )
        self.store = store
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(lambda task_status: store.run(task_status=task_status))
                await nursery.start(root.run)
                found = Fleet(shared, root, loaded=self.loaded.append)
                await found.boot()
                yield found
                await root.shutdown(0.0)
                await found.close()
                nursery.cancel_scope.cancel()
        finally:
            store.close()

    async def say(self, profile: str, text: str, delivery: str) -> int:
        event = NewEvent(
            profile=profile,
            source="telegram",
            delivery_id=delivery,
            session_key=f"agent:{profile}:telegram:dm:7",
            text=text,
            address=Address(platform="telegram", chat="7"),
        )
        return (await self.store.accept([event]))[0].id

    async def until(self, inbox_id: int, state: str) -> None:
        await until(lambda: self.store.inbox_row(inbox_id), lambda row: row.state == state)


@pytest.fixture
def house(tmp_path: Path) -> House:
    found = House(tmp_path / "home")
    found.write("default")
    return found


async def test_a_platform_whose_server_is_away_does_not_hold_up_the_boot(house: House) -> None:
    """boot returns while it still tries; the profile is there."""
    house.write("coder", FAILING_TELEGRAM, desired="running")
    with trio.fail_after(20):  # it gives up trying after 31 s
        async with house.fleet() as fleet:
            assert fleet.unit("coder").platform_states()["telegram"] == "starting"
            assert fleet.unit("default").gateway_on is False
    state = json.loads((house.home.profile_root("coder") / "gateway_state.json").read_text())
    assert (state["desired_state"], state["gateway_state"]) == ("running", "stopped"), "it does not run any more"


async def test_a_broken_profile_leaves_the_others_alone_and_is_forgotten_with_its_directory(house: House) -> None:
    """It is listed with its error until it is mended or gone."""
    house.write("bad", "model: [\n")
    async with house.fleet() as fleet:
        assert set(fleet.units) == {"default"}
        assert fleet.summaries()[1].state == "startup_failed"
        for file in house.home.profile_root("bad").iterdir():
            file.unlink()
        house.home.profile_root("bad").rmdir()
        await fleet.reload()
        assert [row.name for row in fleet.summaries()] == ["default"]


async def test_renaming_keeps_the_conversation(house: House) -> None:
    """The key that finds it carries the profile's name, and follows."""
    house.write("coder")
    async with house.fleet() as fleet:
        await house.until(await house.say("coder", "one", "1"), "done")
        [before] = await house.store.sessions(profile="coder")
        await fleet.rename("coder", "writer")
        await house.until(await house.say("writer", "two", "2"), "done")
        [after] = await house.store.sessions(profile="writer")
        assert (after.id, after.key, after.messages) == (before.id, "agent:writer:telegram:dm:7", 4)
        with pytest.raises(NotFoundError):
            fleet.unit("coder")


async def test_a_renaming_cut_after_the_directory_moved_is_ended_at_the_next_boot(house: House) -> None:
    """The rows follow the directory, whenever the daemon died."""
    house.write("coder")
    async with house.fleet():
        await house.until(await house.say("coder", "one", "1"), "done")
        await house.store.set_value(RENAMING, b'["coder","writer"]')
    house.home.profile_root("coder").rename(house.home.profile_root("writer"))
    async with house.fleet() as fleet:
        assert set(fleet.units) == {"default", "writer"}
        assert len(await house.store.sessions(profile="writer")) == 1
        assert await house.store.get_value(RENAMING) is None


async def test_a_renaming_that_did_not_begin_is_forgotten(house: House) -> None:
    """Killed between the note and the move: nothing has happened."""
    house.write("coder")
    async with house.fleet():
        await house.until(await house.say("coder", "one", "1"), "done")
        await house.store.set_value(RENAMING, b'["coder","writer"]')
    async with house.fleet() as fleet:
        assert set(fleet.units) == {"default", "coder"}
        assert len(await house.store.sessions(profile="coder")) == 1


async def test_renaming_to_a_taken_name_changes_nothing(house: House) -> None:
    """Refused before anything is stopped."""
    house.write("coder")
    house.write("writer")
    async with house.fleet() as fleet:
        unit = fleet.unit("coder")
        with pytest.raises(ConflictError):
            await fleet.rename("coder", "writer")
        assert fleet.unit("coder") is unit


async def test_what_a_process_of_its_own_has_left_is_told_where_none_can_run(house: House) -> None:
    """The home came from a container with s6; the profile is a task, and its other store is not forgotten."""
    house.write("coder")
    root = house.home.profile_root("coder")
    async with trio.open_nursery() as nursery:
        house.store = SqliteStore.open(root / "state.db")
        await nursery.start(lambda task_status: house.store.run(task_status=task_status))
        await house.say("default", "hello", "1")
        nursery.cancel_scope.cancel()
    house.store.close()
    async with house.fleet() as fleet:
        assert "coder" in fleet.units
        assert "there is no s6 here, and the process of its own has 1 message not answered" in str(
            fleet.broken["coder"]
        )
        (root / "state.db").unlink()
        await fleet.reload()
        assert fleet.broken == {}


async def test_deleting_removes_what_its_tools_kept(house: House) -> None:
    """Small values of its sessions and turns are its rows too; another profile's stay."""
    house.write("coder")
    async with house.fleet() as fleet:
        for profile in ("coder", "default"):
            await house.until(await house.say(profile, "one", profile), "done")
            [session] = await house.store.sessions(profile=profile)
            await house.store.set_value(f"tool:{session.id}:todo", profile.encode())
            kept = f"tool:{session.id}:todo"
            if profile == "coder":
                gone = kept
        await fleet.delete("coder")
        assert await house.store.get_value(gone) is None
        assert await house.store.get_value(kept) == b"default"
        assert await house.store.sessions(profile="coder") == []


async def test_a_turn_ends_with_the_model_it_began_with_and_then_that_one_is_closed(house: House) -> None:
    """A changed model is for the next turn; the former client is closed when its last turn is over."""
    async with house.fleet() as fleet:
        unit = fleet.unit("default")
        gate = trio.Event()
        old = ScriptedProvider(gate.wait, reply("from the old one"))
        unit.bench.provider = old
        first = await house.say("default", "one", "1")
        await until(lambda: old.requests)
        house.write("default", "model: {default: offline, max_output_tokens: 100}\nagent: {busy: queue}\n")
        assert (await fleet.reload()).refused == []
        assert unit.bench.provider is not old
        assert not old.closed
        second = await house.say("default", "two", "2")
        gate.set()
        await house.until(first, "done")
        await house.until(second, "done")
        assert old.closed
        texts = [row.text for row in reversed(await house.store.outbox())]
        assert texts[0] == "from the old one"
        assert len(old.requests) == 1


async def test_the_store_tells_a_profile_of_its_own_events_only(house: House) -> None:
    """So that a commit costs the same with a hundred profiles."""
    async with house.fleet():
        mine: list[str] = []
        everything: list[str] = []
        removers = [
            house.store.subscribe(lambda events: mine.extend(event.profile for event in events), profile="coder"),
            house.store.subscribe(lambda events: everything.extend(event.profile for event in events)),
        ]
        await house.store.record_event("a", subject="x", profile="coder")
        await house.store.record_event("b", subject="x", profile="default")
        assert mine == ["coder"]
        assert everything == ["coder", "default"]
        for remove in removers:
            remove()
        await house.store.record_event("c", subject="x", profile="coder")
        assert len(everything) == 2


async def test_a_server_that_does_not_stop_keeps_nothing_else_of_a_change_out_of_force(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next reload would see no difference any more, and never make up for it."""
    house.write("default", "model: offline\nmcp_servers: {one: {command: /nonexistent}}\n")
    async with house.fleet() as fleet:
        await fleet.boot()
        unit = fleet.unit("default")
        before = unit.bench.provider

        async def refuse(name: str) -> None:
            raise ConflictError(f"{name} ignores its cancellation")

        with monkeypatch.context() as stuck:
            stuck.setattr(unit.supervisor, "remove", refuse)
            house.write("default", "model: {default: offline, max_output_tokens: 99}\n")
            result = await fleet.reload()
        assert [line for line in result.refused if "one ignores its cancellation" in line]
        assert unit.bench.provider is not before


@pytest.mark.parametrize(
    ("on", "states", "word"),
    [
        (True, [], "running"),
        (True, ["ready", "ready"], "running"),
        (True, ["ready", "starting"], "starting"),
        (True, ["ready", "backoff"], "degraded"),
        (True, ["failed"], "startup_failed"),
        (True, ["failed", "starting"], "degraded"),
        (True, ["draining", "ready"], "draining"),
        (True, ["stopped"], "stopped"),
        (False, [], "stopped"),
        (False, ["draining"], "draining"),
    ],
)
def test_the_gateways_word_follows_from_its_platforms(on: bool, states: list[str], word: str) -> None:
    """One table."""
    assert gateway_status(on, states) == word
