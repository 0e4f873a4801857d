"""Where requests to a server may go: to addresses that its URL or settings name, by redirects that lead nowhere else.

Refused are addresses before a byte is sent (``oauth.ssrf``), and redirects to another origin, which would be given the
configured headers, or those that would turn a POST into a GET: the SDK does not follow them either, but takes them for
an answer, and only we say where they lead. No proxy is taken from the environment: behind one, the
address could not be checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.ssrf import AddressPolicy, guarded_transport

if TYPE_CHECKING:
    import ssl

    import httpx2

    from hermesd.config.schema import McpServerConfig


def guarded(config: McpServerConfig, context: ssl.SSLContext, *, max_connections: int) -> dict[str, Any]:
    """Options of an ``httpx2.AsyncClient``. Its requests raise httpx2.ConnectError, and McpError for a redirect."""
    policy = AddressPolicy.for_server(config.url, allow_private=config.allow_private)
    return {
        "transport": guarded_transport(policy, verify=context, max_connections=max_connections),
        "trust_env": False,
        "event_hooks": {"response": [_check_redirect]},
    }


async def _check_redirect(response: httpx2.Response) -> None:
    """Raise McpError (down) for a redirect that is not to be followed; async because httpx2 awaits it."""
    if not response.has_redirect_location:
        return
    here = response.request.url
    target = here.join(response.headers["location"])
    keeps_method = response.request.method == "GET" or response.status_code in (307, 308)
    is_upgrade = (here.scheme, target.scheme) == ("http", "https") and here.port is target.port is None
    same_origin = (here.scheme, here.port) == (target.scheme, target.port) or is_upgrade
    brings_user = bool(target.userinfo) and target.userinfo != here.userinfo
    if here.host != target.host or not same_origin or not keeps_method or brings_user:
        shown = str(target.copy_with(query=None, fragment=None, userinfo=b""))[:300]
        raise McpError(f"the server redirects to {shown}; if that is right, set it as url", kind="down")
