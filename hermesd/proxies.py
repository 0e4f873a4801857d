"""Whether a request goes through the proxy that the environment names (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY).

Those to addresses that others may have chosen do not: MCP servers, sign-ins, ``deliver: webhook:``. Their address is
checked when the connection is made (``mcp.oauth.ssrf``), and behind a proxy it could not be.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def uses_environment_proxy(url: str) -> bool:
    """For a URL that the configuration names: whether ``trust_env`` of httpx2 is on. Never for this machine itself.

    That is how Go's net/http (ProxyFromEnvironment) has it; curl would need NO_PROXY for a model server on loopback.
    """
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:  # no URL: whoever connects says so
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return True
