"""``.managed``: who declares what of this home, for the guards of hermesctl and of the daemon."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hermesd.config.managed import Declared

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermesd.activation.manifest import ManagerPart

MANAGED = PurePosixPath(".managed")
_HEAD = "# written by `hermesctl activate`; `hermesctl managed show` tells what it means\n"


def marker_text(manager: ManagerPart, declared: Iterable[Declared]) -> str:
    """The file, as ``config.managed`` reads it."""
    lines = [manager.name, *([f"rebuild={manager.rebuild}"] if manager.rebuild else []), "declared=listed"]
    for each in sorted(set(declared)):
        lines.append(f"{each.kind}={each.name if each.kind == 'profile' else f'{each.profile} {each.name}'}")
    return _HEAD + "".join(f"{line}\n" for line in lines)
