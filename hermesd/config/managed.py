"""Installations whose configuration is declared elsewhere (NixOS, home-manager) and so is not to be edited here.

``HERMES_MANAGED`` or the file ``.managed`` in the home names the manager. The file's first word is its name (an empty
file means NixOS). Further lines may say ``rebuild=COMMAND``, and what is declared, the rest being the user's:

    keys=a.b,c                     these dotted keys and what is below them, in every profile
    declared=listed                what the following lines name, and nothing else
    key=PROFILE a.b                a key of a profile's config.yaml
    variable=PROFILE NAME          a variable of its .env
    job=PROFILE NAME               a job; watch=…, file=PROFILE PATH and profile=NAME in the same way

``hermesctl activate`` writes it in the longer form.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from hermesd.errors import ConfigError
from hermesd.home import DEFAULT_PROFILE, read_bounded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hermesd.home import Home

MAX_MANAGED_BYTES = 8 * 1024 * 1024  # as large as `hermesctl activate` may write it

_NAMES = {"": "NixOS", "true": "NixOS", "1": "NixOS", "yes": "NixOS", "nixos": "NixOS"}
_NAMES |= {"home-manager": "home-manager", "brew": "Homebrew", "homebrew": "Homebrew"}
_NEXT_STEPS = {
    "NixOS": "edit services.hermes-agent.settings in configuration.nix and run: sudo nixos-rebuild switch",
    "home-manager": "edit services.hermes-agent.settings in home.nix and run: home-manager switch",
}


class Declared(NamedTuple):
    """One thing that the manager declares. ``kind``: one of ``KINDS``."""

    kind: str
    profile: str
    name: str


KINDS = ("key", "variable", "job", "watch", "file", "profile")


@dataclass(frozen=True, slots=True)
class Manager:
    """Who declares the configuration: everything, or (``is_listed``) what ``keys`` and ``declared`` name.

    ``within``: the profile that the home is, where a daemon of its own calls it ``default``.
    """

    name: str
    said_by: str
    rebuild: str = ""
    keys: frozenset[str] = frozenset()
    declared: frozenset[Declared] = frozenset()
    is_listed: bool = False
    within: str = ""

    def declares(self, key: str, profile: str = DEFAULT_PROFILE) -> bool:
        """Whether a dotted key, or a variable ('': the file as a whole), is the manager's."""
        if not self.is_listed or not key:
            return True
        if self.has("variable", key, profile):
            return True
        owned = self.keys | {each.name for each in self.of(profile) if each.kind == "key"}
        return any(key == own or key.startswith(f"{own}.") or own.startswith(f"{key}.") for own in owned)

    def has(self, kind: str, name: str, profile: str = DEFAULT_PROFILE) -> bool:
        """Whether it declares exactly this; False where nothing is listed."""
        return Declared(kind, self._place(profile), name) in self.declared

    def of(self, profile: str) -> list[Declared]:
        """What it declares of a profile."""
        place = self._place(profile)
        return sorted(each for each in self.declared if each.profile == place)

    def _place(self, profile: str) -> str:
        return self.within if self.within and profile == DEFAULT_PROFILE else profile

    def refusal(self, action: str) -> ConfigError:
        """What to raise instead of doing ``action`` ("set agent.max_turns")."""
        step = f"change it there and run: {self.rebuild}" if self.rebuild else _NEXT_STEPS.get(self.name, "")
        return ConfigError(
            f"cannot {action}: this installation is managed by {self.name} ({self.said_by})",
            next_step=step or f"change it where {self.name} declares it",
        )


def manager_of(home: Home, environ: Mapping[str, str] | None = None) -> Manager | None:
    """The manager of a home, or None when it is edited by hand. Raises ConfigError for an unreadable ``.managed``.

    A file that lists what is declared tells more than the variable, which a unit sets for all that it starts.
    """
    named = (os.environ if environ is None else environ).get("HERMES_MANAGED", "").strip()
    path = _said_in(home)
    try:
        text = read_bounded(path, max_bytes=MAX_MANAGED_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        told = None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path), next_step="make it readable") from None
    else:
        told = _read(text, str(path), within="" if path.parent == home.root else home.root.name)
    if named and named.lower() not in ("0", "false", "no") and not (told and told.is_listed):
        return Manager(_NAMES.get(named.lower(), named[:80]), f"HERMES_MANAGED={named[:80]}")
    return told


def refuse_managed(home: Home, kind: str, name: str, profile: str, action: str) -> None:
    """Raise ConfigError for a thing that is declared elsewhere, and listed by its name."""
    if (manager := manager_of(home)) is not None and manager.has(kind, name, profile):
        raise manager.refusal(f"{action} the {kind} {name}")


def _read(text: str, said_by: str, *, within: str) -> Manager:
    name, rebuild, listed = "", "", False
    keys: set[str] = set()
    declared: set[Declared] = set()
    for line in text.splitlines():
        word = line.strip()
        kind, has_value, value = word.partition("=")
        kind, value = kind.strip(), value.strip()
        if has_value and kind in KINDS:
            profile, _, rest = (value, "", value) if kind == "profile" else value.partition(" ")
            declared.add(Declared(kind, profile, rest.strip()))
        elif has_value and kind == "keys":
            keys |= {key.strip() for key in value.split(",") if key.strip()}
        elif has_value:
            rebuild = value if kind == "rebuild" else rebuild
            listed = listed or (kind, value) == ("declared", "listed")
        elif word and not word.startswith("#") and not name:
            name = word
    is_listed = listed or bool(keys or declared)
    title = _NAMES.get(name.lower(), name[:80])
    return Manager(title, said_by, rebuild, frozenset(keys), frozenset(declared), is_listed=is_listed, within=within)


def _said_in(home: Home) -> Path:
    """Its ``.managed``; of a profile that is a home of its own without one, that of the home it is in."""
    own = home.root / ".managed"
    return own if os.path.lexists(own) else home.around.root / ".managed"
