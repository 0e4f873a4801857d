"""Telegram end to end: Crabline's server, our platform, the real store, the delivery worker, a stand-in for turns."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from hermesd.config.schema import TelegramConfig
from hermesd.errors import StoreError
from hermesd.gateway.connected import Connected
from hermesd.gateway.delivery import UNKNOWN, DeliveryWorker
from hermesd.gateway.drafts import Draft, load_draft, save_draft
from hermesd.gateway.platform import PlatformError
from hermesd.gateway.platforms.telegram import Telegram
from hermesd.gateway.platforms.telegram_send import MESSAGE_UNITS, REPEAT_MARK
from hermesd.gateway.presenter import Presenter
from hermesd.gateway.text import units
from hermesd.store.records import Accepted, Address, Cursor, EventRow, NewEvent, NewOutbox
from hermesd.store.sqlite import SqliteStore
from hermesd.turns.live import Live, Update
from tests.servers import crabline
from tests.servers.crabline import Crabline
from tests.servers.proxy import proxy_to
from tests.waiting import until

CHAT = Address(platform="telegram", chat="7")
PATIENCE_S = 60


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Crabline]:
    with crabline.telegram(tmp_path / "crabline") as running:
        yield running


@dataclass
class Stage:
    """A store with its events so far, and whatever of a profile a test starts."""

    store: SqliteStore
    nursery: trio.Nursery
    connected: Connected = field(default_factory=Connected)
    live: Live = field(default_factory=Live)
    events: list[EventRow] = field(default_factory=list)
    changed: trio.Event = field(default_factory=trio.Event)

    def on_events(self, events: list[EventRow]) -> None:
        self.events += events
        self.changed.set()

    async def until(self, kind: str, count: int = 1) -> list[EventRow]:
        """The events of a kind, as soon as there are ``count``."""
        with trio.fail_after(PATIENCE_S):
            while len(found := [event for event in self.events if event.kind == kind]) < count:
                self.changed = trio.Event()
                await self.changed.wait()
        return found

    async def telegram(self, server: Crabline, *, base_url: str = "", token: str = "", **config: object) -> Telegram:
        """Start the platform; returns when it is connected."""
        settings = TelegramConfig(
            enabled=True,
            base_url=base_url or server.base_url,
            poll_timeout_s=2,
            **{"allowed_users": [7], **config},  # type: ignore[arg-type]  # as given by the test
        )
        platform = Telegram(
            "default", settings, token=token or server.token, store=self.store, connected=self.connected
        )
        with trio.fail_after(PATIENCE_S):
            await self.nursery.start(lambda task_status: platform.run(task_status=task_status))
        return platform

    async def delivery(self, **options: object) -> DeliveryWorker:
        worker = DeliveryWorker(
            "default",
            store=self.store,
            connected=self.connected,
            **options,  # type: ignore[arg-type]  # as given by the test
        )
        await self.nursery.start(lambda task_status: worker.run(task_status=task_status))
        return worker

    def answer_with(self, answer: Callable[[NewEvent], str]) -> None:
        """Stand in for turns: offer a reply to every accepted event."""

        async def reply(inbox_id: int) -> None:
            event = await self.store.inbox_row(inbox_id)
            await self.say(answer(event), key=f"reply:{inbox_id}", address=event.address)

        def on_events(events: list[EventRow]) -> None:
            for event in events:
                if event.kind == "inbox.accepted":
                    self.nursery.start_soon(reply, event.data["id"])

        self.store.subscribe(on_events)

    async def say(self, text: str, *, key: str = "k", address: Address = CHAT, turn_id: str = "") -> int:
        new = NewOutbox(profile="default", address=address, text=text, idempotency_key=key, turn_id=turn_id)
        [row] = await self.store.offer([new])
        return row.id


@asynccontextmanager
async def stage(path: Path, kind: type[SqliteStore] = SqliteStore) -> AsyncIterator[Stage]:
    """A stage over the state file ``path``; everything on it is cancelled at the end."""
    store = kind.open(path)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: store.run(task_status=task_status))
            async with trio.open_nursery() as services:
                built = Stage(store, services)
                store.subscribe(built.on_events)
                yield built
                services.cancel_scope.cancel()
            nursery.cancel_scope.cancel()
    finally:
        store.close()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


# -- receiving ---------------------------------------------------------------------------------------------------------


async def test_a_message_comes_in_and_its_reply_goes_out(server: Crabline, state: Path) -> None:
    """From a person's message to the answer in the same chat."""
    async with stage(state) as on:
        platform = await on.telegram(server)
        await on.delivery()
        on.answer_with(lambda event: f"You said: {event.text}")
        server.say("hello there")
        await on.until("outbox.sent")
        [row] = await on.store.inbox(profile="default")
    assert server.shown() == ["You said: hello there"]
    assert row.session_key == "agent:default:telegram:dm:7"
    assert row.sender == "7 @ada_l"
    assert platform.proven_at > 0


