"""Weights on their way in: many connections, many GB, and whatever may happen meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gateway import errors
from gateway.schemas import Auth
from gateway.storage import failures, journal
from gateway.storage.crew import Crew, Slots
from gateway.storage.pace import Patience
from gateway.storage.partial import PartialFile, discard, note_whole
from gateway.storage.provider import Provider, Stat, WholeProvider
from gateway.storage.spans import Range, Spans
from gateway.storage.transfer import HEAD_BYTES, Source, Transfer

__all__ = ["Arrival", "Downloader", "Order", "Sources", "discard"]

#: What a download of unknown length reserves at a time.
RESERVE_BYTES = 64 << 20
#: Connections beside the first ones, of all downloads together: each holds a few buffers.
_TOGETHER = 12
_THREADS = 8
#: Weights are worth waiting for.
_PATIENCE = Patience(attempts=8, wait_max=20.0, silences=2)


class Sources(Protocol):
    """Who reads which URL."""

    def of(self, url: str) -> Provider:
        """Return who reads this one; raises InvalidInput when nobody does."""
        ...


@dataclass(frozen=True, kw_only=True)
class Order:
    """A URL that shall become the part file `<stem>.part` in `folder`."""

    url: str
    auth: Auth | None = None
    folder: Path
    stem: str
    #: Awaited with the bytes that the file will have, before more than that are written; with a
    #: growing number where the size is not known. May raise a GatewayError.
    reserve: Callable[[int], Awaitable[None]]
    #: Called with the bytes that are here, and with all of them where that is known.
    tell: Callable[[int, int | None], None]
    #: Called before bytes are written; raises when the stem is not the caller's any more.
    check: Callable[[], None] = lambda: None


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A whole file, safe on the disk under the name of a part; its journal lies beside it."""

    path: Path
    size: int
    #: The first 64 KiB.
    head: bytes
    content_type: str | None
    filename: str | None
    #: Hex, as the source told it.
    sha256: str | None
    version: str | None


class Downloader:
    """Downloads; one stem at a time, which is for the caller to see to."""

    def __init__(
        self, sources: Sources, *, patience: Patience | None = None, connections: int = 8
    ) -> None:
        """`connections` is the most that one download has."""
        self._sources = sources
        self._patience = patience or _PATIENCE
        self._connections = connections
        self._slots = Slots(_TOGETHER)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="download")

    async def run(self, order: Order) -> Arrival:
        """Return the whole file; what an earlier run has left of it is not fetched again.

        Raises TransferFailed, StorageFull, InvalidInput, what `order.reserve` raises, and OSError
        of the disk. What has come by then stays; `discard` removes it.
        """
        provider = self._sources.of(order.url)
        source = Source(provider, order.url, order.auth)
        if isinstance(provider, WholeProvider):
            arrival = await self._whole(order, provider)
            if arrival is not None:
                return arrival
        file = PartialFile(order.folder, order.stem, order.url, self._threads)
        try:
            return await self._brought(order, source, file)
        except OSError as failure:
            raise failures.disk_failure(failure, "CACHE_DIR") or failure from failure
        finally:
            await asyncio.shield(file.close())

    async def _whole(self, order: Order, provider: WholeProvider) -> Arrival | None:
        """Return a file that its source brought in one go; None when it has no such way."""
        path = order.folder / f"{order.stem}.part"
        if await asyncio.to_thread(path.exists):
            # What is here already is gone on with.
            return None
        total: int | None = None

        async def reserve(size: int) -> None:
            nonlocal total
            total = size
            await order.reserve(size)

        def tell(here: int) -> None:
            order.check()
            order.tell(here, total)

        try:
            stat = await provider.fetch_whole(order.url, order.auth, path, reserve, tell)
        except failures.TransferFailed as failure:
            if not failure.verdict.retryable:
                raise
            # The usual way tries again.
            stat = None
        if stat is None:
            return None
        await asyncio.to_thread(note_whole, order.folder, order.stem, order.url, stat)
        return Arrival(
            path=path,
            size=(await asyncio.to_thread(path.stat)).st_size,
            head=await asyncio.to_thread(_head, path),
            content_type=stat.content_type,
            filename=stat.filename,
            sha256=stat.sha256,
            version=stat.version,
        )

    async def _brought(self, order: Order, source: Source, file: PartialFile) -> Arrival:
        target = _Ordered(order, file)
        crew = Crew(self._connections, self._slots)
        transfer = Transfer(source, target, self._patience, crew)
        found = await file.open()
        if found is not None:
            here = found.here(journal.boot_id()) or []
            transfer.resume(found.stat, here)
            await target.admit(found.stat, here)
        stat = await transfer.run()
        size = stat.size or 0
        return Arrival(
            path=file.path,
            size=size,
            head=await file.finish([(0, size)] if size else []),
            content_type=stat.content_type,
            filename=stat.filename,
            sha256=stat.sha256,
            version=stat.version,
        )


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


class _Ordered:
    """Where an order's bytes go."""

    def __init__(self, order: Order, file: PartialFile) -> None:
        self._order = order
        self._file = file
        self._reserved = 0

    async def admit(self, stat: Stat, here: Sequence[Range] = ()) -> None:
        """Reserve what such a file needs, some of which is here."""
        self._reserved = stat.size or 0
        if stat.size is not None:
            await self._order.reserve(stat.size)
        self._order.tell(sum(end - start for start, end in here), stat.size)

    async def begin(self, stat: Stat) -> None:
        self._order.check()
        await self._file.restart(stat)
        await self.admit(stat)

    async def write(self, at: int, chunks: list[bytes]) -> None:
        end = at + sum(map(len, chunks))
        while end > self._reserved:
            self._reserved = await self._grown(end)
        self._order.check()
        await self._file.write(at, chunks)

    async def _grown(self, end: int) -> int:
        step = self._reserved + RESERVE_BYTES
        try:
            await self._order.reserve(step)
        except (errors.ModelTooLarge, errors.StorageFull):
            # What is still to come may be less than a step.
            await self._order.reserve(end)
            return end
        return step

    async def wrote(self, spans: Spans) -> None:
        self._order.tell(spans.done, spans.total)
        await self._file.note(spans)
