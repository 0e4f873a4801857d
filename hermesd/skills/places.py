"""Where skills are looked for. The first place that has one of a name wins, and nothing is ever written to any.

profile's ``skills/`` → the home's ``skills/`` → those that come with hermesd
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermesd.home import Profile

SKILL_FILE = "SKILL.md"
VARIABLE = "HERMES_BUNDLED_SKILLS"
"""Names a directory in place of ``OWN``; a package that is put together elsewhere (Nix) sets it."""
OWN = Path(__file__).parent / "bundled"
WITHOUT = ".no-bundled-skills"
"""A file of this name in a profile's directory: it wants none but its own, as in a hermes-agent home."""
MAX_ENTRIES = 1000  # of one directory


class Place(NamedTuple):
    """A directory that may not exist. ``origin``: profile, home or bundled."""

    origin: str
    directory: Path


def places(profile: Profile) -> list[Place]:
    """Those of the profile, the first to win."""
    root, home = profile.root, profile.home.root
    found = [Place("profile", root / "skills")] if root != home else []
    found.append(Place("home", home / "skills"))
    if not (root / WITHOUT).exists():
        named = os.environ.get(VARIABLE)
        found.append(Place("bundled", Path(named).expanduser() if named else OWN))
    return found


def is_astray() -> bool:
    """Whether the variable names a directory that is not there, so that there are no bundled skills."""
    named = os.environ.get(VARIABLE, "")
    return named != "" and not Path(named).expanduser().is_dir()


def in_place(place: Place, name: str) -> Path | None:
    """The file of a skill, ``NAME/SKILL.md`` or ``CATEGORY/NAME/SKILL.md``; it may be a link that leads nowhere.

    Raises ConfigError.
    """
    if _holds_one(place.directory / name):
        return place.directory / name / SKILL_FILE
    categories = (each for each in _directories(place.directory) if not _holds_one(each))
    return next((each / name / SKILL_FILE for each in categories if _holds_one(each / name)), None)


def all_in(place: Place) -> Iterator[Path]:
    """The files of all skills of a place, by name, those without a category first. Raises ConfigError."""
    directories = _directories(place.directory)
    bare = [each for each in directories if _holds_one(each)]
    yield from (each / SKILL_FILE for each in bare)
    for category in directories:
        if category not in bare:
            yield from (each / SKILL_FILE for each in _directories(category) if _holds_one(each))


def _holds_one(directory: Path) -> bool:
    return os.path.lexists(directory / SKILL_FILE)


def _directories(directory: Path) -> list[Path]:
    """Its directories by name, without the hidden ones; of a very large one a part. Raises ConfigError."""
    try:
        with os.scandir(directory) as entries:
            found = [entry.name for entry, _ in zip(entries, range(MAX_ENTRIES), strict=False) if _is_ours(entry)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise ConfigError(what, where=str(directory), next_step="make it readable for this user") from None
    return [directory / name for name in sorted(found)]


def _is_ours(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and os.path.isdir(entry.path)  # noqa: PTH112 - False for whatever cannot be seen
