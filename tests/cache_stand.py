"""A host of weights whose behaviour a test sets, and a cache that fetches from it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway.config import Settings
from gateway.models.cache import Cache, Cached, Wanted
from gateway.models.layout import Layout
from gateway.storage.download import Arrival, Downloader
from gateway.storage.providers import Providers
from gateway.storage.transfer import Patience
from tests.listening import listening

GB = 1 << 30
PIECE = 1 << 16


@dataclass
class Served:
    """What a path answers."""

    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    #: The Authorization that is needed.
    authorization: str | None = None
    status: int = 200
    tells_size: bool = True
    #: The rest of the body after this many bytes waits for `gate`.
    held_at: int | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    #: Seconds between two pieces.
    pause: float = 0.0


@dataclass
class Host:
    """A server of weights with ranges, which counts."""

    base: str = ""
    served: dict[str, Served] = field(default_factory=dict)
    #: (method, path, Range or None, Authorization or None) of every request.
    asked: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    sent: int = 0

    def on(self, path: str, body: bytes = b"", **how: Any) -> str:
        """Answer a path so; returns its URL."""
        self.served[path] = Served(body, **how)
        return self.base + path

    def whole(self, path: str) -> int:
        """Return how often the first byte of a path was asked for with its body."""
        firsts = (None, "bytes=0-")
        return sum(
            1
            for how, what, span, _ in self.asked
            if (how, what) == ("GET", path) and span in firsts
        )

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        span, given = request.headers.get("Range"), request.headers.get("Authorization")
        self.asked.append((request.method, request.path, span, given))
        served = self.served.get(request.path)
        if served is None:
            return web.Response(status=404)
        if served.status != 200:
            return web.Response(status=served.status)
        if served.authorization is not None and given != served.authorization:
            return web.Response(status=401)
        return await self._send(request, served, span)

    async def _send(
        self, request: web.Request, served: Served, span: str | None
    ) -> web.StreamResponse:
        size = len(served.body)
        response = web.StreamResponse(headers=served.headers)
        start, end = 0, size
        if served.tells_size:
            response.headers.setdefault("ETag", '"1"')
            response.headers["Accept-Ranges"] = "bytes"
            if span is not None:
                first, _, last = span.removeprefix("bytes=").partition("-")
                start, end = int(first), int(last) + 1 if last else size
                response.set_status(206)
                response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
            response.content_length = end - start
        else:
            response.enable_chunked_encoding()
        await response.prepare(request)
        if request.method != "HEAD":
            await self._pieces(response, served, start, end)
        return response

    async def _pieces(
        self, response: web.StreamResponse, served: Served, start: int, end: int
    ) -> None:
        while start < end:
            stop = min(start + PIECE, end)
            if served.held_at is not None and not served.gate.is_set():
                if start >= served.held_at:
                    await served.gate.wait()
                else:
                    stop = min(stop, served.held_at)
            await response.write(served.body[start:stop])
            self.sent += stop - start
            start = stop
            await asyncio.sleep(served.pause)


@contextlib.asynccontextmanager
async def hosting() -> AsyncIterator[Host]:
    """Serve on a free port until left."""
    host = Host()
    async with listening(web.route("*", "/{path:.*}", host.answer)) as host.base:
        yield host
        for served in host.served.values():
            served.gate.set()


def model_bytes(folder: Path) -> int | None:
    """Return the bytes of all that is a model or a part of one; None when files came or went.

    Files that were there all the while have together at least these bytes when it returns.
    """
    before = _sizes(folder)
    return sum(before.values()) if _sizes(folder).keys() == before.keys() else None


def _sizes(folder: Path) -> dict[tuple[str, int], int]:
    """Return the size of each file: one that gets its name meanwhile is counted once."""
    found: dict[tuple[str, int], int] = {}
    for where in (folder / ".partial", folder):
        for entry in os.scandir(where):
            if where == folder or entry.name.endswith(".part"):
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    if stat.S_ISREG(status.st_mode):
                        found[entry.name[:32], status.st_ino] = status.st_size
    return found


@dataclass
class Place:
    """A running cache, and what it told."""

    cache: Cache
    folder: Path
    downloader: Downloader
    events: list[tuple[str, dict[str, Any]]]

    @property
    def layout(self) -> Layout:
        return Layout(self.folder)

    def files(self) -> dict[str, int]:
        """Return the size of each finished file."""
        return {path.name: path.stat().st_size for path in self.folder.iterdir() if path.is_file()}

    def told(self, name: str) -> list[dict[str, Any]]:
        """Return the data of the events of this name."""
        return [data for told, data in self.events if told == name]


async def get(place: Place, url: str, holder: str = "job", **how: object) -> Cached:
    """Ask the cache for a URL."""
    return await place.cache.get(Wanted(url, **how), holder)  # type: ignore[arg-type]


def arrived(path: Path, body: bytes) -> Arrival:
    """Return what a downloader says of a file that it brought."""
    return Arrival(
        path=path,
        size=len(body),
        head=body[:100],
        content_type=None,
        filename=None,
        sha256=None,
        version=None,
    )


def settings(folder: Path, limit: int = 0, **more: Any) -> Settings:
    """Return settings of a cache of `limit` bytes."""
    return Settings(
        cache_dir=folder,
        lru_cache_size_gb=limit / GB,
        allow_private_networks=("127.0.0.1/32",),
        **more,
    )


@contextlib.asynccontextmanager
async def caching(folder: Path, limit: int = 0, **more: Any) -> AsyncIterator[Place]:
    """Open a cache in `folder`."""
    found = settings(folder, limit, **more)
    events: list[tuple[str, dict[str, Any]]] = []
    async with Providers.open(found) as providers:
        downloader = Downloader(providers, patience=Patience(attempts=2, wait_initial=0.01))

        def notify(name: str, data: dict[str, Any]) -> None:
            events.append((name, data))

        async with Cache.open(found, downloader, providers, notify) as cache:
            yield Place(cache, folder, downloader, events)
