"""One fetch for many askers: the only way from a URL to a file."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from gateway import errors, metrics
from gateway.config import Settings
from gateway.schemas import Auth
from gateway.storage import address, failures
from gateway.storage.guard import NetworkGuard
from gateway.storage.http import HttpProvider
from gateway.storage.partfile import PartFile
from gateway.storage.transfer import Arrival, Patience, Transfer

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


@dataclass(frozen=True)
class Fetched:
    """A file that is there; `size` in bytes, None when it was there before."""

    path: Path
    size: int | None

    @property
    def name(self) -> str:
        """Its name in the folder."""
        return self.path.name


@dataclass
class _Flight:
    task: asyncio.Task[Fetched]
    askers: int = field(default=0)


class Fetcher:
    """Fetches; whoever asks for what is being fetched waits for the same fetch."""

    def __init__(self, http: HttpProvider, *, patience: Patience | None = None) -> None:
        self._http = http
        self._patience = patience or Patience()
        self._flights: dict[tuple[Path, str], _Flight] = {}

    @classmethod
    def open(cls, settings: Settings) -> AbstractAsyncContextManager[Self]:
        """Return a running fetcher that does as the settings say."""
        header = None
        if settings.http_auth_header_name and settings.http_auth_header_value:
            header = address.OperatorHeader(
                settings.http_auth_header_name,
                settings.http_auth_header_value,
                settings.http_auth_hosts,
            )
        return cls(HttpProvider(NetworkGuard(settings.allow_private_networks), header=header)).run()

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[Self]:
        """Fetch until left; then what is still on its way is given up."""
        async with self._http.open():
            try:
                yield self
            finally:
                tasks = [flight.task for flight in self._flights.values()]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def check(self, url: str, location: str | None = None) -> None:
        """Raise what can be told of a URL without asking its host.

        Raises InvalidInput, NotYetSupported, InputNotFetched.
        """
        self._http.check(url, location)

    async def fetch(self, request: FetchRequest) -> Fetched:
        """Return the file.

        Raises InputNotFetched, InputTooLarge, StorageFull, InvalidInput, NotYetSupported, what
        `request.name` raises, and Draining when the gateway stops meanwhile.
        """
        key = (request.folder, request.stem)
        flight = self._flights.get(key) or self._start(key, request)
        flight.askers += 1
        try:
            return await asyncio.shield(flight.task)
        except asyncio.CancelledError:
            if flight.task.cancelled() and not _is_cancelled():
                raise errors.Draining from None
            raise
        except Exception as failure:
            raise _told(failure, request) from failure
        finally:
            flight.askers -= 1
            if not flight.askers and not flight.task.done():
                # Whoever asks from now on gets a fetch of their own.
                self._forget(key, flight.task)
                flight.task.cancel()

    async def read(self, url: str, *, limit_bytes: int, auth: Auth | None = None) -> bytes:
        """Return what a URL holds, for small things; raises as `fetch`."""
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="comfy-gateway-"))
        request = FetchRequest(
            url=url,
            auth=auth,
            folder=folder,
            stem="content",
            limit_bytes=limit_bytes,
            name=lambda path, arrival: "content",
            limit_name="the limit",
        )
        try:
            fetched = await self.fetch(request)
            return await asyncio.to_thread(fetched.path.read_bytes)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _start(self, key: tuple[Path, str], request: FetchRequest) -> _Flight:
        flight = _Flight(asyncio.create_task(self._fly(request), name=f"fetch {request.stem}"))
        self._flights[key] = flight
        flight.task.add_done_callback(lambda task: self._landed(key, task))
        return flight

    def _landed(self, key: tuple[Path, str], task: asyncio.Task[Fetched]) -> None:
        self._forget(key, task)
        if not task.cancelled():
            # Nobody may be left to hear of it, and asyncio would complain.
            task.exception()

    def _forget(self, key: tuple[Path, str], task: asyncio.Task[Fetched]) -> None:
        flight = self._flights.get(key)
        if flight is not None and flight.task is task:
            del self._flights[key]

    async def _fly(self, request: FetchRequest) -> Fetched:
        url = address.parse(request.url)
        name = await asyncio.to_thread(request.present)
        if name is not None:
            return Fetched(request.folder / name, None)
        transfer = Transfer(self._http, url, request.auth, request.limit_bytes, self._patience)
        async with PartFile(request.folder) as part:
            arrival = await transfer.into(part)
            metrics.bytes_in_total.labels("fetch").inc(arrival.size)
            path = await asyncio.to_thread(_placed, part, arrival, request)
        return Fetched(path, arrival.size)


def _placed(part: PartFile, arrival: Arrival, request: FetchRequest) -> Path:
    part.flush()
    path = request.folder / request.name(part.path, arrival)
    part.keep(path)
    return path


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and bool(task.cancelling())


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
        return failures.disk_failure(failure, str(request.folder)) or failure
    return failure


def _too_large(failure: failures.TooLarge, url: str, request: FetchRequest) -> errors.InputTooLarge:
    limit = f"{request.limit_bytes / _MB:,.0f} MB"
    size = "" if failure.size is None else f" ({failure.size / _MB:,.0f} MB)"
    return errors.InputTooLarge(
        f"{url} is larger{size} than {request.limit_name} ({limit}).",
        location=request.location,
        url=url,
    )
