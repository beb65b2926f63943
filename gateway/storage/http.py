"""Files over http and https, from any byte on, with every redirect under the guard."""

from __future__ import annotations

import contextlib
import socket
import urllib.request
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from gateway.schemas import Auth
from gateway.storage import address, failures, reply
from gateway.storage.failures import TransferFailed, Verdict
from gateway.storage.guard import AddressRefused, GuardedResolver, NetworkGuard

MAX_REDIRECTS = 10
CHUNK_BYTES = 1 << 18
_REDIRECTS = (301, 302, 303, 307, 308)
_LOOKUPS = 8  # threads: a slow name server must not hold up the threads that write files
_CONNECTIONS = 64


@dataclass(frozen=True)
class Timeouts:
    """Seconds of silence that are too long."""

    connect: float = 10.0
    stall: float = 30.0


class HttpProvider:
    """The process's one client of other hosts; use it inside `open()`."""

    def __init__(
        self,
        guard: NetworkGuard,
        *,
        header: address.OperatorHeader | None = None,
        timeouts: Timeouts | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        """`proxies` maps http, https and no as HTTP_PROXY and the like do; None: those."""
        self._guard = guard
        self._header = header
        self._timeouts = timeouts or Timeouts()
        environment = urllib.request.getproxies_environment
        self._proxies = dict(environment() if proxies is None else proxies)
        self._pool: ThreadPoolExecutor
        self._direct: aiohttp.ClientSession
        # A proxy has an address of the operator's network: its connections go past the guard.
        self._proxied: aiohttp.ClientSession

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Self]:
        """Hold the connections."""
        self._pool = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="lookup")
        resolver = GuardedResolver(self._guard, self._pool)
        guarded = aiohttp.TCPConnector(resolver=resolver, limit=_CONNECTIONS)
        try:
            async with (
                self._session(guarded) as self._direct,
                self._session(aiohttp.TCPConnector(limit=_CONNECTIONS)) as self._proxied,
            ):
                yield self
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self._timeouts.connect, sock_read=self._timeouts.stall
            ),
            headers={"User-Agent": "comfy-gateway", "Accept": "*/*", "Accept-Encoding": "identity"},
            read_bufsize=CHUNK_BYTES,
            trust_env=False,
        )

    def check(self, url: str, location: str | None = None) -> None:
        """Raise what can be told without asking anyone: InvalidInput, InputNotFetched."""
        parsed = address.parse(url, location)
        try:
            self._check_literal(parsed)
        except TransferFailed as failure:
            raise failure.told(address.shown(parsed), location) from None

    def _check_literal(self, url: URL) -> None:
        try:
            self._guard.check_literal(url.raw_host or "")
        except AddressRefused as failure:
            raise failures.translated(failure) from failure

    @contextlib.asynccontextmanager
    async def read(
        self, url: URL, auth: Auth | None, resume: reply.Resume
    ) -> AsyncIterator[reply.Reply]:
        """Ask for a file from `resume` on; raises TransferFailed."""
        try:
            response = await self._follow(url, auth, resume.headers())
        except failures.CAUGHT as failure:
            raise failures.translated(failure) from failure
        try:
            yield reply.understood(response, resume)
        except failures.CAUGHT as failure:
            raise failures.translated(failure) from failure
        finally:
            # Not released: what is left of a body that nobody wants is not read to its end.
            response.close()

    async def _follow(
        self, url: URL, auth: Auth | None, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        secrets = address.secrets_of(url, auth)
        is_downgraded = False
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._ask(url, secrets, headers, with_operator=not is_downgraded)
            if response.status not in _REDIRECTS:
                return response
            target = response.headers.get("Location", "")
            response.release()
            following = address.joined(url, target) if target else None
            if following is None:
                raise TransferFailed(Verdict("its redirect leads to no http or https URL", "host"))
            if not address.keeps_secrets(url, following):
                secrets = address.NO_SECRETS
            is_downgraded |= (url.scheme, following.scheme) == ("https", "http")
            url = following
        raise TransferFailed(Verdict(f"it redirects more than {MAX_REDIRECTS} times", "host"))

    async def _ask(
        self,
        url: URL,
        secrets: address.Secrets,
        headers: Mapping[str, str],
        *,
        with_operator: bool,
    ) -> aiohttp.ClientResponse:
        self._check_literal(url)
        sent: CIMultiDict[str] = CIMultiDict(headers)
        if self._header and with_operator and self._header.fits(url):
            sent[self._header.name] = self._header.value
        sent.update(secrets.headers)
        target = secrets.applied(url)
        proxy = self._proxy(url)
        if proxy is None:
            return await self._direct.get(target, headers=sent, allow_redirects=False)
        await self._check_name(url)
        return await self._proxied.get(target, headers=sent, allow_redirects=False, proxy=proxy)

    def _proxy(self, url: URL) -> str | None:
        proxy = self._proxies.get(url.scheme) or self._proxies.get("all")
        host = f"{url.host}:{url.port}"
        # In the standard library since 2.6 and missing from its type stubs.
        bypass = urllib.request.proxy_bypass_environment  # type: ignore[attr-defined]
        if not proxy or bypass(host, self._proxies):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    async def _check_name(self, url: URL) -> None:
        """Judge a name where it resolves here; where only the proxy knows it, the proxy judges."""
        try:
            await self._guard.resolve(
                url.raw_host or "", url.port or 0, socket.AF_UNSPEC, self._pool
            )
        except AddressRefused as failure:
            raise failures.translated(failure) from failure
        except OSError:
            return
