"""Which addresses may be reached."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.storage.guard import AddressRefused, GuardedResolver, NetworkGuard, literal_address

PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::200e"]
PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.168.1.1",
    "192.88.99.1",
    "198.18.0.1",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:169.254.169.254",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:a00:1::",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "not an address",
    "",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_is_open(address: str) -> None:
    assert NetworkGuard().allows_address(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_everything_else_is_closed(address: str) -> None:
    assert not NetworkGuard().allows_address(address)


@given(st.ip_addresses())
def test_what_is_allowed_is_global_unicast(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if NetworkGuard().allows_address(str(address)):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


@pytest.mark.parametrize(
    ("allow", "address", "expected"),
    [
        (("10.0.0.0/8",), "10.1.2.3", True),
        (("10.0.0.0/8",), "192.168.1.1", False),
        (("192.168.1.1",), "192.168.1.1", True),
        (("192.168.1.1",), "192.168.1.2", False),
        (("fd00::/8",), "fd12::1", True),
        (("64:ff9b::/96",), "64:ff9b::a00:1", True),
        (("10.0.0.0/8",), "::ffff:10.0.0.1", False),
        (("*",), "127.0.0.1", True),
        (("nas.local",), "10.0.0.1", False),
    ],
)
def test_the_operator_opens_networks(allow: tuple[str, ...], address: str, expected: bool) -> None:
    assert NetworkGuard(allow).allows_address(address) is expected


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("99999999999", "99999999999"),
        ("1.2.3.4.5", "1.2.3.4.5"),
        ("example.com", None),
        ("127.0.0.1.nip.io", None),
        ("face", None),
        ("a-1.2", None),
    ],
)
def test_addresses_are_known_in_every_notation(host: str, address: str | None) -> None:
    assert literal_address(host) == address


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1", "::1", "1.2.3.4.5", "0"])
def test_an_address_in_the_url_is_judged(host: str) -> None:
    with pytest.raises(AddressRefused):
        NetworkGuard().check_literal(host)
    NetworkGuard(("*",)).check_literal(host)


@pytest.mark.parametrize("host", ["example.com", "8.8.8.8", "2606:4700::1111"])
def test_names_and_public_addresses_pass(host: str) -> None:
    NetworkGuard().check_literal(host)


async def test_a_name_is_judged_by_what_it_resolves_to() -> None:
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(AddressRefused) as refused:
            await GuardedResolver(NetworkGuard(), pool).resolve("localhost", 80)
        assert "127.0.0.1" not in str(refused.value)

        for allow in ("localhost", "LOCALHOST.", "127.0.0.0/8", "*"):
            found = await GuardedResolver(NetworkGuard((allow,)), pool).resolve("localhost", 80)
            assert found[0]["host"] == "127.0.0.1"


async def test_a_name_without_an_address_is_the_system_s_own_error() -> None:
    with ThreadPoolExecutor(1) as pool:
        resolver = GuardedResolver(NetworkGuard(), pool)
        with pytest.raises(socket.gaierror):
            await asyncio.wait_for(resolver.resolve("no-such-host.invalid", 80), 20)
