"""One fetch for many askers: the only way from a URL to a file."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from gateway import errors, metrics
from gateway.config import Settings
from gateway.schemas import Auth
from gateway.storage import address, failures
from gateway.storage.flights import Flights
from gateway.storage.pace import Patience
from gateway.storage.partfile import PartFile
from gateway.storage.provider import Provider, Stat
from gateway.storage.providers import Providers
from gateway.storage.spans import Spans
from gateway.storage.transfer import HEAD_BYTES, Arrival, Source, Transfer

_MB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class FetchRequest:
    """A URL that shall become a file in `folder`."""

    url: str
    auth: Auth | None = None
    folder: Path
    #: The name without its extension; with `folder`, one fetch at a time.
    stem: str
    limit_bytes: int
    #: Called in a thread with the part file: returns the final name, or raises a GatewayError.
    name: Callable[[Path, Arrival], str]
    #: Called in a thread first: the name of what is there already, or None.
    present: Callable[[], str | None] = lambda: None
    #: Where the caller finds the URL in its request.
    location: str | None = None
    #: What the limit is called, in the sentence that refuses.
    limit_name: str = "MAX_INPUT_MB"
    #: What the folder is called, in the sentence that its disk is full.
    folder_name: str = "INPUT_DIR"


@dataclass(frozen=True)
class Fetched:
    """A file that is there; `size` in bytes, None when it was there before."""

    path: Path
    size: int | None

    @property
    def name(self) -> str:
        """Its name in the folder."""
        return self.path.name


class Sources(Protocol):
    """Who fetches which URL."""

    def of(self, url: str) -> Provider:
        """Return who fetches this one; raises InvalidInput when nobody does."""
        ...

    def check(self, url: str, location: str | None = None) -> None:
        """Raise what can be told without asking anyone: InvalidInput, InputNotFetched."""
        ...


class Fetcher:
    """Fetches; whoever asks for what is being fetched waits for the same fetch."""

    def __init__(self, sources: Sources, *, patience: Patience | None = None) -> None:
        self._sources = sources
        self._patience = patience or Patience()
        self._flights: Flights[Fetched] = Flights()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[Self]:
        """Hold a running fetcher with storages of its own, as the settings say."""
        async with Providers.open(settings) as providers, cls(providers).run() as fetcher:
            yield fetcher

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[Self]:
        """Fetch until left; then what is still on its way is given up."""
        try:
            yield self
        finally:
            await self._flights.close()

    def check(self, url: str, location: str | None = None) -> None:
        """Raise what can be told of a URL without asking its host.

        Raises InvalidInput, InputNotFetched.
        """
        self._sources.check(url, location)

    async def fetch(self, request: FetchRequest) -> Fetched:
        """Return the file.

        Raises InputNotFetched, InputTooLarge, StorageFull, InvalidInput, what `request.name`
        raises, and Draining when the gateway stops meanwhile.
        """
        try:
            return await self._flights.join(
                (request.folder, request.stem), lambda: self._fly(request)
            )
        except Exception as failure:
            raise _told(failure, request) from failure

    async def read(self, url: str, *, limit_bytes: int, auth: Auth | None = None) -> bytes:
        """Return what a URL holds, for small things; raises as `fetch`."""
        async with self.lent(url, limit_bytes=limit_bytes, auth=auth) as path:
            return await asyncio.to_thread(path.read_bytes)

    @contextlib.asynccontextmanager
    async def lent(
        self,
        url: str,
        *,
        limit_bytes: int,
        auth: Auth | None = None,
        location: str | None = None,
        limit_name: str = "the limit",
    ) -> AsyncIterator[Path]:
        """Hold a file with what a URL has, until left; raises as `fetch`."""
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="comfy-gateway-"))
        request = FetchRequest(
            url=url,
            auth=auth,
            folder=folder,
            stem="content",
            limit_bytes=limit_bytes,
            name=lambda path, arrival: "content",
            location=location,
            limit_name=limit_name,
            folder_name="the folder of temporary files",
        )
        try:
            yield (await self.fetch(request)).path
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _fly(self, request: FetchRequest) -> Fetched:
        provider = self._sources.of(request.url)
        name = await asyncio.to_thread(request.present)
        if name is not None:
            return Fetched(request.folder / name, None)
        async with PartFile(request.folder) as part:
            transfer = Transfer(
                Source(provider, request.url, request.auth),
                _Limited(part, request.limit_bytes),
                self._patience,
            )
            stat = await transfer.run()
            metrics.bytes_in_total.labels("fetch").inc(part.size)
            path = await asyncio.to_thread(_placed, part, stat, request)
            return Fetched(path, part.size)


class _Limited:
    """A part file that takes so many bytes, and no more."""

    def __init__(self, part: PartFile, limit_bytes: int) -> None:
        self._part = part
        self._limit = limit_bytes

    async def begin(self, stat: Stat) -> None:
        if stat.size is not None and stat.size > self._limit:
            raise failures.TooLarge(stat.size)
        if self._part.size:
            await self._part.restart()

    async def write(self, at: int, chunks: list[bytes]) -> None:
        assert at == self._part.size
        if at + sum(map(len, chunks)) > self._limit:
            raise failures.TooLarge(None)
        for chunk in chunks:
            await self._part.add(chunk)

    async def wrote(self, spans: Spans) -> None:
        """Nothing is kept of it."""


def _placed(part: PartFile, stat: Stat, request: FetchRequest) -> Path:
    part.flush()
    with part.path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    arrival = Arrival(request.url, head, part.size, stat.content_type, stat.filename)
    path = request.folder / request.name(part.path, arrival)
    part.keep(path)
    return path


def _told(failure: Exception, request: FetchRequest) -> Exception:
    """Return a shared failure as this asker is told; each gets an exception of its own."""
    url = address.shown(request.url)
    if isinstance(failure, failures.TransferFailed):
        return failure.told(url, request.location)
    if isinstance(failure, failures.TooLarge):
        return _too_large(failure, url, request)
    if isinstance(failure, errors.GatewayError):
        own = copy.copy(failure)
        own.location = request.location
        return own
    if isinstance(failure, OSError):
        return failures.disk_failure(failure, request.folder_name) or failure
    return failure


def _too_large(failure: failures.TooLarge, url: str, request: FetchRequest) -> errors.InputTooLarge:
    limit = f"{request.limit_bytes / _MB:,.0f} MB"
    size = "" if failure.size is None else f" ({failure.size / _MB:,.0f} MB)"
    return errors.InputTooLarge(
        f"{url} is larger{size} than {request.limit_name} ({limit}).",
        location=request.location,
        url=url,
    )
