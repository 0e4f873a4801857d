"""How many descriptors this process has open, for tests of what is left behind."""

from __future__ import annotations

import gc
from pathlib import Path


def open_descriptors() -> int:
    """Without those of garbage: what earlier tests have left to the collector must not be closed between two counts."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))
