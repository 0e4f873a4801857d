"""Adding, changing and removing a server in a profile's files. Every secret goes to .env, config.yaml refers to it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hermesd.config.server_secrets import REFERENCE, holds_user, shown_url
from hermesd.errors import ConflictError, NotFoundError, UsageError
from hermesd.mcp.typed import mcp_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.config.changed_files import Change
    from hermesd.config.server_write import Claims
    from hermesd.home import Profile

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}", re.ASCII)


@dataclass(slots=True)
class NewServer:
    """What to add. Values of ``env`` and ``headers`` are taken for secrets unless they are ``${REFERENCES}``."""

    name: str
    command: str = ""
    args: list[str] = field(default_factory=list)
    url: str = ""
    env: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    auth: str = ""
    transport: str = ""
    connect_timeout: float | None = None
    trusted: bool = False


def add(profile: Profile, new: NewServer) -> list[str]:
    """Write it; returns the variables that .env got. Raises UsageError, ConflictError, ConfigError."""
    from hermesd.config.load import load_settings
    from hermesd.config.lock import changing
    from hermesd.config.roundtrip import unambiguous
    from hermesd.config.server_write import Given, set_servers

    if not NAME.fullmatch(new.name):
        raise UsageError(f"{new.name[:80]!r} is not a server's name", next_step="use letters, digits, - and _")
    if bool(new.command) == bool(new.url):
        raise UsageError(
            "give either a command or a url", next_step="hermesctl mcp add NAME --command PROGRAM | --url URL"
        )
    if new.url and not REFERENCE.search(new.url) and not new.url.startswith(("https://", "http://")):
        raise UsageError(
            f"{shown_url(new.url)[:80]!r} is no http or https URL", next_step="write it as https://host/path"
        )
    _check_no_user(new.url)
    with changing(profile):
        settings = load_settings(profile)
        if new.name in settings.config.mcp_servers:
            step = f"change it with `{mcp_command(profile.told_name, 'configure', new.name)}`, or take another name"
            raise ConflictError(
                f"there is an MCP server {new.name!r} already", where=str(profile.config_path), next_step=step
            )
        section = unambiguous(_section(new))
        return list(set_servers(profile, [Given(key_of(new.name), section, section)]).variables)


def _check_no_user(url: str) -> None:
    if holds_user(url):
        step = "leave them out, and give --header 'Authorization: Basic …' (base64 of USER:PASSWORD)"
        raise UsageError("the url holds a user name or password", next_step=step)


def configure(
    profile: Profile, name: str, settings: Sequence[tuple[str, str]], *, claims: Claims | None = None
) -> Change:
    """Change settings, given as (key below the server's, text), all or none.

    Raises NotFoundError for an unknown server, UsageError for a key nobody knows, ConfigError for a wrong value.
    """
    from hermesd.config.lock import changing
    from hermesd.config.server_write import NOBODY, given, set_servers

    with changing(profile):
        check_known(profile, name)
        found = [given(f"{key_of(name)}.{key}", text) for key, text in settings]
        return set_servers(profile, found, claims=claims or NOBODY)


def remove(profile: Profile, name: str) -> Change:
    """Take it out of config.yaml. Its variables stay in .env: a server that comes back may want them.

    Those that nothing else refers to are ``left`` in what is returned. Raises NotFoundError.
    """
    from hermesd.config.lock import changing
    from hermesd.config.server_write import Claims, unset_servers

    with changing(profile):
        check_known(profile, name)
        return unset_servers(profile, key_of(name), Claims(is_read=lambda _name, _is_own: True))


def check_known(profile: Profile, name: str) -> None:
    """Raise NotFoundError unless config.yaml has this server; its settings may be wrong."""
    key_of(name)
    known = configured(profile)
    if name not in known:
        how = f"{mcp_command(profile.told_name, 'add', name)} --command PROGRAM | --url URL"
        step = f"configured: {', '.join(known)}" if known else f"add it: {how}"
        raise NotFoundError(f"there is no MCP server {name!r}", where=str(profile.config_path), next_step=step)


def configured(profile: Profile) -> list[str]:
    """The servers' names as config.yaml has them. Raises ConfigError for a file that is no YAML."""
    section = _tree(profile).get("mcp_servers")
    return list(section) if isinstance(section, dict) else []


def key_of(name: str) -> str:
    """The dotted key of a server; raises UsageError for a name with a dot, which has none."""
    if not NAME.fullmatch(name):
        raise UsageError(f"{name[:80]!r} cannot be changed from here", next_step="use `hermesctl config edit`")
    return f"mcp_servers.{name}"


def _tree(profile: Profile) -> dict[str, Any]:
    """config.yaml as it is written."""
    from hermesd.config import MAX_CONFIG_BYTES
    from hermesd.config.plain import tree_of
    from hermesd.home import read_bounded

    try:
        data = read_bounded(profile.config_path, max_bytes=MAX_CONFIG_BYTES)
    except FileNotFoundError:
        return {}
    return tree_of(data, str(profile.config_path))


def _section(new: NewServer) -> dict[str, object]:
    section: dict[str, object] = {"command": new.command, "args": new.args}
    if new.url:
        section = {"url": new.url, "transport": new.transport}
    section |= {"env": new.env, "headers": new.headers}
    section |= {"auth": new.auth, "connect_timeout": new.connect_timeout, "trusted": new.trusted}
    return {key: value for key, value in section.items() if value}
