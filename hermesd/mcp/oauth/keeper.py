"""The tokens of one server in this process: read when the file changes, renewed once for however many ask.

    absent ──login──▶ valid ──expiry or 401──▶ renewing ──new tokens──▶ valid
       ▲                                          ├─ not now ──▶ valid or expired, asked again after a pause (1 → 60 s)
       └──── file removed                         └─ refused ──▶ refused, until the file changes: no request is made

Nothing is held while the server itself is asked. A renewal is a task of its own, so a caller who is cancelled neither
stops it half-way (the old refresh token would be spent and the new one lost) nor waits for it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.errors import ConfigError
from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.challenge import parse_challenge
from hermesd.mcp.oauth.discovery import Discovered, discover, from_file, same_issuer
from hermesd.mcp.oauth.dpop import ProofKey, key_from
from hermesd.mcp.oauth.grant import RefusedError, refresh
from hermesd.mcp.oauth.registration import Client, configured_client, stored_client
from hermesd.mcp.oauth.settings import needs_reauth
from hermesd.mcp.oauth.unattended import obtain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.mcp.oauth.fetch import Fetcher
    from hermesd.mcp.oauth.metadata import Tokens
    from hermesd.mcp.oauth.settings import OAuthSettings, ServerIdentity
    from hermesd.mcp.oauth.storage import Stamp, TokenStorage

    Spawn = Callable[[Callable[[], Awaitable[None]]], None]

logger = logging.getLogger(__name__)

FILE_THREADS = trio.CapacityLimiter(2)

EXCHANGE_S = 60.0
GRACE_S = 3.0
PAUSE_S = (1.0, 60.0)
REJECTED_S = 60.0
LOOK_AGAIN_S = 15.0
MAX_SCOPE_CHARS = 1024


class _Renewal:
    """One renewal under way, and how it ended."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.error: McpError | None = None


