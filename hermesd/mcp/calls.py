"""A request on its way: made by a task of the server's owner, waited for by whoever asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from hermesd.mcp.errors import McpError
from hermesd.mcp.session import RefusedError, broke_off, meaning

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp import ClientSession
    from pydantic import BaseModel

    from hermesd.mcp.link import Link


class Call:
    """One request in one session. The SDK's courtesies to a server that hangs are not the caller's to wait for."""

    def __init__(self, session: ClientSession, link: Link, server: str) -> None:
        self._session = session
        self._link = link
        self._server = server
        self._scope = trio.CancelScope()
        self._done = trio.Event()
        self._answer: BaseModel | None = None
        self._error: McpError | None = None

    async def run(self, request: Callable[[ClientSession], Awaitable[BaseModel]]) -> None:
        """Make the request; never raises for what a server does."""
        import anyio
        from mcp.shared.exceptions import MCPError

        try:
            with self._scope:
                self._answer = await request(self._session)
        except MCPError as error:
            self._error = meaning(error, self._server, self._link)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._error = broke_off(self._server, self._link, RefusedError)
        except (ValueError, RuntimeError) as error:  # pydantic's, and the SDK's for an answer it cannot use
            text = f"the server's answer makes no sense: {str(error)[:300]}"
            self._error = McpError(text, kind="protocol", where=f"mcp/{self._server}")
        finally:
            if self._answer is None and self._error is None:
                self._error = broke_off(self._server, self._link)
            self._done.set()

    async def outcome(self) -> BaseModel:
        """The SDK's result; raises McpError. Cancelling this cancels the request without waiting for it."""
        try:
            await self._done.wait()
        except trio.Cancelled:
            self._scope.cancel()
            raise
        if self._error is not None:
            raise self._error
        assert self._answer is not None
        return self._answer
