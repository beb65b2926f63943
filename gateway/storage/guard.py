"""Which addresses a fetch may reach: the public internet, and what the operator allows.

A caller's URL must not become a way into the operator's network. Names are judged by the addresses
they resolve to at the moment of connecting, so that a name cannot change its mind in between.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import Executor
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from aiohttp.abc import AbstractResolver, ResolveResult

HINT = "To allow it, add the host or its network to ALLOW_PRIVATE_NETWORKS."

# The table is ours because `ipaddress.is_global` answers differently between patch releases.
_NOT_PUBLIC_V4 = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's platform service: public by number, local by nature
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
# Unicast is given out from 2000::/3 alone: mapped, NAT64, local and multicast lie outside.
_PUBLIC_V6 = ip_network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    map(
        ip_network,
        (
            "2001::/23",  # Teredo and other protocol assignments
            "2001:db8::/32",
            "2002::/16",  # 6to4 carries any IPv4 address
            "2620:4f:8000::/48",
            "3fff::/20",
        ),
    )
)


class AddressRefused(OSError):
    """The host is not on the public internet."""


class NetworkGuard:
    """Says what may be reached; `allow` holds CIDRs, host names, or `*` for everything."""

    def __init__(self, allow: tuple[str, ...] = ()) -> None:
        self._all = "*" in allow
        self._networks = tuple(ip_network(entry, strict=False) for entry in allow if _is_net(entry))
        self._hosts = {_plain(entry) for entry in allow if not _is_net(entry)}

    def allows_host(self, host: str) -> bool:
        """Whether the operator named this host, whatever it resolves to."""
        return self._all or _plain(host) in self._hosts

    def allows_address(self, address: str) -> bool:
        """Whether an address may be connected to."""
        if self._all:
            return True
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return _is_public(parsed) or any(parsed in network for network in self._networks)

    def check_literal(self, host: str) -> None:
        """Raise AddressRefused for a host that is itself an address that may not be reached.

        The resolver is never asked about these: aiohttp connects to them as they stand.
        """
        address = literal_address(host)
        if address is None or self.allows_host(host) or self.allows_address(address):
            return
        raise AddressRefused(f"{host} is not an address on the public internet")

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily, pool: Executor
    ) -> list[ResolveResult]:
        """Return the allowed addresses of a name; raises AddressRefused when none is."""
        loop = asyncio.get_running_loop()
        infos = await loop.run_in_executor(
            pool, socket.getaddrinfo, host, port, family, socket.SOCK_STREAM
        )
        found = [_result(host, *info) for info in infos]
        if self.allows_host(host):
            return found
        allowed = [entry for entry in found if self.allows_address(entry["host"])]
        if not allowed:
            # Which address it was is the network's own business.
            raise AddressRefused(f"{host} does not lead to the public internet")
        return allowed


class GuardedResolver(AbstractResolver):
    """What aiohttp asks before it connects: only allowed addresses come back."""

    def __init__(self, guard: NetworkGuard, pool: Executor) -> None:
        self._guard = guard
        self._pool = pool

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses to try; raises OSError."""
        return await self._guard.resolve(host, port, family, self._pool)

    async def close(self) -> None:
        """Nothing is held."""


def literal_address(host: str) -> str | None:
    """Return the address that a host is, in any notation a C library takes; None for a name."""
    bare = host.strip("[]").rstrip(".")
    if ":" in bare:
        return bare
    try:
        return socket.inet_ntoa(socket.inet_aton(bare))
    except (OSError, UnicodeEncodeError):
        # All digits and no address: aiohttp would still hand it past the resolver.
        return bare if bare.replace(".", "").isdigit() else None


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    return address in _PUBLIC_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


def _is_net(entry: str) -> bool:
    try:
        ip_network(entry, strict=False)
    except ValueError:
        return False
    return True


def _plain(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def _result(host: str, family: int, _: int, proto: int, __: str, address: tuple) -> ResolveResult:  # type: ignore[type-arg]
    scope = f"%{address[3]}" if len(address) > 3 and address[3] else ""
    return ResolveResult(
        hostname=host,
        host=f"{address[0]}{scope}",
        port=address[1],
        family=family,
        proto=proto,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
