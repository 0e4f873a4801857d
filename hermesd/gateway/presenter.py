"""Shows running turns in the chats they came from: "typing…", and the answer as it grows.

Nothing here is needed for the answer to arrive; what fails is logged and left to the final message. The delivery worker
calls ``finish`` before it sends a turn's reply, and after that call has returned no draft of the turn is touched.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.errors import NotFoundError, StoreError
from hermesd.gateway.drafts import Draft, forget_draft, load_draft, save_draft
from hermesd.gateway.platform import PlatformError

if TYPE_CHECKING:
    from hermesd.gateway.connected import Connected
    from hermesd.gateway.platform import Platform
    from hermesd.store.protocol import Store
    from hermesd.store.records import Address
    from hermesd.turns.live import Live, Update

logger = logging.getLogger(__name__)

EDIT_INTERVAL_S = 1.0
TYPING_INTERVAL_S = 4.5  # Telegram shows it for five seconds
FIRST_DRAFT_CHARS = 24  # a short answer comes whole
EDIT_S = 10.0  # how long a draft edit may take, and so keep the final message waiting


class _View(msgspec.Struct):
    """A turn as its chat sees it."""

    turn_id: str
    inbox_id: int
    text: str = ""
    changed: trio.Event = msgspec.field(default_factory=trio.Event)
    scope: trio.CancelScope = msgspec.field(default_factory=trio.CancelScope)
    finished: bool = False
    done: trio.Event = msgspec.field(default_factory=trio.Event)


class Presenter:
    """A service of one profile."""

    def __init__(self, profile: str, *, store: Store, live: Live, connected: Connected) -> None:
        self._profile = profile
        self._store = store
        self._live = live
        self._connected = connected
        self._views: dict[str, _View] = {}
        self._new: list[_View] = []
        self._arrived = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the profile's turns until cancelled."""
        unfollow = self._live.follow_profile(self._profile, self._on_update)
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    for view in self._new:
                        nursery.start_soon(self._present, view)
                    self._new.clear()
                    self._arrived = trio.Event()
                    await self._arrived.wait()
        finally:
            unfollow()
            for view in self._views.values():
                view.done.set()
            self._views.clear()
            self._new.clear()

    async def finish(self, turn_id: str) -> None:
        """Stop presenting a turn; returns when no draft edit of it is under way."""
        view = self._views.get(turn_id)
        if view is None:
            await trio.lowlevel.checkpoint()
            return
        self._end(view)
        await view.done.wait()

    # -- what happens --------------------------------------------------------------------------------------------------

    def _on_update(self, update: Update) -> None:
        view = self._views.get(update.turn_id)
        if update.kind == "started" and view is None:
            view = self._views[update.turn_id] = _View(update.turn_id, update.inbox_id)
            self._new.append(view)
            self._arrived.set()
        elif view is None:
            return
        elif update.kind == "text":
            view.text += update.text
            view.changed.set()
        elif update.kind == "restarted":
            view.text = ""
        elif update.kind == "tool" and view.text and not view.text.endswith("\n"):
            view.text += "\n\n"
        elif update.kind in {"finished", "notice"}:  # a notice: the model is away, and the turn will be taken up again
            view.finished = update.kind == "finished"
            self._end(view)

    def _end(self, view: _View) -> None:
        """Cancel its waiting; an edit under way is shielded and ends by itself."""
        view.scope.cancel()

    async def _present(self, view: _View) -> None:
        try:
            with view.scope:
                await self._show(view)
            if view.finished:
                await self._drop_orphan(view)
        except (StoreError, NotFoundError) as error:
            logger.warning("turn %s is not shown while it runs: %s", view.turn_id, error.what)
        finally:
            self._views.pop(view.turn_id, None)
            view.done.set()

    async def _show(self, view: _View) -> None:
        address = (await self._store.inbox_row(view.inbox_id)).address
        platform = self._connected.get(address.platform)
        if platform is None:
            await trio.sleep_forever()  # nothing can be shown; _end ends this
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_type, platform, address)
            await self._draw(view, platform, address)

    # -- drafts --------------------------------------------------------------------------------------------------------

    async def _draw(self, view: _View, platform: Platform, address: Address) -> None:
        """Keep one draft up to date, about once a second, until the turn ends or the platform will not have it."""
        stored = await load_draft(self._store, view.turn_id)
        ref = stored.ref if stored and stored.address == address else ""
        while True:
            await view.changed.wait()
            view.changed = trio.Event()
            if len(view.text) < FIRST_DRAFT_CHARS and not ref:
                continue
            try:
                ref = await self._edit(view, platform, address, ref)
            except PlatformError as error:
                if not error.retry_after_s:
                    logger.info("turn %s is shown only when it is done: %s", view.turn_id, error.what)
                    return
                view.changed.set()
                await trio.sleep(error.retry_after_s)
            else:
                await trio.sleep(EDIT_INTERVAL_S)

    async def _edit(self, view: _View, platform: Platform, address: Address, ref: str) -> str:
        """One edit, which is not cancelled half-way: its message must be known, and must not arrive late."""
        with trio.move_on_after(EDIT_S, shield=True):
            new = await platform.show_draft(address, view.text, ref)
            if new != ref:
                await save_draft(self._store, view.turn_id, Draft(address=address, ref=new))
            return new
        return ref

    async def _drop_orphan(self, view: _View) -> None:
        """A turn that ended without a reply leaves its draft as it is."""
        with trio.CancelScope(shield=True):
            if await load_draft(self._store, view.turn_id) is None:
                return
            if await self._store.outbox_by_key(f"turn:{view.turn_id}:reply") is None:
                await forget_draft(self._store, view.turn_id)


async def _type(platform: Platform, address: Address) -> None:
    """Say "typing…" again and again; it is shown for some seconds only."""
    while True:
        await platform.typing(address)
        await trio.sleep(TYPING_INTERVAL_S)
