"""Configuration files are read, changed and written by one of the daemon's threads at a time, whoever asks for it.

Other processes are kept apart by ``config.lock``; with this, no two threads of the daemon wait for each other there.
"""

from __future__ import annotations

import trio

WRITING_THREADS = trio.CapacityLimiter(1)
"""For every change of a config.yaml or .env: two at once would each undo the other's."""
