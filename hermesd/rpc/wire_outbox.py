"""The type of ``outbox.show``: beside ``rpc.wire``."""

from __future__ import annotations

from hermesd.rpc.wire import Result
from hermesd.store.records import OutboxRow


class OutboxDetail(Result, kw_only=True):
    """One outgoing message, with its whole text, how often it was tried, and what came of the last try."""

    row: OutboxRow
