"""Who owns which part of a home: the manager that declares it, or its user. Values are not shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hermesd.config.managed import Manager
    from hermesd.home import Profile

YOU = "you"
_ORDER = ("profile", "key", "variable", "job", "watch", "file")


def ownership(manager: Manager | None, profiles: Iterable[Profile]) -> dict[str, Any]:
    """As JSON: the manager, and by profile rows of kind, name and owner. Raises ConfigError."""
    found: dict[str, Any] = {"managed": manager is not None}
    for name in ("name", "rebuild", "said_by"):
        found[name] = getattr(manager, name, "")
    found["listed"] = manager is not None and manager.is_listed
    found["profiles"] = {profile.name: list(_rows(manager, profile)) for profile in profiles}
    return found


def text_of(found: dict[str, Any]) -> str:
    """For people."""
    if not found["managed"]:
        return "this home is managed by nobody: all of it is yours"
    lines = [f"managed by {found['name']} ({found['said_by']})"]
    if found["rebuild"]:
        lines.append(f"  → change what it declares there, then run: {found['rebuild']}")
    if not found["listed"]:
        lines.append("it declares everything")
    width = max((len(row["name"]) for rows in found["profiles"].values() for row in rows), default=0)
    for name, rows in found["profiles"].items():
        lines += ["", f"profile {name}"]
        lines += [f"  {row['kind']:<8}  {_clean(row['name']):<{width}}  {row['owner']}" for row in rows]
    return "\n".join(lines)


def _rows(manager: Manager | None, profile: Profile) -> Iterator[dict[str, str]]:
    """What is declared, and what is there besides."""
    declared = {(each.kind, each.name) for each in manager.of(profile.name)} if manager else set()
    there = {("key", key) for key in _keys(profile)} | {("variable", name) for name in _variables(profile)}
    for kind, name in sorted(declared | there, key=lambda row: (_ORDER.index(row[0]), row[1])):
        is_declared = (kind, name) in declared or (
            manager is not None and kind in ("key", "variable") and manager.declares(name, profile.name)
        )
        yield {"kind": kind, "name": name, "owner": manager.name if manager and is_declared else YOU}


def _keys(profile: Profile) -> list[str]:
    from hermesd.config.plain import leaves, tree_of
    from hermesd.config.raw import contents

    return [".".join(path) for path, _ in leaves(tree_of(contents(profile), str(profile.config_path)))]


def _variables(profile: Profile) -> list[str]:
    from hermesd.config.env import load_env

    return list(load_env(profile.env_path, []))


def _clean(text: str) -> str:
    return "".join(char if char.isprintable() else "�" for char in text)
