"""Who issues tokens for an MCP server: RFC 9728, then RFC 8414 or OpenID Connect discovery, then the old defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import msgspec

from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.challenge import Challenge
from hermesd.mcp.oauth.metadata import (
    ResourceMetadata,
    ServerMetadata,
    resource_metadata_from,
    server_metadata_from,
    visible,
)

if TYPE_CHECKING:
    from hermesd.mcp.oauth.fetch import Answer, Fetcher

NOTES = "hermesd"
"""Member of the metadata file that holds what is ours."""


class Discovered(msgspec.Struct, frozen=True):
    """``resource`` is the RFC 8707 indicator; ``scopes`` what the resource's own metadata lists.

    ``dpop``: the resource takes tokens bound to a key (RFC 9449). That is not persisted: the tokens then tell.
    """

    server: ServerMetadata
    resource: str
    scopes: tuple[str, ...] = ()
    step_up: str = ""
    dpop: bool = False

    def to_file(self) -> dict[str, object]:
        """The metadata document with our notes, as it is persisted."""
        notes = {
            "resource": self.resource,
            "scopes": list(self.scopes),
            "assumed": self.server.assumed,
            "step_up": self.step_up,
        }
        return {**self.server.raw, NOTES: notes}


def from_file(found: dict[str, object], server_url: str) -> Discovered | None:
    """What ``to_file`` or hermes-agent has written; None when it is unusable or belongs to another resource."""
    raw = {name: value for name, value in found.items() if name != NOTES}
    server = server_metadata_from(raw)
    notes = found.get(NOTES)
    notes = notes if isinstance(notes, dict) else {}
    if server is None:
        return None
    resource = visible(notes.get("resource"), 2048) or canonical(server_url)
    if not covers(resource, server_url):
        return None
    if notes.get("assumed") is True:
        server = msgspec.structs.replace(server, assumed=True, pkce_s256=True)
    step_up = notes.get("step_up")
    return Discovered(server, resource, step_up=step_up[:1024] if isinstance(step_up, str) else "")


async def discover(fetcher: Fetcher, server_url: str, challenge: Challenge) -> Discovered:
    """Find the authorization server. Raises McpError: down or timeout (try again), protocol (it is set up wrongly)."""
    resource = await _resource_metadata(fetcher, server_url, challenge)
    if resource is None:
        return Discovered(await _legacy_server(fetcher, server_url), canonical(server_url), dpop=challenge.dpop)
    if not resource.authorization_servers:
        raise _protocol("its protected resource metadata names no authorization server that may be used", server_url)
    issuer = resource.authorization_servers[0]
    server = await _server_metadata(fetcher, issuer)
    if server is None:
        raise _protocol("its authorization server publishes no metadata", issuer)
    return Discovered(server, resource.resource, resource.scopes_supported, dpop=resource.dpop or challenge.dpop)


async def issuer_metadata(fetcher: Fetcher, issuer: str) -> ServerMetadata:
    """The metadata of an issuer that the configuration names. Raises McpError as ``discover`` does."""
    found = await _server_metadata(fetcher, issuer)
    if found is None:
        raise _protocol("it publishes no metadata", issuer)
    return found


def resource_metadata_urls(server_url: str, challenge: Challenge) -> list[str]:
    """Where the resource's metadata may be, best first (RFC 9728 §3.1 and §5.1)."""
    parts = urlsplit(server_url)
    path = parts.path.rstrip("/")
    suffixes = [path, ""] if path else [""]
    well_known = [_at(server_url, f"/.well-known/oauth-protected-resource{suffix}") for suffix in suffixes]
    return [challenge.resource_metadata, *well_known] if challenge.resource_metadata else well_known


def server_metadata_urls(issuer: str) -> list[str]:
    """Where an issuer's metadata may be, best first (RFC 8414 §3.1 and §5, OpenID Connect Discovery §4)."""
    path = urlsplit(issuer).path.rstrip("/")
    if not path:
        return [_at(issuer, f"/.well-known/{name}") for name in ("oauth-authorization-server", "openid-configuration")]
    return [
        _at(issuer, f"/.well-known/oauth-authorization-server{path}"),
        _at(issuer, f"/.well-known/openid-configuration{path}"),
        _at(issuer, f"{path}/.well-known/openid-configuration"),
    ]


def canonical(url: str) -> str:
    """The resource indicator of a server without metadata: its URL without fragment, scheme and host in lower case."""
    parts = urlsplit(url)
    path = "" if parts.path == "/" else parts.path
    return urlunsplit((parts.scheme.lower(), parts.netloc.lower(), path, parts.query, ""))


def covers(resource: str, server_url: str) -> bool:
    """Whether ``resource`` is the server or a parent path of it at the same origin (RFC 9728 §3.3)."""
    try:
        ours, theirs = urlsplit(canonical(server_url)), urlsplit(canonical(resource))
    except ValueError:
        return False
    if (ours.scheme, ours.netloc) != (theirs.scheme, theirs.netloc) or theirs.fragment:
        return False
    return f"{ours.path.rstrip('/')}/".startswith(f"{theirs.path.rstrip('/')}/")


def same_issuer(one: str, other: str) -> bool:
    """String comparison (RFC 8414 §3.3), but for the slash that some libraries add to an issuer without a path."""
    if one == other:
        return True
    shorter, longer = sorted((one, other), key=len)
    return longer == f"{shorter}/" and urlsplit(shorter).path == ""


async def _resource_metadata(fetcher: Fetcher, server_url: str, challenge: Challenge) -> ResourceMetadata | None:
    for url in resource_metadata_urls(server_url, challenge):
        answer = await fetcher.get(url)
        found = resource_metadata_from(answer.body) if answer.status == 200 else None
        if found is None:
            _check_available(answer, url)
            continue
        if not covers(found.resource, server_url):
            raise _protocol(f"its protected resource metadata is about {found.resource[:200]!r}", server_url)
        return found
    return None


async def _server_metadata(fetcher: Fetcher, issuer: str) -> ServerMetadata | None:
    for url in server_metadata_urls(issuer):
        answer = await fetcher.get(url)
        found = server_metadata_from(answer.body) if answer.status == 200 else None
        if found is None:
            _check_available(answer, url)
            continue
        if not same_issuer(found.issuer, issuer):
            raise _protocol(f"the metadata of {issuer!r} names another issuer, {found.issuer[:200]!r}", url)
        return found
    return None


async def _legacy_server(fetcher: Fetcher, server_url: str) -> ServerMetadata:
    """Revision 2025-03-26: metadata at the server's own origin, else /authorize, /token and /register there."""
    origin = _at(server_url, "")
    found = await _server_metadata(fetcher, origin)
    if found is not None:
        return found
    raw: dict[str, object] = {
        "issuer": origin,
        "authorization_endpoint": f"{origin}/authorize",
        "token_endpoint": f"{origin}/token",
        "registration_endpoint": f"{origin}/register",
    }
    assumed = server_metadata_from(raw)
    if assumed is None:
        raise _protocol("OAuth needs https, or http on a loopback host", server_url)
    return msgspec.structs.replace(assumed, assumed=True, pkce_s256=True)


def _check_available(answer: Answer, url: str) -> None:
    """A server error says nothing about whether there is metadata: it must not lead to the next, weaker source."""
    if answer.status >= 500 or answer.status == 429:
        raise McpError(f"the metadata request was answered {answer.status}", kind="down", where=url[:200])


def _at(url: str, path: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _protocol(what: str, where: str) -> McpError:
    return McpError(what, kind="protocol", where=where[:200], next_step="check the server's OAuth set-up")
