"""The cache of models: its start and an eviction at 10,000 files, what a job costs whose models
are all there, and whether it is ever over its limit.

Run it with: python -m bench.cache
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from gateway import log
from gateway.config import Settings
from gateway.models import names
from gateway.models.cache import Cache, Wanted
from gateway.models.layout import Layout
from gateway.models.record import Record, write
from gateway.storage.claim import claim
from gateway.storage.download import Downloader
from gateway.storage.providers import Providers

FILES = 10_000
_SIZE = 4096
_MODELS = 5
_JOBS = 2000
_STREAMED = 20
_MB = 1 << 20


@contextlib.asynccontextmanager
async def caching(folder: Path, limit: int) -> AsyncIterator[tuple[Cache, float]]:
    """Open a cache; with it comes the time that the start took, seconds."""
    settings = Settings(
        cache_dir=folder, lru_cache_size_gb=limit / (1 << 30), allow_private_networks=("*",)
    )
    async with Providers.open(settings) as providers:
        began = time.perf_counter()
        downloader = Downloader(providers)
        async with Cache.open(settings, downloader, providers, lambda *_: None) as cache:
            yield cache, time.perf_counter() - began


@contextlib.asynccontextmanager
async def hosting(size: int) -> AsyncIterator[str]:
    """Serve files of `size` bytes, each path another, over loopback; yields the base URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode())
            for _ in range(size // (_MB // 4)):
                writer.write(bytes(_MB // 4))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


def fill(folder: Path) -> list[str]:
    """Lay 10,000 small files with their records; returns their URLs."""
    urls = [f"https://models.example/{at}.pth" for at in range(FILES)]
    layout = Layout(folder)
    for at, url in enumerate(urls):
        name = names.stem(url) + ".pth"
        (folder / name).write_bytes(bytes(_SIZE))
        os.utime(folder / name, (1e9 + at, 1e9 + at))
        if at < _MODELS:
            record = Record(name=name, url=url, size=_SIZE)
            write(layout.records, names.stem(url), record)
    return urls


async def start(folder: Path) -> None:
    """Measure the start, in a cache that is exactly full."""
    times = []
    for _ in range(5):
        async with caching(folder, FILES * _SIZE) as (_, seconds):
            times.append(seconds)
    print(f"start with {FILES:,} files: {min(times) * 1e3:.0f} ms (bar: <= 1000)")


async def evictions(folder: Path) -> None:
    """Measure evictions, from the wish for room to the word that there is: a full cache."""
    partial, times = Layout(folder).partial, []
    async with caching(folder, FILES * _SIZE) as (cache, _), contextlib.AsyncExitStack() as stack:
        # There is no other door to one eviction alone.
        room = cache._room
        for at in range(50):
            url = f"https://models.example/new/{at}.pth"
            held = await stack.enter_async_context(claim(partial, names.stem(url)))
            seat = await stack.enter_async_context(room.seat(names.stem(url), url, held))
            began = time.perf_counter()
            await room.reserve(seat, _SIZE)
            times.append(time.perf_counter() - began)
        left = sum(1 for entry in os.scandir(folder) if entry.is_file())
        assert left == FILES - 50
    print(
        f"room for one by an eviction among {FILES:,} files: median "
        f"{statistics.median(times) * 1e3:.2f} ms, most {max(times) * 1e3:.2f} ms (bar: <= 5)"
    )


class Calls:
    """Counts what the loop's thread asks of the system."""

    def __init__(self) -> None:
        self.count: dict[str, int] = {}

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Count until left."""
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _note(self, frame: object, event: str, what: object) -> None:
        module, name = getattr(what, "__module__", None), getattr(what, "__name__", "")
        is_ours = event == "c_call" and module in ("posix", "io", "_io", "_socket", "_thread")
        if is_ours and name != "fspath":
            self.count[name] = self.count.get(name, 0) + 1


async def hits(folder: Path, urls: list[str]) -> None:
    """Measure jobs whose models are all in the cache."""
    wants = [Wanted(url) for url in urls[:_MODELS]]
    async with caching(folder, FILES * _SIZE) as (cache, _):
        await cache.get_all(wants, "first")
        times = []
        for at in range(_JOBS):
            began = time.perf_counter()
            await cache.get_all(wants, f"job{at}")
            cache.release(f"job{at}")
            times.append(time.perf_counter() - began)
            await asyncio.sleep(0)
        calls = Calls()
        with calls.counting():
            await cache.get_all(wants, "counted")
    print(
        f"a job of {_MODELS} cached models: median {statistics.median(times) * 1e3:.3f} ms, "
        f"99 % {statistics.quantiles(times, n=100)[98] * 1e3:.3f} ms (bar: <= 1); "
        f"calls of the system: {calls.count} (bar: a stat for each)"
    )


async def streaming(folder: Path) -> None:
    """Let 20 files of 16 MB stream through a cache of 3, sampled all the while."""
    size, over, samples, most = 16 * _MB, 0, 0, 0
    done = asyncio.Event()

    def sample() -> None:
        nonlocal over, samples, most
        while not done.is_set():
            before, after = _sizes(folder), _sizes(folder)
            # What stayed all the while lay there together.
            if before.keys() == after.keys():
                found = sum(before.values())
                samples, most = samples + 1, max(most, found)
                over += found > 3 * size

    async with hosting(size) as base, caching(folder, 3 * size) as (cache, _):
        sampler = asyncio.create_task(asyncio.to_thread(sample))

        async def job(at: int) -> None:
            await cache.get(Wanted(f"{base}/{at}.pth"), f"job{at}")
            cache.release(f"job{at}")

        await asyncio.gather(*map(job, range(_STREAMED)))
        done.set()
        await sampler
    print(
        f"{_STREAMED} files through a cache of 3: over its limit in {over} of {samples:,} samples "
        f"(bar: never), at most {most / (3 * size):.0%} of it"
    )


def _sizes(folder: Path) -> dict[tuple[str, int], int]:
    found = {}
    for where in (folder / ".partial", folder):
        for entry in os.scandir(where):
            if where == folder or entry.name.endswith(".part"):
                with contextlib.suppress(FileNotFoundError):
                    if entry.is_file():
                        found[entry.name[:32], entry.inode()] = entry.stat().st_size
    return found


async def main() -> None:
    """Measure in folders of their own."""
    log.configure("warning", "console", sys.stderr)
    with tempfile.TemporaryDirectory() as parent:
        full, small = Path(parent) / "full", Path(parent) / "small"
        full.mkdir()
        urls = await asyncio.to_thread(fill, full)
        await start(full)
        await hits(full, urls)
        await evictions(full)
        await streaming(small)


if __name__ == "__main__":
    asyncio.run(main())
