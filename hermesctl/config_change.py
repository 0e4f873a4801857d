"""What a change of the configuration asks beforehand, and what it tells afterwards, whichever verb makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hermesctl.context import Context
    from hermesd.config.changed_files import Change
    from hermesd.config.server_write import Claims
    from hermesd.home import Profile


def claims(context: Context, profile: Profile, what: str) -> Claims:
    """Who has a say in variables of .env: who manages this home (refused as ``what``), providers, outlets, plugins."""
    from hermesd.config.load import try_load
    from hermesd.config.managed import manager_of
    from hermesd.config.server_write import Claims
    from hermesd.errors import ConfigError
    from hermesd.providers.routes import SERVICES
    from hermesd.triggers.obstacles import SECRET

    manager = manager_of(context.home)
    settings = try_load(profile)
    read = {SECRET, *(name for each in SERVICES.values() for name in (each.key_name, each.base_url_name))}
    has_plugins = isinstance(settings, ConfigError) or bool(settings.config.plugins.enabled)

    def check(name: str) -> None:
        if manager is not None and manager.declares(name, profile.name):
            raise manager.refusal(f"{what} with the variable {name}")

    def is_read(name: str, is_own: bool) -> bool:
        declared = manager is not None and manager.declares(name, profile.name)
        return declared or name in read or (has_plugins and not is_own)  # a plugin may read any of them

    return Claims(check, is_read)


def told(change: Change, profile: Profile) -> str:
    """What else has changed, to be put behind a message; '' for nothing."""
    words = f"; {', '.join(change.variables)} went to {profile.env_path}" if change.variables else ""
    if change.dropped:
        words += f"\nremoved {', '.join(change.dropped)}: a server is a program or an address"
    if change.gone:
        words += f"\nremoved {', '.join(sorted(change.gone))} from {profile.env_path}"
    if change.left:
        words += f"\n{', '.join(sorted(change.left))} in {profile.env_path} may go too, if nothing else reads it"
    return words
