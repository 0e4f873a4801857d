"""Installations whose configuration is declared elsewhere (NixOS, home-manager) and so is not to be edited here.

``HERMES_MANAGED`` or the file ``.managed`` in the home names the manager. The file's first word is its name (an empty
file means NixOS); further lines may say ``rebuild=COMMAND`` and ``keys=a.b,c``: then only these keys are declared.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermesd.errors import ConfigError
from hermesd.home import read_bounded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hermesd.home import Home

MAX_MANAGED_BYTES = 64 * 1024

_NAMES = {"": "NixOS", "true": "NixOS", "1": "NixOS", "yes": "NixOS", "nixos": "NixOS"}
_NAMES |= {"home-manager": "home-manager", "brew": "Homebrew", "homebrew": "Homebrew"}
_NEXT_STEPS = {
    "NixOS": "edit services.hermes-agent.settings in configuration.nix and run: sudo nixos-rebuild switch",
    "home-manager": "edit services.hermes-agent.settings in home.nix and run: home-manager switch",
}


@dataclass(frozen=True, slots=True)
class Manager:
    """Who declares the configuration. ``keys``: only these dotted keys and what is below them; empty: everything."""

    name: str
    said_by: str
    rebuild: str = ""
    keys: frozenset[str] = frozenset()

    def declares(self, key: str) -> bool:
        """Whether a dotted key ('': the file as a whole) is the manager's."""
        if not self.keys or not key:
            return True
        return any(key == own or key.startswith(f"{own}.") or own.startswith(f"{key}.") for own in self.keys)

    def refusal(self, action: str) -> ConfigError:
        """What to raise instead of doing ``action`` ("set agent.max_turns")."""
        step = f"change it there and run: {self.rebuild}" if self.rebuild else _NEXT_STEPS.get(self.name, "")
        return ConfigError(
            f"cannot {action}: this installation is managed by {self.name} ({self.said_by})",
            next_step=step or f"change it where {self.name} declares it",
        )


def manager_of(home: Home, environ: Mapping[str, str] | None = None) -> Manager | None:
    """The manager of a home, or None when it is edited by hand. Raises ConfigError for an unreadable ``.managed``."""
    named = (os.environ if environ is None else environ).get("HERMES_MANAGED", "").strip()
    if named and named.lower() not in ("0", "false", "no"):
        return Manager(_NAMES.get(named.lower(), named[:80]), f"HERMES_MANAGED={named[:80]}")
    path = _said_in(home)
    try:
        text = read_bounded(path, max_bytes=MAX_MANAGED_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path), next_step="make it readable") from None
    name, settings = "", {}
    for line in text.splitlines():
        word = line.strip()
        key, has_value, value = word.partition("=")
        if has_value:
            settings[key.strip()] = value.strip()
        elif word and not word.startswith("#") and not name:
            name = word
    keys = frozenset(key.strip() for key in settings.get("keys", "").split(",") if key.strip())
    return Manager(_NAMES.get(name.lower(), name[:80]), str(path), settings.get("rebuild", ""), keys)


def _said_in(home: Home) -> Path:
    """Its ``.managed``; of a profile that is a home of its own (``isolation: process``), that of the home it is in."""
    above = home.root.parent
    return (above.parent if above.name == "profiles" else home.root) / ".managed"
