"""What types cannot say about a Config: ranges, addresses, names, and what must not be open to everyone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

from hermesd.config.secret_keys import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermesd.config.schema import Config, McpServerConfig, ModelConfig

MIB = 1024 * 1024
YEAR_S = 366 * 86400.0

_MODEL: dict[str, tuple[float, float]] = {
    "max_output_tokens": (0, 10_000_000),
    "connect_timeout_s": (0.001, 3600),
    "read_timeout_s": (0.001, 86400),
    "max_attempts": (1, 100),
}
RANGES: dict[str, tuple[float, float]] = {
    **{f"model.{name}": bounds for name, bounds in _MODEL.items()},
    "agent.max_turns": (1, 100_000),
    "agent.token_budget": (0, 10**12),
    "agent.max_concurrent_turns": (1, 1000),
    "agent.turn_timeout_s": (0.001, YEAR_S),
    "agent.history_messages": (1, 100_000),
    "terminal.timeout": (0.001, 86400),
    "policy.ask_timeout_s": (0.001, YEAR_S),
    "platforms.webhook.port": (0, 65535),
    "platforms.webhook.max_body_bytes": (1, 64 * MIB),
    "platforms.webhook.rate_per_minute": (1, 1_000_000),
    "platforms.telegram.poll_timeout_s": (0, 600),
    "platforms.smtp.port": (1, 65535),
    "mcp_servers.<name>.timeout": (0.001, 86400),
    "mcp_servers.<name>.connect_timeout": (0.001, 3600),
    "mcp_servers.<name>.keepalive_interval": (5, 86400),
    "mcp_servers.<name>.idle_timeout_seconds": (0, YEAR_S),
    "mcp_servers.<name>.max_concurrent_calls": (1, 1000),
    "mcp_servers.<name>.max_message_bytes": (64 * 1024, 1024 * MIB),
    "mcp_servers.<name>.oauth.redirect_port": (0, 65535),
    "mcp_servers.<name>.oauth.timeout": (0.001, 86400),
    "mcp_servers.<name>.sampling.max_tokens_cap": (1, 10_000_000),
    "mcp_servers.<name>.sampling.timeout": (0.001, 3600),
    "plugins.timeout": (0.001, 86400),
    "plugins.load_timeout": (0.001, 600),
    "mcp_servers.<name>.sampling.max_rpm": (1, 100_000),
    "mcp_servers.<name>.sampling.max_tool_rounds": (0, 1000),
    "mcp_serve.port": (0, 65535),
    "mcp_serve.max_body_bytes": (1024, 64 * MIB),
    "store.retain_days": (0.001, 36_600),
    "shutdown.drain_s": (0, 86400),
    "shutdown.stop_s": (0, 3600),
}
"""Dotted key → least and greatest value that is accepted; port 0 asks the kernel for a free one."""

ROUTE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
SERVER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,255}", re.ASCII)
SERVE_TOKEN = re.compile(r"[\x21-\x7e]{16,1024}", re.ASCII)
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", re.ASCII)
NO_SECRET = frozenset({"", "INSECURE_NO_AUTH"})


class Report(Protocol):
    """Where findings go: the dotted key, what is wrong with it, and the next step."""

    def __call__(self, key: str, what: str, next_step: str) -> None:
        """Note one finding."""


def validate(config: Config, problem: Report, notice: Report) -> None:
    """Check everything; ``problem`` refuses the configuration, ``notice`` only tells."""
    for key, bounds in RANGES.items():
        for path, value in _values(config, key.split("."), ""):
            _in_range(value, path, bounds, problem)
    _model(config.model, "model", problem, notice)
    for index, model in enumerate(config.fallback_providers):
        key = f"fallback_providers[{index}]"
        for name, bounds in _MODEL.items():
            _in_range(getattr(model, name), f"{key}.{name}", bounds, problem)
        _model(model, key, problem, notice)
    _terminal(config, problem)
    _telegram(config, problem, notice)
    _webhook(config, problem)
    _rpc(config, problem)
    _mcp_serve(config, problem, notice)
    for server_name, server in config.mcp_servers.items():
        _mcp_server(server, server_name, problem, notice)
    if config.store.path and not config.store.path.startswith(("/", "~")):
        problem("store.path", "must be absolute", "begin it with / or ~")


def _values(place: Any, names: list[str], path: str) -> Iterator[tuple[str, float]]:  # noqa: ANN401 - any section
    """The numbers under a dotted key, each with its own path: ``<name>`` stands for every name there is."""
    name, *rest = names
    if name == "<name>":
        for each, below in place.items():
            yield from _values(below, rest, f"{path}.{each}")
        return
    path = f"{path}.{name}" if path else name
    value = getattr(place, name)
    if rest:
        yield from _values(value, rest, path)
    else:
        yield path, value


def _in_range(value: float, key: str, bounds: tuple[float, float], problem: Report) -> None:
    least, greatest = bounds
    if not least <= value <= greatest:
        said = f"{least:g} to {greatest:g}" if least != 0.001 else f"more than 0 and at most {greatest:g}"
        problem(key, f"must be {said}, not {value:g}", "correct it")


def _model(model: ModelConfig, key: str, problem: Report, notice: Report) -> None:
    if model.base_url:
        _url(model.base_url, f"{key}.base_url", problem, notice)


def _url(url: str, key: str, problem: Report, notice: Report) -> None:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or any(char <= " " or char == "\x7f" for char in url):
        problem(key, "is no http or https URL", "write it as https://host/path")
    elif parts.username is not None or parts.password is not None:
        problem(key, "holds a user name or password", "put the secret into .env")
    elif parts.scheme == "http" and not is_loopback(host):
        notice(key, f"sends keys and messages to {host} unencrypted", "use https")


def is_loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine. A name other than localhost is taken to be public."""
    import ipaddress

    if host.lower().rstrip(".") in ("localhost", "ip6-localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _terminal(config: Config, problem: Report) -> None:
    cwd = config.terminal.cwd
    if cwd and (not cwd.startswith(("/", "~")) or "\0" in cwd):
        problem("terminal.cwd", "must be an absolute path", "begin it with / or ~, or leave it out for the workspace")
    for index, name in enumerate(config.terminal.env_passthrough):
        if not VARIABLE.fullmatch(name):
            problem(f"terminal.env_passthrough[{index}]", f"{name[:60]!r} is not a variable's name", "correct it")


def _telegram(config: Config, problem: Report, notice: Report) -> None:
    telegram = config.platforms.telegram
    _url(telegram.base_url, "platforms.telegram.base_url", problem, notice)
    if telegram.enabled and not telegram.token:
        notice("platforms.telegram", "is enabled but has no token", "set TELEGRAM_BOT_TOKEN in .env")
    if telegram.token and not re.fullmatch(r"[\x21-\x7e]{1,256}", telegram.token):
        problem("platforms.telegram.token", "holds blanks or characters that no token has", "copy the token again")
    if telegram.enabled and not telegram.allowed_users and not telegram.allowed_chats:
        notice("platforms.telegram", "answers nobody", "list user ids in allowed_users")
    if telegram.token and not telegram.enabled:
        notice("platforms.telegram", "has a token but is not enabled", "set platforms.telegram.enabled to true")


def _webhook(config: Config, problem: Report) -> None:
    webhook, key = config.platforms.webhook, "platforms.webhook"
    if not _HOST.fullmatch(webhook.host):
        problem(f"{key}.host", "is no host name or address", "use 127.0.0.1, or 0.0.0.0 for every interface")
        return
    exposed = webhook.enabled and not is_loopback(webhook.host)
    for name, route in webhook.routes.items():
        if not ROUTE_NAME.fullmatch(name):
            problem(f"{key}.routes.{name}", "is not a route's name", "use letters, digits, dot, - and _")
        if exposed and route.enabled and (route.secret or webhook.secret) in NO_SECRET:
            problem(
                f"{key}.routes.{name}",
                f"would take events from anyone: {webhook.host} is not loopback and there is no secret",
                "set its secret (`hermesctl config set` puts it into .env), or bind 127.0.0.1",
            )


def _mcp_server(server: McpServerConfig, name: str, problem: Report, notice: Report) -> None:
    key = f"mcp_servers.{name}"
    if not SERVER_NAME.fullmatch(name):
        problem(key, "is not a server's name", "use at most 64 letters, digits, dot, - and _")
    if not server.command and not server.url:
        problem(key, "has neither command nor url", "give the program to run, or the address of the server")
    if server.url:
        _url(server.url, f"{key}.url", problem, notice)
        if server.command:
            notice(key, "has url and command: url is used", "remove one of them")
    elif server.auth == "oauth":
        problem(f"{key}.auth", "is oauth, which needs a url", "pass the program its key in env")
    if server.cwd and not server.cwd.startswith(("/", "~")):
        problem(f"{key}.cwd", "must be an absolute path", "begin it with / or ~")
    for variable in server.env:
        if not VARIABLE.fullmatch(variable):
            problem(f"{key}.env", f"{variable[:60]!r} is not a variable's name", "correct it")
    for header, value in server.headers.items():
        if not HEADER.fullmatch(header) or not value.isprintable():
            problem(f"{key}.headers", f"{header[:60]!r} cannot be sent as a header", "correct its name or value")


def _mcp_serve(config: Config, problem: Report, notice: Report) -> None:
    serve, key = config.mcp_serve, "mcp_serve"
    if not _HOST.fullmatch(serve.host):
        problem(f"{key}.host", "is no host name or address", "use 127.0.0.1, or 0.0.0.0 for every interface")
    if not serve.enabled:
        return
    if not SERVE_TOKEN.fullmatch(serve.token):
        problem(
            f"{key}.token",
            "must be 16 characters or more, without blanks" if serve.token else "is needed before it may be enabled",
            f'`hermesctl config set {key}.token "$(openssl rand -hex 24)"` puts one into .env',
        )
    if _HOST.fullmatch(serve.host) and not is_loopback(serve.host):
        notice(f"{key}.host", "takes the token unencrypted over the network", "put a reverse proxy with TLS before it")


def _rpc(config: Config, problem: Report) -> None:
    if not config.rpc.group:
        if config.rpc.roles:
            problem("rpc.roles", "are given to nobody", "name the group in rpc.group")
        return
    import grp

    try:
        grp.getgrnam(config.rpc.group)
    except KeyError:
        problem("rpc.group", f"there is no group {config.rpc.group!r} on this machine", "create it, or name another")