async def test_a_command_is_a_durable_event(server: Crabline, state: Path) -> None:
    """/stop is in the inbox with its name in meta, so it is never lost."""
    async with stage(state) as on:
        await on.telegram(server)
        server.say("/stop now")
        await on.until("inbox.accepted")
        [row] = await on.store.inbox(profile="default")
    assert (row.meta["command"], row.meta["args"], row.text) == ("stop", "now", "/stop now")


async def test_strangers_are_refused_once_an_hour(server: Crabline, state: Path) -> None:
    """Deny by default: a stranger's messages reach no inbox, and two of them get one refusal with their id."""
    async with stage(state) as on:
        await on.telegram(server)
        await on.delivery()
        server.say("let me in", chat=9, user=9, username="eve_x")
        server.say("please", chat=9, user=9, username="eve_x")
        server.say("it is me")
        await on.until("inbox.accepted")
        await on.until("outbox.sent")
        assert [row.text for row in await on.store.inbox()] == ["it is me"]
        assert len(await on.store.outbox()) == 1
    assert len(server.shown(9)) == 1
    assert "Your Telegram id is 9" in server.shown(9)[0]


async def test_in_a_group_only_what_is_addressed_is_heard(server: Crabline, state: Path) -> None:
    """A mention is taken, without the mention; talk among people is not; each person has a session of their own."""
    group = {"chat": -1001, "chatType": "supergroup"}
    async with stage(state) as on:
        await on.telegram(server)
        server.say("just talking", **group)
        mention = {"type": "mention", "offset": 0, "length": 13}
        server.say("@crabline_bot what is up?", entities=[mention], **group)
        await on.until("inbox.accepted")
        [row] = await on.store.inbox()
    assert row.text == "what is up?"
    assert row.session_key == "agent:default:telegram:group:-1001:7"
    assert row.address.message == row.meta["message_id"]


class RefusesOnce(SqliteStore):
    """A store whose disk is full for the first message."""

    refused = 0
    cursor_then = "never asked"

    async def accept(self, events: Sequence[NewEvent], *, cursor: Cursor | None = None) -> list[Accepted]:
        if events and not self.refused:
            self.refused += 1
            self.cursor_then = await self.cursor("default", "telegram:424242")
            raise StoreError("the disk is full")
        return await super().accept(events, cursor=cursor)


async def test_what_could_not_be_stored_is_not_acknowledged(server: Crabline, state: Path) -> None:
    """When accept raises, the offset stays, and the message is delivered again."""
    async with stage(state, RefusesOnce) as on:
        await on.telegram(server)
        server.say("important")
        await on.until("inbox.accepted")
        [row] = await on.store.inbox()
        assert isinstance(on.store, RefusesOnce)
        assert (on.store.refused, on.store.cursor_then) == (1, "")
    assert row.text == "important"


