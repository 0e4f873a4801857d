"""Which platforms of a profile can send right now.

A platform is here from the moment its connection is proven until its service ends; the delivery worker leaves rows
for others alone and is woken when one arrives.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hermesd.gateway.platform import Platform


class Connected:
    """The connected platforms of one profile, by name."""

    def __init__(self) -> None:
        self._platforms: dict[str, Platform] = {}
        self._listeners: list[Callable[[], None]] = []

    def get(self, name: str) -> Platform | None:
        """The platform, if it is connected."""
        return self._platforms.get(name)

    def names(self) -> list[str]:
        """The connected platforms."""
        return sorted(self._platforms)

    @contextmanager
    def hold(self, platform: Platform) -> Iterator[None]:
        """Be connected while the block runs; a successor of the same name is not disturbed by the end of this one."""
        self._platforms[platform.name] = platform
        for listener in list(self._listeners):
            listener()
        try:
            yield
        finally:
            if self._platforms.get(platform.name) is platform:
                del self._platforms[platform.name]

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` whenever a platform connects; returns the unsubscriber."""
        self._listeners.append(listener)

        def remove() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return remove
