"""Naming a plugin in config.yaml, and taking its name out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.errors import NotFoundError

if TYPE_CHECKING:
    from hermesd.home import Home, Profile


def switch(home: Home, profile: Profile, name: str, *, on: bool) -> bool:
    """Change ``plugins.enabled`` (and ``disabled``, which beats it); whether anything had to be.

    Raises NotFoundError for disabling what is not enabled, ConfigError when config.yaml does not load or may not be
    written, and for a key of it that somebody else declares, ConflictError when another process keeps it for itself.
    """
    from hermesd.config.lock import changing

    with changing(profile):
        return _switch(home, profile, name, on=on)


def _switch(home: Home, profile: Profile, name: str, *, on: bool) -> bool:
    from hermesd.config.load import load_settings
    from hermesd.config.managed import manager_of
    from hermesd.config.write import Edit, change

    config = load_settings(profile).config.plugins
    if not on and name not in config.enabled:
        there = ", ".join(config.enabled) or "none"
        raise NotFoundError(f"the plugin {name[:80]!r} is not enabled", next_step=f"enabled: {there}")
    others = [each for each in config.enabled if each != name]
    enabled = (config.enabled if name in config.enabled else [*config.enabled, name]) if on else others
    edits = []
    if enabled != config.enabled:
        edits.append(Edit(("plugins", "enabled"), enabled or None))
    if on and name in config.disabled:
        edits.append(Edit(("plugins", "disabled"), [each for each in config.disabled if each != name] or None))
    if edits:
        manager = manager_of(home)
        if manager is not None and any(manager.declares(".".join(edit.path), profile.name) for edit in edits):
            raise manager.refusal(f"{'enable' if on else 'disable'} the plugin {name[:80]}")
        change(profile, None, edits, {})
    return bool(edits)
