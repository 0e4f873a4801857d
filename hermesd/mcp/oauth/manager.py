"""One place for the sign-ins of a profile's servers: providers are made once and kept over reconnects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import trio

from hermesd.home import DEFAULT_PROFILE
from hermesd.mcp.oauth.inherited import storage_of
from hermesd.mcp.oauth.settings import OAuthSettings, ServerIdentity
from hermesd.mcp.oauth.watch import watch_directory
from hermesd.mcp.typed import mcp_command

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from pathlib import Path

    import httpx2

    from hermesd.config.schema import McpServerConfig
    from hermesd.mcp.errors import McpError
    from hermesd.mcp.oauth.keeper import TokenKeeper
    from hermesd.mcp.oauth.login import Surface
    from hermesd.mcp.oauth.logout import LogoutResult
    from hermesd.mcp.oauth.provider import OAuthProvider
    from hermesd.mcp.oauth.storage import TokenStorage

Notice = Literal["needed", "rights", "tokens"]
"""Only a sign-in helps; so it does for more rights; others have written or removed the file of tokens."""


def _nothing(_server: str, _notice: Notice) -> None:
    """Nobody listens."""


class OAuthManager:
    """The providers of one profile. ``directory`` is its mcp-tokens/.

    Run as a service (``run``) renewals are tasks of the manager; otherwise they are shielded in whoever asked first.
    ``on_notice`` is called with a server's name, must not block, and tells of files only while the service runs.
    ``configured``: the names of the profile's servers, by which a file of hermes-agent's is known to be one server's.
    """

    configured: Collection[str] | None = None

    def __init__(
        self,
        directory: Path,
        *,
        profile: str = DEFAULT_PROFILE,
        on_notice: Callable[[str, Notice], None] = _nothing,
    ) -> None:
        self._directory = directory
        self._profile = profile
        self._on_notice = on_notice
        self._providers: dict[str, OAuthProvider] = {}
        self._nursery: trio.Nursery | None = None

    def login_command(self, server_name: str) -> str:
        """What a person types to sign in."""
        return mcp_command(self._profile, "login", server_name)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the renewals until cancelled, and tell of token files; one that is being answered is still saved."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                task_status.started()
                await watch_directory(self._directory, self._file_changed)
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def _file_changed(self, file_name: str) -> None:
        """A file in the directory was written or removed; "" stands for any of them."""
        for server_name, provider in list(self._providers.items()):
            keeper = provider.keeper
            if file_name in ("", keeper.storage.tokens_path.name) and keeper.reload_if_changed():  # not by ourselves
                self._on_notice(server_name, "tokens")

    def get_or_build_provider(self, server_name: str, url: str, config: McpServerConfig) -> httpx2.Auth:
        """The provider of this server: the same object for as long as URL and settings are the same."""
        from hermesd.mcp.oauth.fetch import Fetcher
        from hermesd.mcp.oauth.keeper import TokenKeeper
        from hermesd.mcp.oauth.provider import OAuthProvider
        from hermesd.mcp.oauth.ssrf import AddressPolicy

        settings = OAuthSettings.of(config)
        found = self._providers.get(server_name)
        if found is not None and found.keeper.server.url == url and found.keeper.settings == settings:
            return found
        policy = AddressPolicy.for_server(url, allow_private=settings.allow_private)
        keeper = TokenKeeper(
            ServerIdentity(server_name, url, self._profile),
            settings,
            self._storage(server_name),
            Fetcher(policy, verify=settings.verify),
            spawn=lambda: self._spawn if self._nursery is not None else None,
            on_needed=lambda rights: self._on_notice(server_name, "rights" if rights else "needed"),
        )
        self._providers[server_name] = provider = OAuthProvider(keeper)
        return provider

    async def login(self, server_name: str, url: str, config: McpServerConfig, surface: Surface) -> None:
        """Have a person sign in; a provider that is there already uses the new tokens from its next request on.

        Raises McpError (auth: refused, or nobody came); what was there before is then unchanged.
        """
        from hermesd.mcp.oauth.login import login

        server = ServerIdentity(server_name, url, self._profile)
        await login(server, OAuthSettings.of(config), self._storage(server_name), surface)

    async def logout(self, server_name: str, url: str, config: McpServerConfig) -> LogoutResult:
        """Give the tokens back and delete them; the registration stays for the next sign-in.

        The authorization server is told where it takes that (RFC 7009), in bounded time; the files go whatever it
        answers. Raises McpError (down: another process holds the tokens), OSError.
        """
        from hermesd.mcp.oauth.logout import logout

        return await logout(url, OAuthSettings.of(config), self._storage(server_name))

    def has_tokens(self, server_name: str) -> bool:
        """Whether there is a file of tokens now."""
        return self._storage(server_name).stamp() is not None

    def evict(self, server_name: str) -> None:
        """Forget the provider; what is on disk stays."""
        self._providers.pop(server_name, None)

    async def remove(self, server_name: str) -> bool:
        """Forget the provider and delete what is on disk; whether there was any. Raises McpError, OSError."""
        self.evict(server_name)
        storage = self._storage(server_name)
        if not self._directory.is_dir():
            return False
        async with storage.lock():
            return storage.remove()

    def invalidate_if_disk_changed(self, server_name: str) -> bool:
        """Read the tokens again if their file changed since; False also when there is no file or no such server."""
        keeper = self._keeper(server_name)
        return keeper is not None and keeper.reload_if_changed()

    async def handle_401(self, server_name: str, failed_token: str | None) -> bool:
        """Whether a call that failed with ``failed_token`` is worth repeating: one recovery for all who ask.

        None stands for the token in use. False for a server without a provider, or where only a person helps. Raises
        McpError (down, timeout).
        """
        keeper = self._keeper(server_name)
        if keeper is None:
            return False
        return await keeper.recover(failed_token)

    def failure(self, server_name: str) -> McpError | None:
        """Why the last request of this server got no usable token; None when all is well.

        The SDK turns exceptions of its HTTP client into its own: this is where the reason is found afterwards.
        """
        keeper = self._keeper(server_name)
        return keeper.failure if keeper is not None else None

    def _storage(self, server_name: str) -> TokenStorage:
        return storage_of(self._directory, server_name, self.configured)

    def _keeper(self, server_name: str) -> TokenKeeper | None:
        provider = self._providers.get(server_name)
        return provider.keeper if provider is not None else None

    def _spawn(self, function: Callable[[], Awaitable[None]]) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(function)
