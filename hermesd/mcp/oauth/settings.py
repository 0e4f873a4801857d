"""What the configuration says about one server's sign-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hermesd.config.schema import McpOAuthConfig
from hermesd.home import DEFAULT_PROFILE
from hermesd.mcp.errors import McpError
from hermesd.mcp.typed import mcp_command

if TYPE_CHECKING:
    from hermesd.config.schema import McpServerConfig


class OAuthSettings(McpOAuthConfig, frozen=True, kw_only=True):
    """``mcp_servers.<name>.oauth`` and ``ssl_verify``. ``client_id`` may be the https URL of a metadata document.

    ``redirect_port`` 0 takes a free port; ``redirect_uri`` replaces the loopback URI, e.g. behind a proxy. ``timeout``:
    seconds a person has for signing in. ``grant`` other than authorization_code needs no person; ``issuer`` is then the
    only authorization server that gets the credentials. ``id_token_file`` and ``idp_…`` belong to id_jag. ``dpop``:
    whether tokens are bound to a key of ours; auto: where the MCP server asks for it. ``allow_private``: private and
    loopback addresses may be reached. ``verify``: False, or the file of the certificate authorities to trust.
    """

    verify: bool | str = True

    @property
    def is_unattended(self) -> bool:
        """Whether the configuration alone suffices for a token."""
        return self.grant != "authorization_code"

    @classmethod
    def of(cls, config: McpServerConfig) -> OAuthSettings:
        """The part of a server's configuration that matters here."""
        said = msgspec.structs.asdict(config.oauth)
        said["allow_private"] = config.allow_private or config.oauth.allow_private
        return cls(**said, verify=config.ssl_verify)


class ServerIdentity(msgspec.Struct, frozen=True):
    """Which server of which profile; ``url`` is the MCP endpoint."""

    name: str
    url: str
    profile: str = DEFAULT_PROFILE

    @property
    def login_command(self) -> str:
        """What a person types to sign in."""
        return mcp_command(self.profile, "login", self.name)


def needs_reauth(server: ServerIdentity, why: str) -> McpError:
    """The error that only a person's sign-in mends; a model or a user reads it."""
    return McpError(
        f"the MCP server {server.name!r} requires signing in: {why}",
        kind="auth",
        where=f"mcp/{server.name}",
        next_step=f"run `{server.login_command}`",
    )
