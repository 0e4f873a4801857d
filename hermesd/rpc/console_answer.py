"""What a read-only verb comes to: a result, and how it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.rpc.console_arguments import Call
    from hermesd.rpc.context import Daemon
    from hermesd.rpc.render.page import Page

MAX_ROWS = 10_000

R = TypeVar("R")


class Answer(msgspec.Struct, frozen=True):
    """A query's result, how it is rendered, and the exit status."""

    result: object
    render: Callable[[Page], str]
    status: int = 0


def answering(
    ask: Callable[[Call, Daemon], Awaitable[R]], show: Callable[[Page, R], str]
) -> Callable[[Call, Daemon], Awaitable[Answer]]:
    """A verb that asks, and shows what it is told."""

    async def answer(call: Call, daemon: Daemon) -> Answer:
        result = await ask(call, daemon)
        return Answer(result, lambda page: show(page, result))

    return answer


def limit_of(call: Call, default: int) -> int:
    """``--limit``, within what one answer may hold. Raises UsageError."""
    return min(call.number("limit", default), MAX_ROWS)
