"""Plugins of a manifest as steps: links of directories, and the environment of packages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from hermesd.activation.steps import Detail
from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hermesd.activation.targets import Place

PLUGINS = PurePosixPath("plugins")
SIDECAR = PLUGINS / ".sidecar"


@dataclass(frozen=True, slots=True)
class Addition:
    """A step that is taken by another module. ``make`` returns a warning, or ''."""

    action: Literal["link", "build", "remove"]
    path: str
    make: Callable[[], str]
    details: tuple[Detail, ...] = ()
    data: None = None
    mode: int = 0o700
    before: None = None


def links(home: Place, above: PurePosixPath, entries: Sequence[Any], where: str) -> Iterator[Addition]:
    """Links of one profile, made together. Raises ConfigError for what is no plugin, and for the user's own names."""
    if not entries and not _is_there(home, above / PLUGINS):
        return
    from hermesd.activation.plugins import declared_plugins, link_plugins, plan_links

    declared, root = declared_plugins(entries, where), home.where(above)
    with home.directory(above) as fd:
        changes = plan_links(fd, declared, root)

    def make() -> str:
        with home.directory(above) as fd:
            assert fd is not None
            link_plugins(fd, declared, root)
        return ""

    if changes:
        details = tuple(
            Detail("-" if each.action == "remove" else "+", f"{each.name} {each.target}".rstrip()) for each in changes
        )
        yield Addition("link", home.where(above / PLUGINS), make, details)


def sidecar(home: Place, declared: dict[str, Any] | None, where: str) -> Iterator[Addition]:
    """The environment of packages, built or taken away. Raises ConfigError for specs that are none."""
    if not declared and not _is_there(home, SIDECAR):
        return
    from hermesd.activation.sidecar import Sidecar, build_sidecar, check_sidecar, shown

    try:
        wanted = msgspec.convert(declared or {}, Sidecar)
    except msgspec.ValidationError as error:
        raise ConfigError(f"sidecar: {error}", where=where, next_step="see docs/plugins.md") from None
    check_sidecar(wanted, where)
    state = "build" if wanted.specs else "none"
    if home.fd is not None:
        state = build_sidecar(home.fd, wanted, home.path, dry_run=True).state

    def make() -> str:
        assert home.fd is not None
        return build_sidecar(home.fd, wanted, home.path).warning

    if state in ("build", "removed"):
        details = tuple(Detail("+", shown(spec)) for spec in wanted.specs)
        yield Addition("build" if state == "build" else "remove", home.where(SIDECAR), make, details)


def _is_there(home: Place, target: PurePosixPath) -> bool:
    """Whether there is a directory that may hold something of ours; a link is its user's."""
    try:
        return home.is_directory(target)
    except ConfigError:
        return False
