"""Noticing that a profile's files changed, and what of the configuration did.

One inotify descriptor watches the directory of every profile: editors replace a file by renaming another one over it,
which a watch on the file itself would lose. Nothing polls, and nothing wakes up while nothing changes; elsewhere than
on Linux only SIGHUP reloads.
"""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.config.inotify import Event, Inotify
    from hermesd.config.settings import Settings
    from hermesd.home import Profile

DEBOUNCE_S = 0.1
MAX_DEBOUNCE_S = 2.0  # a file that is written all the time is read this often nevertheless
WATCHED_NAMES = frozenset({"config.yaml", ".env"})


class ConfigWatcher:
    """A service that calls ``on_change(profile's name)`` once its config.yaml or .env has changed and then rested.

    Profiles may be added and removed at any time, also before it runs. Calls never overlap; what changes during one is
    told afterwards. An exception of ``on_change`` ends the service.
    """

    def __init__(self, on_change: Callable[[str], Awaitable[None]], *, debounce_s: float = DEBOUNCE_S) -> None:
        self._on_change = on_change
        self._debounce_s = debounce_s
        self._profiles: dict[str, Profile] = {}
        self._watches: dict[int, str] = {}
        self._timers: dict[str, tuple[trio.CancelScope, float]] = {}
        self._calling = trio.Lock()
        self._inotify: Inotify | None = None

    def add(self, profile: Profile) -> None:
        """Watch a profile's directory. Raises ConfigError when the kernel's limit of watches is reached."""
        self._profiles[profile.name] = profile
        self._watch(profile)

    def remove(self, name: str) -> None:
        """Watch it no longer; unknown names are ignored."""
        self._profiles.pop(name, None)
        for watch in [watch for watch, owner in self._watches.items() if owner == name]:
            del self._watches[watch]
            if self._inotify is not None:
                try:
                    self._inotify.remove(watch)
                except OSError as error:
                    if error.errno != errno.EINVAL:  # the kernel has dropped it already, with the directory
                        raise

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled. Raises ConfigError when the kernel's limits are reached."""
        if sys.platform != "linux":
            task_status.started()
            await trio.sleep_forever()
        from hermesd.config.inotify import Inotify

        try:
            self._inotify = Inotify()
        except OSError as error:
            raise _limit(error) from None
        try:
            for profile in self._profiles.values():
                self._watch(profile)
            async with trio.open_nursery() as nursery:
                task_status.started()
                await self._follow(self._inotify, nursery)
        finally:
            self._inotify.close()
            self._inotify = None
            self._watches.clear()
            self._timers.clear()

    async def _follow(self, inotify: Inotify, nursery: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(inotify.fd)
            for name in self._changed(inotify.read()):
                if name in self._timers:
                    timer, latest = self._timers[name]
                    timer.deadline = min(trio.current_time() + self._debounce_s, latest)
                else:
                    latest = trio.current_time() + MAX_DEBOUNCE_S
                    timer = trio.CancelScope(deadline=trio.current_time() + self._debounce_s)
                    self._timers[name] = timer, latest
                    nursery.start_soon(self._settle, name, timer)

    async def _settle(self, name: str, timer: trio.CancelScope) -> None:
        with timer:
            await trio.sleep_forever()
        del self._timers[name]
        async with self._calling:
            if name in self._profiles:
                await self._on_change(name)

    def _changed(self, events: list[Event]) -> set[str]:
        from hermesd.config.inotify import IGNORED, Q_OVERFLOW

        names = set()
        for event in events:
            if event.mask & Q_OVERFLOW:
                return set(self._profiles)
            if event.mask & IGNORED:
                self._watches.pop(event.watch, None)
            elif event.name in WATCHED_NAMES and event.watch in self._watches:
                names.add(self._watches[event.watch])
        return names

    def _watch(self, profile: Profile) -> None:
        if self._inotify is None:
            return
        from hermesd.config.inotify import ATTRIB, CLOSE_WRITE, DELETE, MOVED_FROM, MOVED_TO

        try:
            watch = self._inotify.add(profile.root, ATTRIB | CLOSE_WRITE | DELETE | MOVED_FROM | MOVED_TO)
        except FileNotFoundError:
            return  # removed meanwhile; whoever removed it says so
        except OSError as error:
            raise _limit(error) from None
        self._watches[watch] = profile.name


def _limit(error: OSError) -> ConfigError:
    steps = {
        errno.ENOSPC: "raise fs.inotify.max_user_watches with sysctl",
        errno.EMFILE: "raise fs.inotify.max_user_instances with sysctl",
    }
    return ConfigError(
        f"cannot watch for changes: {error.strerror}",
        where=str(error.filename or "inotify"),
        next_step=steps.get(error.errno or 0, "reload with SIGHUP or `hermesctl reload`"),
    )


def diff(old: Settings, new: Settings) -> set[str]:
    """The sections in which two configurations of a profile differ: ``model``, ``platforms.telegram``, ``toolsets`` …

    ``secrets`` is among them when .env differs in a variable that no section took over.
    """
    touched: set[str] = set()
    for field in msgspec.structs.fields(old.config):
        before, after = getattr(old.config, field.name), getattr(new.config, field.name)
        if before == after:
            continue
        if field.name == "platforms":
            names = (row.name for row in msgspec.structs.fields(before))
            touched |= {f"platforms.{name}" for name in names if getattr(before, name) != getattr(after, name)}
        else:
            touched.add(field.name)
    if dict(old.secrets) != dict(new.secrets):
        touched.add("secrets")
    return touched
