"""What a watch is: files, a command's output or a unit's state, and what is done when it differs from what was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from hermesd.errors import HermesError
from hermesd.rpc.wire_watch import Bus, WatchMode, WhileRunning
from hermesd.triggers.schedule import Schedule
from hermesd.triggers.turn_spec import TurnSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import trio

    from hermesd.store.watches import Changes

Kind = Literal["file", "command", "unit"]

DEFAULT_DEBOUNCE_S = 1.0
MAX_DEBOUNCE_S = 3600.0
MIN_DEBOUNCE_S = 0.05
LONGEST_WAIT = 10
"""What never rests is looked at after so many times its debounce nevertheless."""

ONLY = ""
"""The one thing that a watch of a command or a unit looks at."""


class NotThisTimeError(HermesError):
    """It could not be looked at now; the next reason to look is waited for."""


class WatchSpec(TurnSpec, frozen=True, kw_only=True, omit_defaults=True):
    """What a watch looks at and does, as its owner set it. Durations in seconds; 0 or '' means unset.

    ``mode``: *suggest* asks before anything is done, *act* does not. ``while_running``: what becomes of differences
    that appear while the turn of the last one uses its tools: they are taken for its own doing, or count.
    """

    kind: Kind
    files: list[str] = msgspec.field(default_factory=list)
    command: str = ""
    schedule: Schedule | None = None
    unit: str = ""
    bus: Bus = "system"
    states: list[str] = msgspec.field(default_factory=list)
    mode: WatchMode = "suggest"
    debounce_s: float = DEFAULT_DEBOUNCE_S
    while_running: WhileRunning = "ignore"

    @property
    def what(self) -> str:
        """What it looks at, in a phrase."""
        match self.kind:
            case "file":
                return ", ".join(self.files)
            case "command":
                return f"{self.command}, {self.schedule.text if self.schedule else ''}"
            case "unit":
                return f"{'user ' if self.bus == 'user' else ''}unit {self.unit}"


def encode(spec: WatchSpec) -> str:
    """As JSON text."""
    return msgspec.json.encode(spec).decode()


def decode(text: str) -> WatchSpec:
    """The inverse; raises msgspec.ValidationError."""
    return msgspec.json.decode(text, type=WatchSpec)


class Source(Protocol):
    """Where differences come from: something that can be looked at, and that says when to."""

    async def run(self, changed: Callable[[], None], *, task_status: trio.TaskStatus[None]) -> None:
        """Call ``changed`` whenever there may be a difference, until cancelled. Raises HermesError, OSError."""

    async def look(self) -> dict[str, str]:
        """Thing → what is seen of it now. Raises NotThisTimeError; HermesError, OSError for what needs mending."""

    async def own(self, changes: Changes, since: float, until: float) -> Changes:
        """Those of the differences that came between two instants (epoch seconds), as far as that can be known."""


def difference(seen: Mapping[str, str], now: Mapping[str, str]) -> Changes:
    """What has to be remembered so that ``now`` is seen."""
    changes: Changes = {thing: value for thing, value in now.items() if seen.get(thing) != value}
    return changes | {thing: None for thing in seen if thing not in now}
