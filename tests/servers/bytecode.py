"""Compiled modules for the processes a run starts, also where PYTHONDONTWRITEBYTECODE keeps them out of the tree.

An installed hermesd has its modules compiled; one that runs from a tree without bytecode compiles all of them at every
start, which is half of the processor time of a start. A run starts thousands.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable


def keep_bytecode() -> Callable[[], None]:
    """Let child processes keep their bytecode in a directory of this run; returns what removes it.

    Does nothing where bytecode is written anyway, and in a process whose parent has done it.
    """
    if not os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        return lambda: None
    if "PYTHONPYCACHEPREFIX" in os.environ:
        return lambda: None
    place = tempfile.mkdtemp(prefix="hermesd-bytecode-")
    os.environ["PYTHONPYCACHEPREFIX"] = place
    return lambda: shutil.rmtree(place, ignore_errors=True)
