"""Adding, changing and removing a server in a profile's files. Every secret goes to .env, config.yaml refers to it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hermesd.errors import ConflictError, HermesError, NotFoundError, UsageError

if TYPE_CHECKING:
    from hermesd.home import Profile

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}", re.ASCII)
_REFERENCE = re.compile(r"\$\{(?:env:)?[A-Za-z_][A-Za-z0-9_]*\}", re.ASCII)
_OTHER = re.compile(r"[^A-Za-z0-9]+", re.ASCII)


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
    from hermesd.config.write import set_section, set_value, unset_value

    if not NAME.fullmatch(new.name):
        raise UsageError(f"{new.name[:80]!r} is not a server's name", next_step="use letters, digits, - and _")
    if bool(new.command) == bool(new.url):
        raise UsageError(
            "give either a command or a url", next_step="hermesctl mcp add NAME --command PROGRAM | --url URL"
        )
    if new.url and not _REFERENCE.search(new.url) and not new.url.startswith(("https://", "http://")):
        raise UsageError(f"{new.url[:80]!r} is no http or https URL", next_step="write it as https://host/path")
    settings = load_settings(profile)
    if new.name in settings.config.mcp_servers:
        raise ConflictError(
            f"there is an MCP server {new.name!r} already",
            next_step=f"hermesctl mcp remove {new.name}, or configure it",
        )
    section, secrets = _section(new, dict(settings.secrets))
    for variable, value in secrets.items():
        set_value(profile, variable, value)
    try:
        set_section(profile, f"mcp_servers.{new.name}", section)
    except HermesError:
        for variable in secrets.keys() - settings.secrets.keys():
            unset_value(profile, variable)
        raise
    return list(secrets)


def remove(profile: Profile, name: str) -> list[str]:
    """Take it out of config.yaml; returns variables of .env that only it used, which stay. Raises NotFoundError."""
    from hermesd.config.write import unset_value

    check_known(profile, name)
    before = _references(profile)
    unset_value(profile, key_of(name))
    return sorted(before - _references(profile))


def check_known(profile: Profile, name: str) -> None:
    """Raise NotFoundError unless config.yaml has this server; its settings may be wrong."""
    from hermesd.config import MAX_CONFIG_BYTES
    from hermesd.config.document import Mapping, parse
    from hermesd.home import read_bounded

    key_of(name)
    try:
        data = read_bounded(profile.config_path, max_bytes=MAX_CONFIG_BYTES)
    except FileNotFoundError:
        data = b""
    section = parse(data, str(profile.config_path)).values.get("mcp_servers")
    known = list(section.values) if isinstance(section, Mapping) else []
    if name not in known:
        step = f"configured: {', '.join(known)}" if known else "add it: hermesctl mcp add"
        raise NotFoundError(f"there is no MCP server {name!r} in {profile.config_path}", next_step=step)


def key_of(name: str) -> str:
    """The dotted key of a server; raises UsageError for a name with a dot, which has none."""
    if not NAME.fullmatch(name):
        raise UsageError(f"{name[:80]!r} cannot be changed from here", next_step="use `hermesctl config edit`")
    return f"mcp_servers.{name}"


def _references(profile: Profile) -> set[str]:
    try:
        text = profile.config_path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return set()
    return {match[2:-1].removeprefix("env:") for match in _REFERENCE.findall(text)}


def _section(new: NewServer, known: dict[str, str]) -> tuple[dict[str, object], dict[str, str]]:
    """The section with references, and the variables they refer to."""
    secrets: dict[str, str] = {}

    def kept(wanted: str, value: str) -> str:
        if _REFERENCE.search(value):
            return value
        prefix = _OTHER.sub("_", new.name).upper()
        taken = {**known, **secrets}
        for name in (wanted, f"{prefix}_{wanted}", f"MCP_{prefix}_{wanted}"):
            if re.fullmatch(r"[A-Z][A-Z0-9_]*", name) and taken.get(name, value) == value:
                secrets[name] = value
                return f"${{{name}}}"
        raise UsageError(f"no variable is free for {wanted}", next_step="put it into .env and give ${NAME}")

    section: dict[str, object] = {"command": new.command, "args": new.args}
    if new.url:
        has_query = "?" in new.url
        section = {"url": kept("URL", new.url) if has_query else new.url, "transport": new.transport}
    section["env"] = {name: kept(_variable(name), value) for name, value in new.env.items()}
    prefix = _variable(new.name)
    section["headers"] = {name: kept(f"{prefix}_{_variable(name)}", value) for name, value in new.headers.items()}
    section |= {"auth": new.auth, "connect_timeout": new.connect_timeout, "trusted": new.trusted}
    return {key: value for key, value in section.items() if value}, secrets


def _variable(name: str) -> str:
    found = _OTHER.sub("_", name).strip("_").upper()
    return found if found[:1].isalpha() else f"MCP_{found}"
