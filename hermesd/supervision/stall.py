"""A watchdog that names whatever held the event loop for too long, with its stack, while it is holding it.

One hook of the loop (trio.abc.Instrument) notes when it comes back from waiting for I/O: a busy slice begins. A thread
looks at intervals while the loop has been active, and parks on a queue as soon as it has not: an idle daemon has no
wake-ups from here. Whether the slice goes on is seen in the loop thread's stack, not noted by a second hook, which
would double what every pass pays. A slice is seen within the interval and looked at again when it reaches the
threshold, so none of that length is missed, unless C code holds the interpreter's lock: then the look comes when it
lets go, mostly still in the function that called it.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sys
import threading
import time
import traceback
from collections import deque
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.supervision.current import service_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

log = logging.getLogger("hermesd.supervision.stall")

THRESHOLD_S = 0.1
LOOK_S = 0.05
FOLLOW_S = 0.01  # while a slice over the threshold goes on: how exactly its end is known
STILL_S = 5.0  # a slice so long is logged before its end, which may never come
STACK_FRAMES = 20
KEPT = 32


class Stall(msgspec.Struct, frozen=True, kw_only=True):
    """One time the loop was held: by which service and task, for how long, where. ``at`` is epoch seconds."""

    service: str
    task: str
    duration_s: float
    stack: str
    at: float


class _Caught(msgspec.Struct):
    """A slice that went over the threshold and was looked at."""

    began: float
    service: str
    task: str
    stack: str
    told: bool = False


class StallWatchdog(trio.abc.Instrument):
    """``with StallWatchdog().watching(): …`` inside the loop. ``stalls`` keeps the last ones for doctor."""

    def __init__(self, *, threshold_s: float = THRESHOLD_S) -> None:
        self.threshold_s = threshold_s
        self.stalls: deque[Stall] = deque(maxlen=KEPT)
        self._began = 0.0
        self._parked = False
        self._caught: _Caught | None = None
        self._suspect = 0.0
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopping = False
        self._loop_thread = 0
        self._root: trio.lowlevel.Task | None = None

    @contextlib.contextmanager
    def watching(self) -> Iterator[StallWatchdog]:
        """Watch the loop that this is called in, from its thread, until the block is left."""
        self._loop_thread = threading.get_ident()
        self._root = trio.lowlevel.current_root_task()
        self._began = time.perf_counter()
        self._stopping = self._parked = False
        thread = threading.Thread(target=self._watch, name="stall watchdog", daemon=True)
        thread.start()
        trio.lowlevel.add_instrument(self)
        try:
            yield self
        finally:
            with contextlib.suppress(KeyError):  # an instrument that raised was removed by the loop
                trio.lowlevel.remove_instrument(self)
            self._stopping = True
            self._wake.put(None)
            thread.join(timeout=1.0)
            self._root = None

    def after_io_wait(self, timeout: float) -> None:
        """A busy slice begins. Called by the loop at every pass, so it does next to nothing."""
        self._began = time.perf_counter()
        if self._parked:
            self._parked = False
            self._wake.put(None)

    # -- in the thread -------------------------------------------------------------------------------------------
    def _watch(self) -> None:
        seen = 0.0
        while not self._stopping:
            began = self._began
            wait_s = self._look(began)
            if wait_s is None and began == seen:
                self._parked = True
                # A slice that began just before was perhaps not told of parking: do not park then.
                wait_s = LOOK_S if self._began != began else None
            elif wait_s is None:
                wait_s = LOOK_S
            seen = began
            with contextlib.suppress(queue.Empty):
                self._wake.get(timeout=wait_s)
            self._parked = False
        if self._caught is not None:
            self._record(self._caught, time.perf_counter())

    def _look(self, began: float) -> float | None:
        """Follow the slice that ``began`` then; return the seconds until the next look, None if the loop waits."""
        now = time.perf_counter()
        if self._caught is not None and self._caught.began != began:
            self._record(self._caught, min(now, began))
        if now - began < self.threshold_s:
            return max(began + self.threshold_s - now, 0.001)
        frames = _frames_in_slice(sys._current_frames().get(self._loop_thread))
        if frames is None:
            if self._caught is not None:
                self._record(self._caught, now)
            return None
        if self._caught is None:
            self._catch(began, frames)
        elif now - began >= STILL_S and not self._caught.told:
            self._caught.told = True
            _tell(self._caught, f"has held the loop for {now - began:.0f} s and goes on")
        return FOLLOW_S

    def _catch(self, began: float, frames: list[tuple[FrameType, int]]) -> None:
        """Note who holds the loop. Where no task runs it may just be waking up: that is believed at the next look."""
        stack = _render(frames)
        task = _running(self._root)
        if self._began != began or (task is None and self._suspect != began):
            self._suspect = began
            return
        service = task.context.get(service_path, "") if task else ""
        self._caught = _Caught(began, service, task.name if task else "", stack)

    def _record(self, caught: _Caught, ended: float) -> None:
        self._caught = None
        duration_s = round(ended - caught.began, 3)
        at = time.time() - (time.perf_counter() - caught.began)
        stall = Stall(service=caught.service, task=caught.task, duration_s=duration_s, stack=caught.stack, at=at)
        self.stalls.append(stall)
        _tell(caught, f"held the loop for {duration_s * 1000:.0f} ms")


def _tell(caught: _Caught, what: str) -> None:
    who = caught.service or caught.task or "the event loop itself"
    log.warning("%s %s\n%s", who, what, caught.stack, extra={"fields": {"service": caught.service}})


def _frames_in_slice(innermost: FrameType | None) -> list[tuple[FrameType, int]] | None:
    """The loop thread's frames inside the loop's own, innermost first; None while the loop waits for I/O.

    Trio runs tasks from the generator ``unrolled_run``, which is suspended, so on no stack, while it waits.
    """
    frames: list[tuple[FrameType, int]] = []
    for frame, line in traceback.walk_stack(innermost):
        if frame.f_code.co_name == "unrolled_run" and frame.f_globals.get("__name__") == "trio._core._run":
            return frames
        frames.append((frame, line))
    return None


def _render(frames: list[tuple[FrameType, int]]) -> str:
    """Outermost first, as in a traceback; the outer ones of a very deep stack are left out."""
    summary = traceback.StackSummary.extract(iter(frames[:STACK_FRAMES]))
    summary.reverse()
    return "".join(summary.format()).rstrip()


def _running(root: trio.lowlevel.Task | None) -> trio.lowlevel.Task | None:
    """The task whose coroutine is being run now. Called from another thread: the tree may change under the walk."""
    waiting = [root] if root else []
    try:
        while waiting:
            task = waiting.pop()
            if getattr(task.coro, "cr_running", False):
                return task
            for nursery in task.child_nurseries:
                waiting.extend(nursery.child_tasks)
    except RuntimeError:  # a set changed size: the loop goes on again, and nobody holds it
        pass
    return None