class TokenKeeper:
    """``spawn`` starts a function in a task that outlives the caller; without it the caller itself renews.

    ``on_needed`` is called when only a person's sign-in helps, with whether that is just for more rights.
    """

    def __init__(
        self,
        server: ServerIdentity,
        settings: OAuthSettings,
        storage: TokenStorage,
        fetcher: Fetcher,
        *,
        spawn: Callable[[], Spawn | None] = lambda: None,
        on_needed: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self.server = server
        self.settings = settings
        self.storage = storage
        self.failure: McpError | None = None
        self.renewals = 0
        self._fetcher = fetcher
        self._spawn = spawn
        self._on_needed = on_needed
        self._tokens: Tokens | None = None
        self._stamp: Stamp | None = None
        self._key: ProofKey | None = None
        self._renewal: _Renewal | None = None
        self._refused_refresh = ""
        self._rejected_access = ""
        self._rejected_until = 0.0
        self._pause_s = 0.0
        self._not_before = 0.0
        self._doubted = False  # the metadata on disk: a request that built on it has failed

    # -- what the provider asks --------------------------------------------------------------------------------------
    def reload_if_changed(self) -> bool:
        """Read the token file again if it is another one than last time; whether it was.

        A file that cannot be understood leaves what is in memory, a removed one is a logout.
        """
        stamp = self.storage.stamp()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        found = self.storage.read_tokens() if stamp is not None else None
        if found is None and stamp is not None:
            return False
        self._tokens = found
        self._key = None
        self._refused_refresh = self._rejected_access = ""
        self._pause_s = self._not_before = 0.0
        self._doubted = False
        self.failure = None
        return True

    async def usable_token(self) -> str:
        """An access token worth sending, renewed first when its life is over.

        Raises McpError: auth when only a person helps, down or timeout when the authorization server does not answer.
        """
        self.reload_if_changed()
        tokens = self._tokens
        if tokens is None and self.settings.is_unattended:
            await self._renew("")
            tokens = self._tokens
        if tokens is None:
            raise self._give_up(self._why_signed_out())
        if self._is_rejected(tokens.access_token):
            raise self._give_up("its access was refused")
        now = time.time()
        if now < tokens.renew_at():
            return tokens.access_token
        if not (tokens.refresh_token or self.settings.is_unattended):  # the clock may be wrong: let the server judge
            return tokens.access_token
        try:
            await self._renew(tokens.access_token)
        except McpError as error:
            if error.kind == "auth" or now >= tokens.expires_at:
                raise
            return tokens.access_token  # there is a little left of its life
        return self._tokens.access_token if self._tokens else await self.usable_token()

    async def authorization(self, token: str, method: str, url: str) -> dict[str, str]:
        """The headers that present ``token`` with one request; a proof is good for that one only (RFC 9449 §7.1).

        Raises McpError (auth) when the key that it is bound to is gone.
        """
        tokens = self._tokens
        if tokens is None or not tokens.is_bound:
            return {"authorization": f"Bearer {token}"}
        key = await self._bound_key()
        return {"authorization": f"DPoP {token}", "dpop": key.proof(method, url, token=token)}

    def note_nonce(self, url: str, nonce: str | None) -> bool:
        """What the server wants in proofs from now on; whether it said anything."""
        return self._key is not None and self._key.note_nonce(url, nonce)

    async def _bound_key(self) -> ProofKey:
        """The key of the tokens. Raises McpError (auth) when it is gone."""
        if self._key is None:
            self._key = await key_from(self.storage.read_key())
        if self._key is None:
            raise self._give_up("the key that its access is bound to is gone")
        return self._key

    async def recover(self, failed_token: str | None) -> bool:
        """After a 401 for ``failed_token`` (None: the one in use): whether there is another token now.

        However many ask, one renewal. Raises McpError (down, timeout) when that cannot be told now.
        """
        if failed_token is None:
            failed_token = self._tokens.access_token if self._tokens else ""
        self.reload_if_changed()
        current = self._tokens
        if current is None or self._is_rejected(current.access_token):
            return False
        if current.access_token != failed_token:
            return True
        try:
            await self._renew(failed_token)
        except McpError as error:
            if error.kind != "auth":
                raise
            self._reject(failed_token)
            return False
        return True

    def reject(self, token: str) -> McpError:
        """The server refused a token that is fresh: it is not tried again for a minute, in case the server mends."""
        self._reject(token)
        return self._give_up("it refuses a fresh access token")

    async def want_scope(self, scope: str) -> McpError:
        """The server wants more scope (RFC 6750 §3.1): note it for the next sign-in, which adds it to the old.

        Where all of that scope was granted already another sign-in cannot help, and nobody is sent into one.
        """
        held = (self._tokens.scope or "").split() if self._tokens is not None else []
        if scope and set(scope.split()) <= set(held):
            what = f"the MCP server {self.server.name!r} refuses what it has granted the right to ({scope})"
            return McpError(what, kind="tool", where=f"mcp/{self.server.name}", next_step="ask who runs the server")
        with contextlib.suppress(OSError, ConfigError, McpError):  # then it is asked for the next time
            await self._note_scope(scope)
        return self._give_up(f"it wants more rights ({scope})" if scope else "it wants more rights", rights=True)

    async def _note_scope(self, scope: str) -> None:
        """Add to what the next sign-in asks for: another tool may have wanted something else before."""
        known = from_file(self.storage.read_meta(), self.server.url)
        if known is None or set(scope.split()) <= set(known.step_up.split()):
            return
        async with self.storage.lock(timeout_s=2.0):
            known = from_file(self.storage.read_meta(), self.server.url) or known
            both = " ".join(dict.fromkeys([*known.step_up.split(), *scope.split()]))
            wanted = both if len(both) <= MAX_SCOPE_CHARS else scope
            await self._save_meta(msgspec.structs.replace(known, step_up=wanted))

    def _reject(self, token: str) -> None:
        self._rejected_access = token
        self._rejected_until = trio.current_time() + REJECTED_S

    def _is_rejected(self, token: str) -> bool:
        return token == self._rejected_access and trio.current_time() < self._rejected_until

    # -- renewal -----------------------------------------------------------------------------------------------------
    async def _renew(self, failed: str) -> None:
        """Join the renewal under way or begin one. Raises McpError."""
        renewal = self._renewal
        if renewal is None:
            renewal = self._renewal = _Renewal()
            await self._start(renewal, failed)
        await renewal.done.wait()
        if renewal.error is not None:
            raise _copy(renewal.error)

    async def _start(self, renewal: _Renewal, failed: str) -> None:
        async def run() -> None:
            await self._run(renewal, failed)

        spawn = self._spawn()
        if spawn is not None:
            spawn(run)
            return
        await run()

    async def _run(self, renewal: _Renewal, failed: str) -> None:
        """Renew, and tell those who wait, however it ends."""
        renewal.error = McpError("the renewal was cut short", kind="cancelled", where=f"mcp/{self.server.name}")
        try:
            await self._renew_under_lock(failed)
            renewal.error = None
        except McpError as error:
            renewal.error = error
        except (OSError, ConfigError) as error:
            why = error.what if isinstance(error, ConfigError) else error.strerror
            renewal.error = McpError(
                f"the token directory cannot be used ({why})",
                kind="down",
                where=str(self.storage.directory),
                next_step="make it private and writable for this user",
            )
        finally:
            self._renewal = None
            renewal.done.set()

    async def _renew_under_lock(self, failed: str) -> None:
        async with self.storage.lock():
            self.reload_if_changed()
            tokens = self._tokens
            if tokens is not None and tokens.access_token != failed and time.time() < tokens.renew_at():
                return  # another process has renewed it meanwhile
            spent = None if self.settings.is_unattended else self._refreshable(tokens)
            if trio.current_time() < self._not_before and self.failure is not None:
                raise self.failure
            await self._to_its_end(spent)

    def _refreshable(self, tokens: Tokens | None) -> Tokens:
        """The tokens, if they hold a refresh token to try. Raises McpError (auth) where only a person helps."""
        if tokens is None:
            raise self._give_up(self._why_signed_out())
        if not tokens.refresh_token:
            raise self._give_up("its access has ended and there is no refresh token")
        if tokens.refresh_token == self._refused_refresh:
            raise self._give_up("its refresh token was refused")
        return tokens

    async def _to_its_end(self, tokens: Tokens | None) -> None:
        """Exchange the tokens, or without any ask by the configured credentials, uncancelled.

        A cancel (shutdown) leaves the authorization server ``GRACE_S`` to answer.
        """
        scope = trio.CancelScope(shield=True, deadline=trio.current_time() + EXCHANGE_S)

        async def hurry_when_cancelled() -> None:
            try:
                await trio.sleep_forever()
            finally:
                scope.deadline = min(scope.deadline, trio.current_time() + GRACE_S)

        error: McpError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hurry_when_cancelled)
            with scope:
                try:
                    await (self._exchange(tokens) if tokens is not None else self._obtain())
                except McpError as raised:  # kept out of the nursery, which would wrap it in a group
                    error = raised
            nursery.cancel_scope.cancel()
        if error is None and scope.cancelled_caught:
            error = self._later(McpError("no answer from the authorization server", kind="timeout"))
        if error is not None:
            raise error

    async def _exchange(self, tokens: Tokens) -> None:
        """Present the refresh token, once, and save what comes back before anything else."""
        try:
            at = await self._authorization_server()
            client = self._client(at)
            if client is None:
                raise self._give_up("its client registration is gone")
            key = await self._bound_key() if tokens.is_bound else None
            self.renewals += 1
            new = await refresh(self._fetcher, at, client, tokens, key)
        except RefusedError as refused:
            self._refused(refused, tokens, configured=client is not None and client.source != "registered")
            return
        except McpError as error:
            raise self._later(error) from None
        self._tokens = new
        self._pause_s = self._not_before = 0.0
        self._doubted = False
        self.failure = None
        await self._save(new)

    async def _obtain(self) -> None:
        """Ask for a token with the configured credentials."""
        known = from_file(self.storage.read_meta(), self.server.url)
        self.renewals += 1
        try:
            at, new, key = await obtain(self._fetcher, self.server.url, self.settings, self.storage)
        except RefusedError as refused:
            raise self._not_soon(f"the configured credentials were refused ({refused.code})") from None
        except McpError as error:
            if error.kind == "auth":
                raise self._not_soon(f"{error.what} ({error.where}: {error.next_step})") from None
            raise self._later(error) from None
        self._tokens, self._key = new, key
        self._pause_s = self._not_before = 0.0
        self.failure = None
        if known is None or known.server != at.server:
            await self._save_meta(at)
        await self._save(new, key)

    def _not_soon(self, why: str) -> McpError:
        """A no to the credentials is not asked for again at once."""
        self._not_before = trio.current_time() + PAUSE_S[1]
        return self._give_up(why)

    def _refused(self, refused: RefusedError, tokens: Tokens, *, configured: bool) -> None:
        """The grant or the client is gone, unless somebody without our lock (hermes-agent) has been quicker."""
        found = self.storage.read_tokens()
        if found is not None and found.refresh_token != tokens.refresh_token:
            self._stamp, self._tokens = self.storage.stamp(), found
            return
        self._refused_refresh = tokens.refresh_token or ""
        if refused.code == "invalid_client" and not configured:
            self.storage.retire_client()
            logger.warning("the client registration is no longer known", extra={"fields": {"server": self.server.name}})
        raise self._give_up(f"its refresh token was refused ({refused.code})")

    async def _authorization_server(self) -> Discovered:
        known = from_file(self.storage.read_meta(), self.server.url)
        if known is None:  # tokens from another machine
            found = await self._discovered()
        elif not self._doubted:
            return known
        else:  # what is on disk led nowhere: perhaps it is old
            found = await self._newer_than(known)
        if found is not known:
            await self._save_meta(found)
        return found

    async def _discovered(self) -> Discovered:
        """As a sign-in finds it: only the server's challenge may say where the metadata is."""
        answer = await self._fetcher.probe(self.server.url)
        return await discover(self._fetcher, self.server.url, parse_challenge(answer.challenges))

    async def _newer_than(self, known: Discovered) -> Discovered:
        """What the same issuer says of itself now; ``known`` when that cannot be found out.

        Raises McpError (auth) when the server names another issuer: it gets nothing that was not signed in for there.
        """
        try:
            with trio.fail_after(LOOK_AGAIN_S):
                found = await self._discovered()
        except (McpError, trio.TooSlowError):
            return known
        if not same_issuer(found.server.issuer, known.server.issuer):
            raise self._not_soon("its tokens are now issued by another authorization server")
        if found.server == known.server:
            return known
        return msgspec.structs.replace(found, step_up=known.step_up)

    def _client(self, at: Discovered) -> Client | None:
        return configured_client(self.settings, at.server) or stored_client(self.storage.read_client(), at.server)

    async def _save(self, tokens: Tokens, key: ProofKey | None = None) -> None:
        """Write the tokens, and before them the key that they are bound to.

        If the disk refuses, they are used from memory: they are the only ones left.
        """
        try:
            if key is not None:
                await trio.to_thread.run_sync(self.storage.write_key, key.to_file(), limiter=FILE_THREADS)
            await trio.to_thread.run_sync(self.storage.write_tokens, tokens, limiter=FILE_THREADS)
        except (OSError, ConfigError) as error:
            logger.error(  # noqa: TRY400 - what failed is said; a traceback adds nothing
                "renewed tokens cannot be saved (%s): they will be lost at the next start",
                type(error).__name__,
                extra={"fields": {"server": self.server.name}},
            )
        self._stamp = self.storage.stamp()

    async def _save_meta(self, known: Discovered) -> None:
        try:
            await trio.to_thread.run_sync(self.storage.write_meta, known.to_file(), limiter=FILE_THREADS)
        except (OSError, ConfigError) as error:
            logger.warning(
                "server metadata cannot be saved (%s)",
                type(error).__name__,
                extra={"fields": {"server": self.server.name}},
            )

    # -- failures ----------------------------------------------------------------------------------------------------
    def _give_up(self, why: str, *, rights: bool = False) -> McpError:
        self.failure = needs_reauth(self.server, why)
        self._on_needed(rights)
        return self.failure

    def _why_signed_out(self) -> str:
        problem = self.storage.why_no_tokens()
        return f"{self.storage.tokens_path} {problem}" if problem else "nobody has signed in yet"

    def _later(self, error: McpError) -> McpError:
        """Remember a passing failure and do not ask again for a while."""
        if error.kind != "auth":
            self._doubted = True
            self._pause_s = min(max(PAUSE_S[0], 2 * self._pause_s), PAUSE_S[1])
            self._not_before = trio.current_time() + self._pause_s
        self.failure = error
        return error


def _copy(error: McpError) -> McpError:
    """An error of one's own for each who waited: a shared one would gather all their tracebacks."""
    return McpError(error.what, kind=error.kind, where=error.where, next_step=error.next_step)
