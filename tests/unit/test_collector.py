"""The garbage collector around the start."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc
before = gc.get_threshold()
from hermesd import collector
collector.starting()
assert gc.get_threshold()[0] == collector.STARTING > before[0]
collector.started()
assert gc.get_threshold() == before and gc.isenabled() and gc.get_freeze_count() > 0
"""


def test_collecting_is_rare_while_starting_and_as_usual_afterwards() -> None:
    """What came up is frozen, and later garbage is found as early as in any program."""
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
