"""Which addresses a request may reach, decided after resolution, for each connection, redirects included.

A name is resolved once, every address it has is checked, and the connection goes to a checked address, so a name that
changes its answer (DNS rebinding) gains nothing; TLS still verifies the name. Reachable is what is global; loopback
and private addresses only where the configured server URL names one itself or the configuration allows it.
Link-local (cloud metadata), unspecified, multicast and reserved addresses are never reached.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    import httpcore2
    import httpx2

AddressKind = Literal["global", "private", "loopback", "forbidden"]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_ADDRESSES = 16
_SHARED = ipaddress.ip_network("100.64.0.0/10")  # RFC 6598, also used by overlay networks
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052


def kind_of(address: Address) -> AddressKind:
    """What sort of address this is; one embedded in IPv6 (mapped, 6to4, Teredo, NAT64) is judged by itself."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = _embedded(address)
        if inner is not None:
            return kind_of(inner)
    if address.is_loopback:
        return "loopback"
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return "forbidden"
    if address.version == 4 and address in _SHARED:
        return "private"
    if address.is_global:
        return "global"
    if _is_private_use(address):
        return "private"
    return "forbidden"


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or int(address) >> 32 == 0 and int(address) > 1:  # noqa: RUF021 - "::a.b.c.d" of RFC 4291
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _is_private_use(address: Address) -> bool:
    """RFC 1918 and RFC 4193, and nothing else of what ``is_private`` covers."""
    blocks = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16") if address.version == 4 else ("fc00::/7",)
    return any(address in ipaddress.ip_network(block) for block in blocks)


def literal(host: str) -> Address | None:
    """The address that ``host`` spells, scope and brackets aside; None for a name.

    Other spellings of IPv4 (decimal, octal, short) are names here and meet the check after resolution.
    """
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def is_loopback_host(host: str) -> bool:
    """Whether ``host`` is a loopback address or ``localhost`` (RFC 6761)."""
    address = literal(host)
    if address is not None:
        return kind_of(address) == "loopback"
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """The kinds of addresses that may be reached."""

    allowed: frozenset[AddressKind] = frozenset({"global"})

    @classmethod
    def for_server(cls, url: str, *, allow_private: bool = False) -> AddressPolicy:
        """What the server configured at ``url`` may lead to.

        A URL that spells a loopback or private address opens that kind; ``allow_private`` (a setting) opens both.
        """
        allowed: set[AddressKind] = {"global"}
        if allow_private:
            allowed |= {"private", "loopback"}
        host = urlsplit(url).hostname or ""
        address = literal(host)
        if is_loopback_host(host):
            allowed.add("loopback")
        elif address is not None and kind_of(address) == "private":
            allowed.add("private")
        return cls(frozenset(allowed))

    def choose(self, host: str, addresses: Iterable[str]) -> list[str]:
        """The addresses to try. Raises PermissionError when one of them may not be reached: then none is.

        ``host`` is only for the message.
        """
        found: list[str] = []
        for text in list(dict.fromkeys(addresses))[:MAX_ADDRESSES]:
            address = literal(text)
            kind = kind_of(address) if address is not None else "forbidden"
            if kind not in self.allowed:
                hint = "" if kind == "forbidden" else "; if that is meant, set allow_private: true for the server"
                raise PermissionError(f"{host[:100]} has an address that may not be reached ({text[:64]}){hint}")
            found.append(text)
        return found


@cache
def _backend_class() -> type[httpcore2.AsyncNetworkBackend]:
    """The class below, made on first use: its base belongs to a library that an idle daemon does not load."""
    import httpcore2
    import trio

    class GuardedBackend(httpcore2.AsyncNetworkBackend):
        """Connects only to addresses that the policy lets through."""

        def __init__(self, policy: AddressPolicy) -> None:
            self._policy = policy
            self._plain = httpcore2.TrioBackend()

        async def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,
            local_address: str | None = None,
            socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
        ) -> httpcore2.AsyncNetworkStream:
            deadline = trio.current_time() + (60.0 if timeout is None else timeout)
            problem: Exception = httpcore2.ConnectError(f"{host[:100]} has no address")
            for address in await self._addresses(host, port, deadline):
                left = deadline - trio.current_time()
                try:
                    return await self._plain.connect_tcp(address, port, max(0.0, left), local_address, socket_options)
                except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                    problem = error
            raise problem

        async def _addresses(self, host: str, port: int, deadline: float) -> list[str]:
            with trio.move_on_at(deadline):
                try:
                    rows = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
                    return self._policy.choose(host, (str(row[4][0]) for row in rows))
                except PermissionError as error:
                    raise httpcore2.ConnectError(str(error)) from None
                except OSError as error:
                    raise httpcore2.ConnectError(f"{host[:100]}: {error.strerror or error}") from None
            raise httpcore2.ConnectTimeout(f"{host[:100]} was not resolved in time")

        async def sleep(self, seconds: float) -> None:
            await trio.sleep(seconds)

    return GuardedBackend


def guarded_transport(
    policy: AddressPolicy, *, verify: ssl.SSLContext | bool = True, max_connections: int | None = None
) -> httpx2.AsyncBaseTransport:
    """A transport for ``httpx2.AsyncClient(transport=…, trust_env=False)`` that obeys ``policy``. No proxies.

    A refused address is httpx2.ConnectError, before a byte is sent.
    """
    import httpcore2
    import httpx2

    context = httpx2.create_ssl_context(verify=verify, trust_env=False)
    transport = httpx2.AsyncHTTPTransport(verify=context, trust_env=False)
    transport._pool = httpcore2.AsyncConnectionPool(  # the library has no parameter for a network backend
        ssl_context=context,
        max_connections=max_connections,
        max_keepalive_connections=8,
        keepalive_expiry=60.0,
        network_backend=_backend_class()(policy),  # type: ignore[call-arg]  # the subclass above takes the policy
    )
    return transport
