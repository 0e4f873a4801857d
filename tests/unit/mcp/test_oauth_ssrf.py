"""Which addresses may be reached, as a table and for all addresses."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.mcp.oauth.ssrf import AddressPolicy, is_loopback_host, kind_of

KINDS = {
    "8.8.8.8": "global",
    "2606:4700::1111": "global",
    "10.0.0.1": "private",
    "172.16.0.1": "private",
    "172.32.0.1": "global",
    "192.168.1.1": "private",
    "100.64.0.1": "private",
    "fd00::1": "private",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "::1": "loopback",
    "0.0.0.0": "forbidden",
    "0.1.2.3": "forbidden",
    "::": "forbidden",
    "169.254.169.254": "forbidden",
    "fe80::1": "forbidden",
    "224.0.0.1": "forbidden",
    "ff02::1": "forbidden",
    "240.0.0.1": "forbidden",
    "255.255.255.255": "forbidden",
    "192.0.2.1": "forbidden",
    "198.18.0.1": "forbidden",
    "::ffff:127.0.0.1": "loopback",
    "::ffff:8.8.8.8": "global",
    "::ffff:169.254.169.254": "forbidden",
    "::127.0.0.1": "loopback",
    "64:ff9b::7f00:1": "loopback",
    "2002:7f00:1::": "loopback",
    "2001:0:1:1:1:1:80ff:fffe": "loopback",
}


@pytest.mark.parametrize(("text", "kind"), KINDS.items())
def test_the_kind_of_an_address(text: str, kind: str) -> None:
    """Special-purpose registries of IANA, with what is embedded in IPv6 judged by itself."""
    assert kind_of(ipaddress.ip_address(text)) == kind


@given(st.ip_addresses())
def test_what_is_not_global_is_never_taken_for_global(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """The library's own view is the upper bound."""
    if kind_of(address) == "global" and address.version == 4:
        assert address.is_global
        assert not address.is_multicast


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_the_address(address: ipaddress.IPv4Address) -> None:
    """Writing it as IPv6 opens nothing."""
    assert kind_of(ipaddress.IPv6Address(f"::ffff:{address}")) == kind_of(address)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://mcp.example/", {"global"}),
        ("http://127.0.0.1:8000/mcp", {"global", "loopback"}),
        ("http://localhost/mcp", {"global", "loopback"}),
        ("http://[::1]/mcp", {"global", "loopback"}),
        ("http://10.0.0.7/mcp", {"global", "private"}),
        ("http://2130706433/", {"global"}),
        ("http://169.254.169.254/", {"global"}),
        ("http://0.0.0.0/", {"global"}),
    ],
)
def test_what_a_server_url_opens(url: str, allowed: set[str]) -> None:
    """The kind that it spells itself, and no other."""
    assert AddressPolicy.for_server(url).allowed == allowed
    assert AddressPolicy.for_server(url, allow_private=True).allowed == {"global", "private", "loopback"}


def test_one_address_that_may_not_be_reached_spoils_the_name() -> None:
    """A name with a public and a loopback address is an attack, not a choice."""
    with pytest.raises(PermissionError):
        AddressPolicy().choose("mixed.example", ["8.8.8.8", "127.0.0.1"])
    assert AddressPolicy().choose("a.example", ["8.8.8.8", "8.8.8.8"]) == ["8.8.8.8"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "a.localhost", "127.1.2.3", "[::1]", "::ffff:127.0.0.1"])
def test_loopback_hosts(host: str) -> None:
    """RFC 6761 names and addresses."""
    assert is_loopback_host(host)
    assert not is_loopback_host(f"{host.strip('[].')}.example")
