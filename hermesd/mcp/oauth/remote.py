"""Sign-ins under way for people elsewhere, who get the address from a client and send it the one they end at."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from hermesd.errors import ConflictError, NotFoundError, UsageError
from hermesd.mcp.oauth.authorization import MAX_ANSWER_CHARS
from hermesd.mcp.oauth.login import Surface

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermesd.config.schema import McpServerConfig
    from hermesd.mcp.oauth.manager import OAuthManager


class RemoteSignIns:
    """One sign-in a server at a time, each for as long as ``run`` runs. What is sent in is read like a pasted line."""

    def __init__(self, manager: OAuthManager) -> None:
        self._manager = manager
        self._ways_in: dict[str, socket.socket] = {}

    async def run(
        self, name: str, config: McpServerConfig, *, say: Callable[[str], None], show: Callable[[str], None]
    ) -> None:
        """Sign in; ``show`` gets the address to open, ``say`` words for the person.

        Raises ConflictError while another one is under way, and McpError as ``OAuthManager.login`` does.
        """
        if name in self._ways_in:
            step = "answer it, or wait until it has ended"
            raise ConflictError(f"a sign-in to {name} is under way", where=f"mcp/{name}", next_step=step)

        def open_url(url: str) -> bool:
            show(url)
            return False  # nothing was opened here

        way_in, way_out = socket.socketpair()
        with way_in, way_out:
            way_in.setblocking(False)
            self._ways_in[name] = way_in
            try:
                surface = Surface(say, open_url, paste_fd=way_out.fileno())
                await self._manager.login(name, config.url, config, surface)
            finally:
                del self._ways_in[name]

    def answer(self, name: str, address: str) -> None:
        """Hand in the address that the browser ended at. Raises NotFoundError without a sign-in, UsageError."""
        if name not in self._ways_in:
            step = f"begin one with mcp.login, or `{self._manager.login_command(name[:80])}`"
            raise NotFoundError(f"no sign-in to {name[:80]!r} is under way", where=f"mcp/{name[:80]}", next_step=step)
        line = address.strip()
        if not line or len(line) > MAX_ANSWER_CHARS or not line.isascii() or not line.isprintable():
            raise UsageError("that is no address", where="address", next_step="send what stands in the address bar")
        try:
            self._ways_in[name].send(line.encode() + b"\n")
        except BlockingIOError:
            raise ConflictError("too many answers at once", where=f"mcp/{name}", next_step="wait a moment") from None
