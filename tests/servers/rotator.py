"""A process that renews one server's tokens again and again: ``python -m tests.servers.rotator DIR URL TIMES TASKS``.

Prints the number of renewals that gave it another token; fails when one needed a person.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from hermesd.config.schema import McpServerConfig
from hermesd.mcp.oauth.manager import OAuthManager
from hermesd.mcp.oauth.storage import TokenStorage


async def main(directory: Path, url: str, times: int, tasks: int) -> None:
    """Recover ``times`` times from a failure of the token in use, each time in ``tasks`` tasks at once."""
    manager = OAuthManager(directory)
    manager.get_or_build_provider("srv", url, McpServerConfig())
    storage = TokenStorage(directory, "srv")
    renewed = 0
    async with trio.open_nursery() as service:
        await service.start(lambda task_status: manager.run(task_status=task_status))
        for _ in range(times):
            tokens = storage.read_tokens()
            assert tokens is not None

            async def recover(failed: str) -> None:
                assert await manager.handle_401("srv", failed), manager.failure("srv")

            async with trio.open_nursery() as callers:
                for _ in range(tasks):
                    callers.start_soon(recover, tokens.access_token)
            after = storage.read_tokens()
            renewed += after is not None and after.access_token != tokens.access_token
        service.cancel_scope.cancel()
    print(renewed)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
