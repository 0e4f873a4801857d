"""Runs the client under test and writes down how it ended: the suite itself takes death by a signal for success.

``python -m tests.conformance.witness FILE PROGRAM ARGUMENT…`` writes the return code (negative: the signal) to FILE.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main(path: Path, argv: list[str]) -> int:
    """Run it; the exit status is the client's, or 1 for a signal."""
    code = subprocess.run(argv, check=False).returncode
    path.write_text(str(code))
    return code if code >= 0 else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
