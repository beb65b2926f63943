"""A way out for clients that resolve names and follow redirects themselves, under the guard.

The object stores' library does both out of our sight. Where a caller names the host, it is given
this proxy of ours on the loopback interface, which judges each connection as it is made.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import secrets
import socket
import urllib.request
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from yarl import URL

from gateway.storage import failures
from gateway.storage.guard import AddressRefused, NetworkGuard

Result = TypeVar("Result")

_PATIENCE_S = 10.0
_READ_BYTES = 1 << 16
_LOOKUPS = 2
_REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_UNREACHABLE = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class _Asked:
    """The head of a request to a proxy."""

    method: str
    host: str
    port: int
    target: str
    fields: tuple[str, ...]
    authorization: str

    def forwarded(self, authorization: str | None, *, is_proxied: bool) -> bytes:
        """Return what the next server is told: the host itself, or the operator's own proxy."""
        first = f"{self.method} {self.target} HTTP/1.1"
        if not is_proxied:
            parsed = URL(self.target, encoded=True)
            first = f"{self.method} {parsed.raw_path_qs} HTTP/1.1"
        more = [f"Proxy-Authorization: {authorization}"] if authorization else []
        return ("\r\n".join([first, *self.fields, *more]) + "\r\n\r\n").encode("latin-1")


class GuardedTunnel:
    """Listens once somebody needs it; `close` ends every connection."""

    def __init__(self, guard: NetworkGuard) -> None:
        self._guard = guard
        self._token = secrets.token_urlsafe(24)
        self._starting = asyncio.Lock()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._pool = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="endpoint")

    async def options(self, endpoint: URL) -> dict[str, Any]:
        """Return what a client of this endpoint must be given; raises TransferFailed."""
        host, port = endpoint.raw_host or "", endpoint.port or 0
        try:
            await self._addresses(host, port, is_proxied=_proxy_of(endpoint) is not None)
        except (AddressRefused, socket.gaierror) as failure:
            raise failures.translated(failure) from None
        async with self._starting:
            if self._server is None:
                self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        own = self._server.sockets[0].getsockname()[1]
        return {
            "proxy_url": f"http://gateway:{self._token}@127.0.0.1:{own}",
            # The operator's exceptions from a proxy are no way past the guard.
            "proxy_excludes": "",
            # A connection of this proxy leads to one host; a redirect may not travel on it.
            "pool_max_idle_per_host": "0",
        }

    async def close(self) -> None:
        """End what is left."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _addresses(self, host: str, port: int, *, is_proxied: bool) -> list[str]:
        self._guard.check_literal(host)
        try:
            found = await self._guard.resolve(host, port, socket.AF_UNSPEC, self._pool)
        except socket.gaierror:
            # Where only the operator's proxy knows a name, the proxy judges.
            if is_proxied:
                return []
            raise
        return [entry["host"] for entry in found]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            return
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = _understood(await _soon(reader.readuntil(b"\r\n\r\n")))
        if not hmac.compare_digest(asked.authorization, _basic("gateway", self._token) or ""):
            writer.write(_REFUSED)
            return
        try:
            upstream = await self._connected(asked, writer)
        except AddressRefused:
            writer.write(_REFUSED)
            return
        except OSError:
            writer.write(_UNREACHABLE)
            return
        try:
            await _joined((reader, writer), upstream)
        finally:
            upstream[1].close()

    async def _connected(
        self, asked: _Asked, writer: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        scheme = "https" if asked.method == "CONNECT" else "http"
        url = URL.build(scheme=scheme, host=asked.host.strip("[]"), port=asked.port)
        proxy = _proxy_of(url)
        found = await self._addresses(asked.host, asked.port, is_proxied=proxy is not None)
        if proxy is not None:
            reader, onward = await _soon(
                asyncio.open_connection(proxy.host, proxy.port, ssl=proxy.scheme == "https" or None)
            )
            onward.write(asked.forwarded(_basic(proxy.user, proxy.password), is_proxied=True))
            return reader, onward
        reader, onward = await _first(found, asked.port)
        if asked.method == "CONNECT":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            onward.write(asked.forwarded(None, is_proxied=False))
        return reader, onward


def _understood(raw: bytes) -> _Asked:
    first, *lines = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    parsed = URL(f"https://{target}" if method == "CONNECT" else target, encoded=True)
    pairs = [(line.partition(":")[0].strip().lower(), line) for line in lines]
    ours = next((line for name, line in pairs if name == "proxy-authorization"), "")
    kept = tuple(line for name, line in pairs if not name.startswith("proxy-"))
    if not parsed.raw_host or not parsed.port:
        raise ValueError("a proxy is told a host")
    return _Asked(
        method, parsed.raw_host, parsed.port, target, kept, ours.partition(":")[2].strip()
    )


def _basic(user: str | None, password: str | None) -> str | None:
    if user is None:
        return None
    return "Basic " + base64.b64encode(f"{user}:{password or ''}".encode()).decode()


def _proxy_of(url: URL) -> URL | None:
    """Return the operator's own proxy for a URL, as the environment names it."""
    proxies = urllib.request.getproxies_environment()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    # In the standard library since 2.6 and missing from its type stubs.
    bypass = urllib.request.proxy_bypass_environment  # type: ignore[attr-defined]
    if not proxy or bypass(f"{url.host}:{url.port}", proxies):
        return None
    return URL(proxy if "://" in proxy else f"http://{proxy}")


async def _first(
    addresses: list[str], port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection to the first address that takes one; raises OSError."""
    last: OSError = ConnectionRefusedError()
    for one in addresses:
        try:
            return await _soon(asyncio.open_connection(one, port))
        except OSError as failure:
            last = failure
    raise last


async def _soon(work: Awaitable[Result]) -> Result:
    return await asyncio.wait_for(work, _PATIENCE_S)


async def _joined(
    one: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    other: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    """Carry bytes both ways until either side is done."""
    ways = [
        asyncio.create_task(_carried(one[0], other[1])),
        asyncio.create_task(_carried(other[0], one[1])),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _carried(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_READ_BYTES):
            writer.write(data)
            await writer.drain()
