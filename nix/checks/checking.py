"""What the checks of this directory share: calls of the package's programs, and how a check ends."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_S = 120.0


def arguments(description: str, *names: str) -> argparse.Namespace:
    """The directories that a check is given, each as ``--name DIR`` and absolute."""
    parser = argparse.ArgumentParser(description=description)
    for name in names:
        parser.add_argument(f"--{name}", type=lambda text: Path(text).absolute(), required=True)
    return parser.parse_args()


def call(
    package: Path, program: str, words: Sequence[str], *, home: Path, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A call of one of the package's programs, with nothing of this environment but what it needs to run."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return subprocess.run(
        [str(package / "bin" / program), *words],
        env=kept | {"HOME": str(home), "HERMES_HOME": str(home / ".hermes"), **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )


def finish(problems: Sequence[str]) -> int:
    """Say what is wrong, a line each; the status to end with."""
    for problem in problems:
        sys.stderr.write(f"{Path(sys.argv[0]).stem}: {problem}\n")
    return 1 if problems else 0
