"""Run by hermes-agent's own Python: its webhook adapter on a free port, which it prints; every event is let go.

    HERMES_HOME=… python hermes_webhook.py SECRET

The turn that an event begins is left out, as it is in our measurement: what is timed is a signed request until its 202.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys


async def serve(secret: str) -> None:
    webhook = importlib.import_module("gateway.platforms.webhook")
    config = importlib.import_module("gateway.config")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    route = {
        "secret": secret,
        "prompt": "{repository.full_name}: {issue.title}",
        "events": ["issues"],
        "deliver": "log",
    }
    extra = {"host": "127.0.0.1", "port": port, "routes": {"bench": route}, "rate_limit": 10**9}
    adapter = webhook.WebhookAdapter(config.PlatformConfig(enabled=True, extra=extra))

    async def let_go(_event: object) -> None:
        return None

    adapter.handle_message = let_go
    assert await adapter.connect()
    print(port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
