"""Named points at which a test may have the process killed with SIGKILL.

``HERMESD_FAILPOINT=name`` kills at the first passage, ``name:3`` at the third. Unset (always, outside tests)
``hit`` is one dictionary look-up. The kill harness in ``tests/faults`` walks every name in ``NAMES``.
"""

from __future__ import annotations

import os
import signal

NAMES = (
    "inbox.before_commit",
    "inbox.after_commit",
    "turn.begun",
    "model.before_request",
    "model.after_reply",
    "step.intent",
    "step.started",
    "step.ran",
    "step.result",
    "turn.before_finish",
    "turn.after_finish",
    "outbox.attempting",
    "outbox.after_send",
    "outbox.sent",
    "cursor.before_ack",
    "store.before_commit",
    "store.after_commit",
    "home.before_rename",
    "home.after_rename",
)
OF_APPLY = ("apply.noted", "apply.profiles", "apply.written", "apply.reloaded", "apply.committed", "apply.removed")
"""Those that only `hermesctl apply` passes: their test walks them in order."""
OF_FILES = ("files.before_rename", "files.after_rename")
"""Those of files that are written by descriptor (`hermesctl activate`, `hermesctl container`)."""


def _parse(spec: str) -> dict[str, int]:
    armed: dict[str, int] = {}
    for part in filter(None, spec.split(",")):
        name, _, count = part.partition(":")
        armed[name] = int(count or 1)
    return armed


_armed = _parse(os.environ.get("HERMESD_FAILPOINT", ""))


def hit(name: str) -> None:
    """Kill this process with SIGKILL if ``name`` is armed and its count has run down."""
    if _armed and name in _armed:
        _armed[name] -= 1
        if _armed[name] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
