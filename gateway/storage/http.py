"""Files over http and https, both ways, from any byte on, with every redirect under the guard."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from gateway.opening import opened
from gateway.schemas import Auth
from gateway.storage import address, failures, reply
from gateway.storage.failures import TransferFailed, Verdict
from gateway.storage.guard import AddressRefused, GuardedResolver, NetworkGuard
from gateway.storage.posting import Connections, Posted, Reply, Sendable
from gateway.storage.provider import WHOLE, ProviderName, Span, Stat

MAX_REDIRECTS = 10
CHUNK_BYTES = 1 << 17
_REDIRECTS = (301, 302, 303, 307, 308)
#: The others turn an upload into a question.
_UPLOAD_REDIRECTS = (307, 308)
#: How hosts say no to a HEAD of what they would give to a GET.
_NO_HEAD = (403, 405, 501)
_LONGEST_PAUSE_S = 3600.0
_LOOKUPS = 8  # threads: a slow name server must not hold up the threads that write files


@dataclass(frozen=True)
class Timeouts:
    """Seconds of silence that are too long."""

    connect: float = 10.0
    stall: float = 30.0
    #: For an upload, in which the kernel takes many MB at once and is long in sending them.
    upload: float = 120.0


@dataclass(frozen=True)
class _Upload:
    """A file on its way out; each hop of a redirect begins it anew."""

    source: Path
    size: int
    content_type: str
    #: Called when the host has taken some of it.
    moved: Callable[[], None]

    @property
    def headers(self) -> dict[str, str]:
        return {"Content-Type": self.content_type, "Content-Length": str(self.size)}

    async def body(self) -> AsyncIterator[bytes]:
        async with opened(lambda: self.source.open("rb")) as file:
            left = self.size
            while left and (chunk := await asyncio.to_thread(file.read, min(left, CHUNK_BYTES))):
                self.moved()
                left -= len(chunk)
                yield chunk
        self.moved()


@dataclass(frozen=True)
class _Question:
    """What is asked of each host on the way."""

    method: str
    headers: Mapping[str, str]
    upload: _Upload | Posted | None
    body: bytes | None = None

    @property
    def redirects(self) -> tuple[int, ...]:
        return _UPLOAD_REDIRECTS if self.upload else _REDIRECTS

    def arguments(self) -> dict[str, Any]:
        if self.upload is None:
            return {"allow_redirects": False, "data": self.body}
        # Sending is no silence: the stall of an upload is noticed by whoever feeds it.
        timeout = aiohttp.ClientTimeout(total=None)
        return {"allow_redirects": False, "data": self.upload.body(), "timeout": timeout}


class HttpProvider:
    """The process's one client of other hosts; use it inside `open()`."""

    name: ClassVar[ProviderName] = "http"

    def __init__(
        self,
        guard: NetworkGuard,
        *,
        header: address.OperatorHeader | None = None,
        timeouts: Timeouts | None = None,
        proxies: Mapping[str, str] | None = None,
        connections: Connections | None = None,
    ) -> None:
        """`proxies` maps http, https and no as HTTP_PROXY and the like do; None: those."""
        self._guard = guard
        self._connections = connections or Connections()
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
        connector = self._connections.connector
        try:
            async with (
                self._session(connector(resolver)) as self._direct,
                self._session(connector(None)) as self._proxied,
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

    async def stat(self, url: str, auth: Auth | None) -> Stat:
        """Return what the host says of a file; raises TransferFailed."""
        parsed = address.parse(url)
        async with self._asked("HEAD", parsed, auth) as response:
            if response.status not in _NO_HEAD:
                return reply.understood(response, WHOLE).stat
        try:
            async with self.read(url, auth, Span(0, 1)) as found:
                return found.stat
        except TransferFailed as failure:
            # An empty file has no first byte.
            if failure.verdict != failures.MISMATCH:
                raise
        async with self.read(url, auth) as found:
            return found.stat

    @contextlib.asynccontextmanager
    async def read(
        self, url: str, auth: Auth | None, span: Span = WHOLE
    ) -> AsyncIterator[reply.HttpReply]:
        """Ask for a file, or a part of it; raises TransferFailed."""
        headers = reply.headers_of(span)
        async with self._asked("GET", address.parse(url), auth, headers) as response:
            yield reply.understood(response, span)

    async def write(self, url: str, auth: Auth | None, source: Path, content_type: str) -> None:
        """Upload a file with PUT; raises TransferFailed, OSError of the disk."""
        size = (await asyncio.to_thread(source.stat)).st_size
        now, patience = asyncio.get_running_loop().time, self._timeouts.upload
        with _translated():
            async with asyncio.timeout(patience) as deadline:
                upload = _Upload(
                    source, size, content_type, lambda: deadline.reschedule(now() + patience)
                )
                parsed = address.parse(url)
                async with self._asked("PUT", parsed, auth, upload.headers, upload) as response:
                    if not 200 <= response.status < 300:
                        pause = reply.retry_after(response)
                        raise TransferFailed(failures.refusal_of_upload(response.status, pause))

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Return the status that a body is answered with; raises TransferFailed.

        Neither are redirects followed, nor does the operator's own header go along.
        """
        parsed = address.parse(url)
        secrets = address.secrets_of(parsed, None)
        question = _Question("POST", headers, None, body)
        with _translated():
            response = await self._ask(question, parsed, secrets, with_operator=False)
            response.release()
        return response.status

    async def send(
        self, url: str, body: Sendable, headers: Mapping[str, str], silence_s: float
    ) -> Reply:
        """Post a body in pieces, as `post` does; raises TransferFailed, OSError of the body.

        For so long the body may not move, and the head of the answer may take.
        """
        posted = Posted(body, dict(headers), silence_s)
        try:
            with _translated():
                return await self._sent(address.parse(url), posted)
        except TransferFailed:
            if posted.failure is not None:
                raise posted.failure from None
            raise
        finally:
            posted.over()

    async def _sent(self, url: URL, posted: Posted) -> Reply:
        question = _Question("POST", posted.headers, posted)
        secrets = address.secrets_of(url, None)
        told: Reply | None = None
        try:
            async with posted.patience():
                response = await self._ask(question, url, secrets, with_operator=False)
                told = Reply(response.status, reply.retry_after(response, _LONGEST_PAUSE_S))
                try:
                    if 200 <= told.status < 300:
                        # Who says yes before it has heard all is told the rest.
                        await response.wait_for_close()
                finally:
                    response.close()
        except TimeoutError:
            if told is None:
                raise
        if posted.failure is not None:
            raise posted.failure
        return told

    @contextlib.asynccontextmanager
    async def _asked(
        self,
        method: str,
        url: URL,
        auth: Auth | None,
        headers: Mapping[str, str] | None = None,
        upload: _Upload | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        with _translated():
            response = await self._follow(
                _Question(method, headers or {}, upload), url, address.secrets_of(url, auth)
            )
            try:
                yield response
            finally:
                # Not released: what is left of a body that nobody wants is not read to its end.
                response.close()

    async def _follow(
        self, question: _Question, url: URL, secrets: address.Secrets
    ) -> aiohttp.ClientResponse:
        is_downgraded = False
        for hops in range(MAX_REDIRECTS + 1):
            with _redirected(hops):
                response = await self._ask(question, url, secrets, with_operator=not is_downgraded)
            if response.status not in question.redirects:
                return response
            target = response.headers.get("Location", "")
            # Only after a GET is the connection sure to be at the end of an answer.
            response.release() if question.method == "GET" else response.close()
            following = address.joined(url, target) if target else None
            if following is None:
                raise TransferFailed(Verdict("its redirect leads to no http or https URL", "host"))
            if not address.keeps_secrets(url, following):
                secrets = address.NO_SECRETS
            is_downgraded |= (url.scheme, following.scheme) == ("https", "http")
            url = following
        raise TransferFailed(Verdict(f"it redirects more than {MAX_REDIRECTS} times", "host"))

    async def _ask(
        self, question: _Question, url: URL, secrets: address.Secrets, *, with_operator: bool
    ) -> aiohttp.ClientResponse:
        self._check_literal(url)
        sent: CIMultiDict[str] = CIMultiDict(question.headers)
        if self._header and with_operator and self._header.fits(url):
            sent[self._header.name] = self._header.value
        sent.update(secrets.headers)
        proxy = self._proxy(url)
        if proxy is not None:
            await self._check_name(url)
        session = self._direct if proxy is None else self._proxied

        async def send() -> aiohttp.ClientResponse:
            how = question.arguments() | {"headers": sent, "proxy": proxy}
            return await session.request(question.method, secrets.applied(url), **how)

        try:
            return await send()
        except aiohttp.ServerDisconnectedError:
            # A kept connection that its host had closed. aiohttp tries again by itself where there
            # is no body that can be read but once. To a receiver no connection is kept.
            if not isinstance(question.upload, _Upload):
                raise
            return await send()

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


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except failures.CAUGHT as failure:
        raise failures.translated(failure) from failure


@contextlib.contextmanager
def _redirected(hops: int) -> Iterator[None]:
    """Blame the redirect, and not the URL, for leading where fetches may not go."""
    try:
        yield
    except TransferFailed as failure:
        if hops and failure.verdict == failures.PRIVATE:
            raise TransferFailed(failures.PRIVATE_REDIRECT) from failure
        raise
    except failures.CAUGHT as failure:
        if hops and failures.translated(failure).verdict == failures.PRIVATE:
            raise TransferFailed(failures.PRIVATE_REDIRECT) from failure
        raise