async def test_a_restart_neither_loses_nor_repeats_a_message(server: Crabline, state: Path) -> None:
    """Cut between the commit and its acknowledgement, the poller goes on behind what is stored; a redelivered update
    is a duplicate even when the cursor is lost."""
    async with stage(state) as on:
        on.store.subscribe(lambda _events: on.nursery.cancel_scope.cancel())
        server.say("one")
        with trio.fail_after(PATIENCE_S):
            await on.telegram(server)
            await trio.sleep_forever()
    assert not [call for call in server.calls("getUpdates") if call["offset"] > 1]
    async with stage(state) as on:
        assert [row.text for row in await on.store.inbox()] == ["one"]
        await on.store.accept([], cursor=Cursor(profile="default", source="telegram:424242", value="0"))
        await on.telegram(server)
        server.say("two")
        await on.until("inbox.accepted")
        assert sorted(row.text for row in await on.store.inbox()) == ["one", "two"]


async def test_a_rival_poller_is_survived_and_told(
    server: Crabline, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """409 is not deafness: the log says who must give way, and the next message is taken."""
    url = f"{server.base_url}/bot{server.token}/getUpdates"

    def steal() -> None:
        with urllib.request.urlopen(urllib.request.Request(url, data=b'{"timeout":0}', headers=JSON), timeout=60):
            pass

    async def stolen() -> bool:
        """Whether our poll was one of two; it had to be there first, and the server tells nobody."""
        await trio.to_thread.run_sync(steal)
        return platform.detail.startswith("@crabline_bot: getUpdates: Conflict")

    async with stage(state) as on:
        platform = await on.telegram(server)
        await until(stolen)
        server.say("still there?")
        await on.until("inbox.accepted")
        assert "last heard" in platform.detail
    assert "stop the other program that uses this bot's token" in caplog.text


JSON = {"content-type": "application/json"}


async def test_a_wrong_token_is_fatal_and_says_what_to_do(server: Crabline, state: Path) -> None:
    """No retry helps, so the service fails with the next step, and the token is in no error."""
    async with stage(state) as on:
        with pytest.raises(ExceptionGroup) as caught:
            async with trio.open_nursery() as on.nursery:
                await on.telegram(server, token="1:wrong")
        [error] = caught.value.exceptions
    assert isinstance(error, PlatformError)
    assert error.fatal
    assert "wrong token" in str(error)
    assert "BotFather" in str(error)
    assert "1:wrong" not in repr(error)


# -- sending -----------------------------------------------------------------------------------------------------------


async def test_a_long_reply_is_split_at_the_limit(server: Crabline, state: Path) -> None:
    """Every part fits in UTF-16 units, in order, and the row knows all their ids."""
    text = "".join(f"{number}. A line with a parrot 🦜 in it.\n" for number in range(400))
    async with stage(state) as on:
        await on.telegram(server)
        await on.delivery()
        row_id = await on.say(text)
        await on.until("outbox.sent")
        row = await on.store.outbox_row(row_id)
    shown = server.shown()
    assert len(shown) > 2
    assert all(units(part) <= MESSAGE_UNITS for part in shown)
    assert "".join(shown) == text
    assert len(row.ref.split(",")) == len(shown)


async def test_messages_of_a_chat_keep_their_order(server: Crabline, state: Path) -> None:
    """One address is served in order, whatever else is under way."""
    async with stage(state) as on:
        await on.telegram(server)
        for number in range(10):
            await on.say(f"number {number}", key=f"k{number}")
        await on.delivery()
        await on.until("outbox.sent", 10)
    assert server.shown() == [f"number {number}" for number in range(10)]


async def test_a_draft_becomes_the_final_text(server: Crabline, state: Path) -> None:
    """The presenter's draft is edited into the reply: one message, no repetition, no edit after the final one."""
    async with stage(state) as on:
        await on.telegram(server)
        presenter = Presenter("default", store=on.store, live=on.live, connected=on.connected)
        await on.nursery.start(lambda task_status: presenter.run(task_status=task_status))
        await on.delivery(finish_drafts=presenter.finish)
        server.say("tell me a story")
        [event] = await on.until("inbox.accepted")

        def publish(kind: str, text: str = "") -> None:
            on.live.publish(
                Update(
                    kind=kind,  # type: ignore[arg-type]  # one of them
                    profile="default",
                    session_id="s",
                    turn_id="t1",
                    inbox_id=int(str(event.data["id"])),
                    text=text,
                )
            )

        async def drafted() -> bool:
            return await load_draft(on.store, "t1") is not None

        async def finished() -> bool:
            return not await drafted()

        publish("started")
        publish("text", "Once upon a time there was a **parrot**")
        await until(drafted)
        publish("text", " who said")
        await on.say("Once upon a time there was a **parrot** who said & meant it.", turn_id="t1")
        publish("text", " too late")
        await on.until("outbox.sent")
        await until(finished)
    final = "Once upon a time there was a <b>parrot</b> who said &amp; meant it."
    assert server.shown() == [final]
    edits = [call["text"] for call in server.calls("editMessageText")]
    assert edits[-1] == final
    assert server.calls("sendChatAction")


async def test_an_overflowing_draft_goes_on_in_another_message(server: Crabline, state: Path) -> None:
    """A draft longer than a message becomes two; the final text reuses both, and a surplus one is removed."""
    long = "word " * 1000
    async with stage(state) as on:
        platform = await on.telegram(server)
        await on.delivery()
        ref = await platform.show_draft(CHAT, long[:3000], "")
        with pytest.raises(PlatformError, match="too early") as caught:
            await platform.show_draft(CHAT, long, ref)
        await trio.sleep(caught.value.retry_after_s)
        ref = await platform.show_draft(CHAT, long, ref)
        assert len(ref.split(",")) == 2
        await save_draft(on.store, "t", Draft(address=CHAT, ref=ref))
        await on.say("short after all", turn_id="t")
        await on.until("outbox.sent")
    assert server.shown() == ["short after all"]


async def test_a_lost_answer_leads_to_a_marked_repeat(server: Crabline, state: Path) -> None:
    """The request arrived, the answer did not: sent again, and the reader is told that it may be a repeat."""
    async with stage(state) as on, proxy_to(server.port) as proxy:
        await on.telegram(server, base_url=proxy.base_url)
        await on.delivery()
        proxy.lose_answer_to(b"/sendMessage ")
        row_id = await on.say("it happened")
        await on.until("outbox.sent")
        row = await on.store.outbox_row(row_id)
        retries = [event for event in on.events if event.kind == "outbox.retry"]
    assert proxy.lost == 1
    assert server.shown() == ["it happened", f"{REPEAT_MARK}it happened"]
    assert row.repeat
    assert str(retries[0].data["error"]).startswith(UNKNOWN)


async def test_a_message_in_backoff_holds_up_its_chat_only(server: Crabline, state: Path) -> None:
    """What comes after it in the same chat waits; other chats do not."""
    async with stage(state) as on, proxy_to(server.port) as proxy:
        await on.telegram(server, base_url=proxy.base_url)
        proxy.lose_answer_to(b"the first")
        await on.say("the first", key="a")
        await on.say("the second", key="b")
        other = await on.say("elsewhere", key="c", address=Address(platform="telegram", chat="8"))
        await on.delivery()
        sent = await on.until("outbox.sent", 3)
    assert sent[0].data["id"] == other
    assert server.shown() == ["the first", f"{REPEAT_MARK}the first", "the second"]


async def test_backoff_outlives_a_restart(server: Crabline, state: Path) -> None:
    """A worker that has just started does not let a later message overtake one that waits for its retry."""
    async with stage(state) as on:
        first, _ = await on.say("the first", key="a"), await on.say("the second", key="b")
        await on.store.mark_attempting(first)
        await on.store.mark_unsent(first, state="pending", error="away", next_at=time.time() + 0.5)
        await on.telegram(server)
        await on.delivery()
        await on.until("outbox.sent", 2)
    assert server.shown() == ["the first", "the second"]


async def test_hold_keeps_a_possible_repeat_for_a_person(server: Crabline, state: Path) -> None:
    """Under the policy ``hold`` an unknown outcome is not repeated until somebody says so."""
    async with stage(state) as on, proxy_to(server.port) as proxy:
        await on.telegram(server, base_url=proxy.base_url)
        await on.delivery(on_unknown="hold")
        proxy.lose_answer_to(b"/sendMessage ")
        row_id = await on.say("it happened")
        await on.until("outbox.held")
        assert server.shown() == ["it happened"]
        await on.store.resolve_outbox(row_id, action="retry")
        await on.until("outbox.sent")
    assert server.shown() == ["it happened", f"{REPEAT_MARK}it happened"]


@pytest.mark.parametrize("ref", ["", "1"])
async def test_a_row_cut_by_a_crash_is_resumed_or_marked(server: Crabline, state: Path, ref: str) -> None:
    """Found ``attempting``: parts that are known to be out are not sent again, the first that may be is marked."""
    text = "a" * 3000 + "\n\n" + "b" * 3000
    async with stage(state) as on:
        row_id = await on.say(text)
        await on.store.mark_attempting(row_id)
        if ref:
            await on.store.mark_draft(row_id, ref=ref)
        await on.telegram(server)
        await on.delivery()
        await on.until("outbox.sent")
    shown = [part.strip() for part in server.shown()]
    second = "b" * 3000
    assert shown == ([f"{REPEAT_MARK}{second}"] if ref else [f"{REPEAT_MARK}{'a' * 3000}", second])


async def test_a_row_waits_for_its_platform(server: Crabline, state: Path) -> None:
    """Without a connection nothing is attempted; when it comes, the row goes out."""
    async with stage(state) as on:
        await on.delivery()
        row_id = await on.say("hello")
        await on.say("to the log", key="log", address=Address(platform="log"))
        await on.until("outbox.sent")
        assert (await on.store.outbox_row(row_id)).attempts == 0
        await on.telegram(server)
        await on.until("outbox.sent", 2)
    assert server.shown() == ["hello"]


async def test_what_telegram_refuses_for_good_is_given_up_and_blocks_nobody(server: Crabline, state: Path) -> None:
    """A 400 is dead at once, and the next message of the same chat goes out."""
    bad = Address(platform="telegram", chat="not a chat")
    async with stage(state) as on:
        await on.telegram(server)
        await on.delivery()
        row_id = await on.say("to nobody", key="bad", address=bad)
        await on.say("to Ada", key="good")
        await on.until("outbox.dead")
        await on.until("outbox.sent")
        row = await on.store.outbox_row(row_id)
    assert row.attempts == 1
    assert "Bad Request" in row.error


async def test_draining_flushes_what_is_due(server: Crabline, state: Path) -> None:
    """A planned stop sends what can be sent; the platform takes no update in the meantime."""
    async with stage(state) as on:
        platform = await on.telegram(server)
        worker = await on.delivery()
        await platform.drain()
        for number in range(5):
            await on.say(f"number {number}", key=f"k{number}")
        with trio.fail_after(PATIENCE_S):
            await worker.drain()
        assert {row.state for row in await on.store.outbox()} == {"sent"}
        server.say("left for the next start")
    assert len(server.shown()) == 5


def test_the_server_judges_the_limit(server: Crabline) -> None:
    """The server that these tests trust does refuse 4097 units, so a part that is too long would be seen."""
    body = json.dumps({"chat_id": 7, "text": "x" * 4097}).encode()
    request = urllib.request.Request(f"{server.base_url}/bot{server.token}/sendMessage", data=body, headers=JSON)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    assert refused.value.code == 400
    refused.value.close()
