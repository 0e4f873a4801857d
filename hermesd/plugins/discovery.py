"""Which plugins there are: directories of the profile and the home, and entry points of installed packages.

Nothing of a plugin is run to find it. Directory plugins lie in ``plugins/NAME/`` of the profile, then of the home;
entry points are those of the groups ``hermes_agent.plugins`` and ``hermesd.plugins`` (Python packaging, entry points
specification), also in the plugins' own environment.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Literal

import msgspec

from hermesd.errors import ConfigError
from hermesd.plugins.manifest import NAME, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from hermesd.home import Profile

GROUPS = ("hermes_agent.plugins", "hermesd.plugins")
MAX_DIRECTORIES = 256
Kind = Literal["directory", "package"]


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin that may be loaded. ``place`` is its directory, or its package and version; ``problem`` why it is not.

    Exactly one of ``directory`` and ``entry_point`` is set.
    """

    name: str
    kind: Kind
    place: str
    version: str = ""
    description: str = ""
    requires_env: tuple[str, ...] = ()
    directory: Path | None = None
    entry_point: EntryPoint | None = None
    problem: str = ""
    next_step: str = ""


def discover(profile: Profile, home: Path) -> dict[str, Candidate]:
    """Every plugin by name, sorted; reads files, so for a thread.

    The profile's own directory goes before the home's. Otherwise a name that two plugins claim is nobody's. Raises
    ConfigError for a directory of plugins that cannot be read.
    """
    found: dict[str, Candidate] = {}
    for root in dict.fromkeys((profile.root, home)):
        level: dict[str, Candidate] = {}
        for each in _directories(root / "plugins"):
            level[each.name] = _ambiguous(level[each.name], each) if each.name in level else each
        for name, each in level.items():
            found.setdefault(name, each)
    for each in _packages():
        found[each.name] = _ambiguous(found[each.name], each) if each.name in found else each
    return dict(sorted(found.items()))


def _ambiguous(one: Candidate, other: Candidate) -> Candidate:
    what = f"two plugins have this name: {one.place} and {other.place}"
    return msgspec.structs.replace(one, problem=what, next_step="remove or rename one of them")


# -- directories -------------------------------------------------------------------------------------------------------


def _directories(place: Path) -> Iterator[Candidate]:
    try:
        with os.scandir(place) as rows:
            found = [row.name for row in rows if row.is_dir() or row.is_symlink()]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise ConfigError(what, where=str(place), next_step="make it readable for this user") from None
    names = sorted(name for name in found if not name.startswith("."))
    for name in names[:MAX_DIRECTORIES]:
        if name != "__pycache__":
            yield _directory(place / name)


def _directory(path: Path) -> Candidate:
    name = _printable(path.name)[:64]  # one that is no plugin's name has a problem, so it cannot be enabled by it
    try:
        manifest = read_manifest(path)
        name = manifest.name
        _check(path)
    except ConfigError as error:
        return Candidate(
            name=name,
            kind="directory",
            place=_printable(str(path)),
            directory=path,
            problem=_printable(f"{error.where.removeprefix(f'{path}/')}: {error.what}"),  # the place tells the rest
            next_step=_printable(error.next_step),
        )
    return Candidate(
        name=name,
        kind="directory",
        place=_printable(str(path)),
        version=manifest.version,
        description=manifest.description,
        requires_env=manifest.requires_env,
        directory=path,
    )


def _printable(text: str) -> str:
    """A path for people and for the wire: a name may hold anything but / and NUL."""
    return "".join(char if char.isprintable() else "�" for char in text)


def _check(path: Path) -> None:
    """Raise ConfigError unless there is code, and nobody but this user and root can change it."""
    for each in (path, path / "__init__.py"):
        try:
            found = each.stat()
        except OSError as error:
            what, step = f"cannot be used: {error.strerror}", "a plugin is a package with register(ctx)"
            raise ConfigError(what, where=str(each), next_step=step) from None
        if found.st_uid not in (os.geteuid(), 0):
            step = f"chown {os.geteuid()} {each}"
            raise ConfigError(f"owned by uid {found.st_uid}, not by {os.geteuid()}", where=str(each), next_step=step)
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ConfigError("others may write to it", where=str(each), next_step=f"chmod go-w {each}")


# -- packages ----------------------------------------------------------------------------------------------------------


def _packages() -> Iterator[Candidate]:
    from importlib.metadata import entry_points

    seen: set[tuple[str, str]] = set()
    for group in GROUPS:
        for point in entry_points(group=group):
            if (point.name, point.value) in seen or not NAME.fullmatch(point.name):
                continue  # one that stands in both groups is one plugin; other names cannot be enabled
            seen.add((point.name, point.value))
            yield _package(point)


def _package(point: EntryPoint) -> Candidate:
    from hermesd.mcp.sanitize import visible

    dist = point.dist
    summary = (dist.metadata.json.get("summary", "") if dist is not None else "") or ""
    version = dist.version if dist is not None else ""
    place = f"{dist.name} {version} ({point.value})" if dist is not None else point.value
    return Candidate(
        name=point.name,
        kind="package",
        place=visible(place)[:200],
        version=version,
        description=" ".join(visible(str(summary)[:2000]).split())[:500],
        entry_point=point,
    )
