"""Declared directory plugins as links in ``plugins/`` of a profile; what its user put there is never touched.

``plugins/.managed.json`` remembers which links are ours: ``{"schema": 1, "links": {name: [target, …]}}``. It names a
link's old and new target before the link is changed, so that a run that was killed leaves nothing behind that would be
taken for the user's own.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

import msgspec

from hermesd.deploy.container.files import make_directory, opened, read_regular, replace_link
from hermesd.deploy.replace_file import replace_file
from hermesd.errors import ConfigError
from hermesd.plugins.manifest import NAME, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PLUGINS = "plugins"
LEDGER = ".managed.json"
SCHEMA = 1
MAX_LEDGER_BYTES = 1024 * 1024
MAX_PLUGINS = 256
_LEFT = re.compile(r"\.[A-Za-z0-9][A-Za-z0-9._-]*\.[0-9a-f]{12}|\.\.managed\.json\.[0-9a-f]{12}", re.ASCII)
"""Names that replace_link and replace_file give to what has not its own name yet."""


class Ledger(msgspec.Struct, frozen=True):
    """Our links by name, each with every target that it may have now."""

    schema: int = SCHEMA
    links: dict[str, list[str]] = {}


@dataclass(frozen=True, slots=True)
class LinkChange:
    """``name`` is that of the plugin; ``target`` the directory it is to lead to, '' when it is removed."""

    action: Literal["link", "remove"]
    name: str
    target: str = ""


def declared_plugins(entries: Sequence[object], where: str) -> dict[str, str]:
    """Name → directory of the plugins of a manifest: paths, or ``{path, name?}``.

    Without a name the one in plugin.yaml counts, which must be there. Raises ConfigError; ``where`` names the manifest.
    """
    found: dict[str, str] = {}
    for entry in entries:
        name, path = _entry(entry, where)
        if name in found and found[name] != path:
            what = f"plugins: two are called {name!r}: {found[name]} and {path}"
            raise ConfigError(what, where=where, next_step="leave one out, or give it a name of its own")
        found[name] = path
    if len(found) > MAX_PLUGINS:
        raise ConfigError(f"plugins: more than {MAX_PLUGINS}", where=where, next_step="declare fewer")
    return found


def plan_links(home: int | None, declared: Mapping[str, str], where: str) -> list[LinkChange]:
    """What ``link_plugins`` would do. ``home``: the profile's open directory, None while there is none.

    Raises ConfigError for a name that is the user's own plugin already; ``where`` is the path of ``home``.
    """
    with _plugins(home, where) as fd:
        if fd is None:
            return [LinkChange("link", name, target) for name, target in declared.items()]
        return _changes(fd, declared, _ledger(fd, where), where)


def link_plugins(home: int, declared: Mapping[str, str], where: str) -> list[LinkChange]:
    """Make the links what is declared; returns what was changed. A second run writes nothing.

    Only under the lock of the activation. Raises ConfigError as ``plan_links``, before anything is changed; OSError.
    """
    changes = plan_links(home, declared, where)
    with _plugins(home, where) as fd:
        if fd is not None:
            _sweep(fd)
    if not changes:
        return []
    if make_directory(PLUGINS, below=home, mode=0o700):
        os.fsync(home)
    with _plugins(home, where) as fd:
        assert fd is not None
        ledger = _ledger(fd, where)
        _remember(fd, {name: _targets(name, declared, ledger) for name in {*declared, *ledger.links}})
        for change in changes:
            if change.action == "link":
                replace_link(change.name, change.target, below=fd, where=f"{where}/{PLUGINS}/{change.name}")
            else:
                os.unlink(change.name, dir_fd=fd)
        os.fsync(fd)
        ours = {change.name for change in changes} | ledger.links.keys()
        _remember(fd, {name: [target] for name, target in declared.items() if name in ours})
        return changes


def _entry(entry: object, where: str) -> tuple[str, str]:
    path, name = (entry.get("path"), entry.get("name", "")) if isinstance(entry, dict) else (entry, "")
    unknown = sorted(str(key) for key in entry.keys() - {"path", "name"}) if isinstance(entry, dict) else []
    if unknown or not isinstance(path, str) or not isinstance(name, str):
        raise ConfigError("plugins: an entry is a path, or {path, name}", where=where, next_step="correct the manifest")
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts or not path.isprintable():
        raise ConfigError(f"plugins: {path[:80]!r} is not an absolute path", where=where, next_step="write it out")
    if not (Path(path) / "__init__.py").is_file():
        what = f"plugins: {path} has no __init__.py"
        raise ConfigError(what, where=where, next_step="name the directory that plugin.yaml and __init__.py are in")
    try:
        said = read_manifest(Path(path)).name
    except ConfigError as error:
        raise ConfigError(f"plugins: {error.where}: {error.what}", where=where, next_step=error.next_step) from None
    name = name or said
    if not NAME.fullmatch(name):
        raise ConfigError(f"plugins: {name[:80]!r} is not a name", where=where, next_step="use letters, digits, . _ -")
    return name, str(pure)


@contextlib.contextmanager
def _plugins(home: int | None, where: str) -> Iterator[int | None]:
    """``plugins`` of the profile, which is no link; None when it is not there."""
    with contextlib.ExitStack() as stack:
        fd = None
        if home is not None:
            with contextlib.suppress(FileNotFoundError):
                fd = stack.enter_context(opened(PLUGINS, below=home, where=f"{where}/{PLUGINS}"))
        yield fd


def _changes(fd: int, declared: Mapping[str, str], ledger: Ledger, where: str) -> list[LinkChange]:
    changes: list[LinkChange] = []
    for name, target in declared.items():
        live = _live(name, below=fd)
        if live == target:
            continue
        if live is not None and live not in ledger.links.get(name, ()):
            what = "there is a plugin of this name already, which is not declared"
            step = "remove or rename it, or leave it out of the manifest"
            raise ConfigError(what, where=f"{where}/{PLUGINS}/{name}", next_step=step)
        changes.append(LinkChange("link", name, target))
    for name, targets in ledger.links.items():
        if name not in declared and _live(name, below=fd) in targets:
            changes.append(LinkChange("remove", name))
    return changes


def _live(name: str, *, below: int) -> str | None:
    """Where a link leads; None when there is nothing, '' when it is something else than a link."""
    try:
        return os.readlink(name, dir_fd=below)
    except FileNotFoundError:
        return None
    except OSError:
        return ""


def _targets(name: str, declared: Mapping[str, str], ledger: Ledger) -> list[str]:
    now = [declared[name]] if name in declared else []
    return list(dict.fromkeys([*ledger.links.get(name, ()), *now]))


def _ledger(fd: int, where: str) -> Ledger:
    path = f"{where}/{PLUGINS}/{LEDGER}"
    try:
        file = os.open(LEDGER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    except FileNotFoundError:
        return Ledger()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=path, next_step="look at it: ls -l") from None
    data = read_regular(file, max_bytes=MAX_LEDGER_BYTES)
    try:
        ledger = msgspec.json.decode(data or b"", type=Ledger)
    except msgspec.DecodeError:
        ledger = Ledger(schema=0)
    if ledger.schema != SCHEMA or not all(map(NAME.fullmatch, ledger.links)):  # whoever has the home can write it
        step = "remove it, and the links beside it that you have not made yourself"
        raise ConfigError("is not what hermesctl wrote", where=path, next_step=step)
    return ledger


def _remember(fd: int, links: dict[str, list[str]]) -> None:
    data = msgspec.json.encode(Ledger(links=links), order="sorted") + b"\n"
    replace_file(LEDGER, data, below=fd, mode=0o600, owner=None)


def _sweep(fd: int) -> None:
    """Remove what a run that was killed left."""
    with os.scandir(fd) as rows:
        left = [row.name for row in rows if _LEFT.fullmatch(row.name) and (row.is_symlink() or row.is_file())]
    for name in left:
        os.unlink(name, dir_fd=fd)
