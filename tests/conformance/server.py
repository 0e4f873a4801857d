"""The server side: a real hermesd with the tools, resources and prompts that the scenarios name."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.suite import ROOT
from tests.servers.daemon import Daemon
from tests.servers.mcp_served import CONFIG


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """The address of a daemon's endpoint; the daemon is gone on exit."""
    with tempfile.TemporaryDirectory(prefix="hd-") as name:
        home = Path(name) / "home"
        home.mkdir(mode=0o700)
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        daemon = Daemon(home, {"PYTHONPATH": path}, module="tests.servers.mcp_served")
        daemon.write_config(CONFIG)
        (home / "config.yaml").chmod(0o600)
        daemon.start()
        try:
            yield daemon.mcp_url()
        finally:
            daemon.kill()
