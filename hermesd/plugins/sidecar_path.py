"""Where packages of the plugins' own environment lie, and how the daemon comes to see them: last of all.

``$HERMES_HOME/plugins/.sidecar/current`` is a link to the environment that ``hermesctl activate`` has built
(``activation.sidecar``).
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

DIRECTORY = ".sidecar"
CURRENT = "current"


def site_packages(root: Path) -> Path:
    """The site-packages of an environment for this Python, which may not exist."""
    return root / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def current_packages(home: Path) -> Path | None:
    """The packages in force, by their real path; None when there are none that this Python can use."""
    try:
        root = (home / "plugins" / DIRECTORY / CURRENT).resolve(strict=True)
    except OSError:
        return None
    found = site_packages(root)
    return found if found.is_dir() else None


def extend_path(home: Path) -> None:
    """Append them to ``sys.path``: behind everything, so that no package there replaces one of the daemon's.

    What was appended stays until the process ends; an environment that was switched meanwhile counts after a restart.
    """
    above = str((home / "plugins" / DIRECTORY).resolve())
    if any(Path(entry).is_relative_to(above) for entry in sys.path if entry):
        return
    if (found := current_packages(home)) is not None:
        sys.path.append(str(found))
        importlib.invalidate_caches()
