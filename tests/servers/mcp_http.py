"""An HTTP MCP server made with the official SDK, in a process of its own; port and transport from the command line.

``python -m tests.servers.mcp_http PORT [streamable-http|sse]``. Tools: echo {text}; sleep {seconds}; count (how often
count was called); grow (adds a tool and says so); note {path, text, seconds} (appends a line to a file, then sleeps).
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass
class HttpServer:
    """A server that can be killed and started again on its port."""

    port: int
    transport: str
    log: Path
    process: subprocess.Popen[bytes] | None = None
    module: str = "tests.servers.mcp_http"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{'sse' if self.transport == 'sse' else 'mcp'}"

    def start(self) -> None:
        """Start, and return once the port is open."""
        with self.log.open("ab") as log:
            argv = [sys.executable, "-m", self.module, str(self.port), self.transport]
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=Path(__file__).parents[2]
            )
        from tests.waiting import wait_until  # with Trio, which the server itself does not need

        wait_until(lambda: self._is_open() or self._has_ended())
        assert not self._has_ended(), f"the server did not start; see {self.log}"

    def _is_open(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def _has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def pause(self) -> None:
        """Make it a black hole."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """And no more."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def serving(directory: Path, transport: str = "streamable-http") -> Iterator[HttpServer]:
    """A running server that logs into ``directory``."""
    server = HttpServer(free_port(), transport, directory / "mcp_http.log")
    try:
        server.start()
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.go_on()
            server.kill()


def main() -> None:
    """Serve until killed."""
    import anyio
    from mcp.server import MCPServer
    from mcp.server.mcpserver import Context

    server = MCPServer("http-test")
    counted = 0

    @server.tool()
    async def echo(text: str) -> str:
        return text

    @server.tool()
    async def sleep(seconds: float) -> str:
        await anyio.sleep(seconds)
        return "awake"

    @server.tool()
    async def count() -> int:
        nonlocal counted
        counted += 1
        return counted

    @server.tool()
    async def note(path: str, text: str, seconds: float) -> str:
        with Path(path).open("a") as file:
            file.write(f"{text}\n")
        await anyio.sleep(seconds)
        return text

    async def grow(ctx: Context) -> str:  # type: ignore[type-arg]  # of any lifespan
        server.add_tool(echo, name="grown")
        await ctx.notify_tools_changed()  # from 2026-07-28 on
        await ctx.session.send_tool_list_changed()  # before
        return "grown"

    grow.__annotations__["ctx"] = Context  # a local name, which the SDK could not find by itself
    server.add_tool(grow)
    server.run(sys.argv[2], host="127.0.0.1", port=int(sys.argv[1]))  # type: ignore[call-overload]  # a literal


if __name__ == "__main__":
    main()
