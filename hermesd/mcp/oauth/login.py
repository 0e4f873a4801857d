"""A person signs in to an MCP server: a URL to open, a loopback listener or a pasted answer, new tokens in the end.

1. ask the server without a token what it wants, find its authorization server, check that PKCE S256 is offered
2. be somebody there: configured, a metadata document, the registration on disk, or a new one
3. show the URL; wait for the browser to come back, or for the pasted redirect URL
4. redeem the code; only then replace registration, metadata and tokens on disk, under the lock

Up to the last step nothing on disk is touched, so a sign-in that is given up leaves the old one working.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import msgspec
import trio

from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.authorization import AuthorizationRequest, NotOursError, build_request
from hermesd.mcp.oauth.binding import proof_key
from hermesd.mcp.oauth.callback import PATH, CallbackListener
from hermesd.mcp.oauth.challenge import Challenge, parse_challenge
from hermesd.mcp.oauth.discovery import Discovered, discover, from_file
from hermesd.mcp.oauth.fetch import Fetcher
from hermesd.mcp.oauth.grant import RefusedError, redeem
from hermesd.mcp.oauth.registration import (
    Client,
    configured_client,
    register,
    stored_client,
)
from hermesd.mcp.oauth.ssrf import AddressPolicy, is_loopback_host
from hermesd.mcp.oauth.storage import LOCK_TIMEOUT_S
from hermesd.mcp.oauth.unattended import obtain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.mcp.oauth.dpop import ProofKey
    from hermesd.mcp.oauth.metadata import Tokens
    from hermesd.mcp.oauth.settings import OAuthSettings, ServerIdentity
    from hermesd.mcp.oauth.storage import TokenStorage

MAX_PASTE_BYTES = 64 * 1024


class Surface(NamedTuple):
    """How the person is reached. ``open_url`` shows a URL in a browser and tells whether it could; None without one.

    ``paste_fd``: the descriptor that lines with a pasted redirect URL are read from; None without a terminal.
    """

    say: Callable[[str], None]
    open_url: Callable[[str], bool] | None = None
    paste_fd: int | None = None


class _Plan(NamedTuple):
    at: Discovered
    client: Client
    request: AuthorizationRequest
    key: ProofKey | None


async def login(server: ServerIdentity, settings: OAuthSettings, storage: TokenStorage, surface: Surface) -> None:
    """Sign in and store the tokens. Raises McpError (auth: refused, or nobody came)."""
    policy = AddressPolicy.for_server(server.url, allow_private=settings.allow_private)
    fetcher = Fetcher(policy, verify=settings.verify)
    if settings.is_unattended:
        await _by_credentials(fetcher, server, settings, storage)
        return
    with trio.move_on_after(settings.timeout):
        at, scope = await _find(fetcher, server, settings, storage)
        async with await _listen(settings, storage) as listener:
            uri = settings.redirect_uri or listener.redirect_uri
            plan = await _prepare(fetcher, settings, storage, at=at, scope=scope, uri=uri)
            _show(surface, plan.request, server)
            code = await _await_code(listener, plan.request, surface)
        tokens = await _redeem(fetcher, plan, code)
        await _store(storage, plan, msgspec.structs.replace(tokens, scope=tokens.scope or scope or None))
        return
    raise McpError(
        f"nobody signed in to {server.name!r} within {settings.timeout:g} s",
        kind="auth",
        where=f"mcp/{server.name}",
        next_step=f"run `{server.login_command}` again; what was there before is unchanged",
    )


async def _by_credentials(
    fetcher: Fetcher, server: ServerIdentity, settings: OAuthSettings, storage: TokenStorage
) -> None:
    """No person is needed: get a token to see whether the credentials are good, and keep it."""
    try:
        at, tokens, key = await obtain(fetcher, server.url, settings, storage)
    except RefusedError as refused:
        raise McpError(
            f"the configured credentials were refused ({refused.code})",
            kind="auth",
            where=f"mcp/{server.name}",
            next_step=f"see mcp_servers.{server.name}.oauth in config.yaml",
        ) from None
    async with storage.lock():
        storage.write_meta(at.to_file())
        if key is not None:
            storage.write_key(key.to_file())
        storage.write_tokens(tokens)


async def _find(
    fetcher: Fetcher, server: ServerIdentity, settings: OAuthSettings, storage: TokenStorage
) -> tuple[Discovered, str]:
    """The authorization server and the scope to ask it for."""
    answer = await fetcher.probe(server.url)
    challenge = parse_challenge(answer.challenges)
    at = await discover(fetcher, server.url, challenge)
    known = from_file(storage.read_meta(), server.url)
    held = storage.read_tokens()
    step_up = known.step_up if known else ""
    return at, _scope(settings, challenge, at, step_up=step_up, held=(held.scope or "") if held else "")


def _scope(settings: OAuthSettings, challenge: Challenge, at: Discovered, *, step_up: str, held: str) -> str:
    """What to ask for (MCP authorization, "Scope Selection Strategy"): configured, challenged, or what is listed.

    After a step-up what is held is asked for again with it, so no right is lost. Refreshing needs offline_access
    where a server has that scope.
    """
    wanted = settings.scope or challenge.scope or " ".join(at.scopes)
    names = [*wanted.split(), *((*held.split(), *step_up.split()) if step_up else ())]
    if names and not settings.scope and "offline_access" in at.server.scopes_supported:
        names.append("offline_access")
    return " ".join(dict.fromkeys(names))


async def _listen(settings: OAuthSettings, storage: TokenStorage) -> CallbackListener:
    """A listener at the configured port, else at the port that is registered already, else at a free one.

    A ``redirect_uri`` on this machine says at which path it listens and, without ``redirect_port``, at which port.
    """
    local, path = _local(settings.redirect_uri)
    fixed = settings.redirect_port or local
    ports = [fixed] if fixed else [_registered_port(storage), 0]
    for port in ports:
        with contextlib.suppress(OSError):
            return await CallbackListener(port, path=path).open()
    raise McpError(
        f"port {ports[0]} is taken",
        kind="auth",
        where="oauth.redirect_port" if settings.redirect_port else "oauth.redirect_uri",
        next_step="stop what listens there, or set another port",
    )


def _local(redirect_uri: str) -> tuple[int, str]:
    """Port and path of a redirect URI; the port is 0 where it names none, or leads to another machine than this one."""
    try:
        parts = urlsplit(redirect_uri)
        port = parts.port or 0
    except ValueError:
        return 0, PATH
    is_here = parts.scheme == "http" and is_loopback_host(parts.hostname or "")
    return port if is_here else 0, (parts.path or "/") if redirect_uri else PATH


def _registered_port(storage: TokenStorage) -> int:
    uris = storage.read_client().get("redirect_uris")
    for uri in uris[:32] if isinstance(uris, list) else ():
        with contextlib.suppress(ValueError):
            parts = urlsplit(str(uri))
            if (parts.scheme, parts.hostname, parts.path) == ("http", "127.0.0.1", PATH):
                return parts.port or 0
    return 0


async def _prepare(
    fetcher: Fetcher, settings: OAuthSettings, storage: TokenStorage, *, at: Discovered, scope: str, uri: str
) -> _Plan:
    """Decide who we are, and build the request. A registration on disk is used if the server still knows it."""
    client = configured_client(settings, at.server)
    if client is None:
        client = stored_client(storage.read_client(), at.server)
        if client is not None and not (client.may_ask(uri, scope) and await _is_known(fetcher, at, client, uri, scope)):
            client = None
    if client is None:
        client = await register(fetcher, at.server, settings, redirect_uri=uri, scope=scope)
    key = await proof_key(settings, at, storage)
    return _Plan(at, client, build_request(at, client, redirect_uri=uri, scope=scope, key=key), key)


async def _is_known(fetcher: Fetcher, at: Discovered, client: Client, uri: str, scope: str) -> bool:
    """Ask with a request that is thrown away: a browser would only show an error page, and nobody would come back."""
    answer = await fetcher.look(build_request(at, client, redirect_uri=uri, scope=scope).url)
    return answer.status not in (400, 401, 404)


def _show(surface: Surface, request: AuthorizationRequest, server: ServerIdentity) -> None:
    opened = surface.open_url is not None and surface.open_url(request.url)
    first = "A browser opens. If it does not, open" if opened else "Open"
    surface.say(f"{first} this address to sign in to {server.name}:\n\n  {request.url}\n")
    if surface.paste_fd is not None:
        surface.say("If that browser runs elsewhere, paste the address it ends at (it will not load) here.")


async def _await_code(listener: CallbackListener, request: AuthorizationRequest, surface: Surface) -> str:
    """The code, from whichever comes first."""
    found: list[str | McpError] = []
    async with trio.open_nursery() as nursery:

        async def take(source: Callable[[], Awaitable[str]]) -> None:
            try:
                answer: str | McpError = await source()
            except McpError as error:
                answer = error
            if answer:
                found.append(answer)
                nursery.cancel_scope.cancel()

        nursery.start_soon(take, lambda: listener.code_for(request))
        if surface.paste_fd is not None:
            nursery.start_soon(take, lambda: _pasted_code(request, surface))
    if isinstance(found[0], McpError):
        raise found[0]
    return found[0]


async def _pasted_code(request: AuthorizationRequest, surface: Surface) -> str:
    """The code of a line that fits; "" at the end of the input."""
    assert surface.paste_fd is not None
    waits = not stat.S_ISREG(os.fstat(surface.paste_fd).st_mode)
    buffer = b""
    while len(buffer) <= MAX_PASTE_BYTES:
        if waits:
            await trio.lowlevel.wait_readable(surface.paste_fd)
        chunk = os.read(surface.paste_fd, 8192)
        lines = [*(buffer + chunk).split(b"\n")]
        buffer = lines.pop() if chunk else b""
        for line in filter(None, (line.strip() for line in lines)):
            try:
                return request.code_from_url(line.decode("ascii", "replace"))
            except NotOursError as error:
                surface.say(f"That was not it: {error}. Paste the whole address.")
        if not chunk:
            return ""
    return ""


async def _redeem(fetcher: Fetcher, plan: _Plan, code: str) -> Tokens:
    request = plan.request
    try:
        return await redeem(
            fetcher,
            plan.at,
            plan.client,
            code=code,
            verifier=request.verifier,
            redirect_uri=request.redirect_uri,
            key=plan.key,
        )
    except RefusedError as refused:
        raise McpError(
            f"the authorization server did not take the code ({refused.code})",
            kind="auth",
            where=request.issuer[:200],
            next_step="start the sign-in again",
        ) from None


async def _store(storage: TokenStorage, plan: _Plan, tokens: Tokens) -> None:
    """Replace what belongs to the old sign-in, the tokens last."""
    with trio.move_on_after(2 * LOCK_TIMEOUT_S, shield=True):  # the code is spent: its tokens must not be lost
        async with storage.lock():
            if plan.client.source == "registered":
                storage.write_client(plan.client.raw)
            storage.write_meta(plan.at.to_file())
            if plan.key is not None and tokens.is_bound:
                storage.write_key(plan.key.to_file())
            storage.write_tokens(tokens)
