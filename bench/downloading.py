"""One download by the gateway's own engine, for the benches.

Run it with: python -m bench.downloading URL FOLDER; it says when it is ready, begins with a line
on its standard input, and prints the seconds it took.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop

from gateway.storage.download import Arrival, Downloader, Order
from gateway.storage.guard import NetworkGuard
from gateway.storage.http import HttpProvider
from gateway.storage.provider import Provider

STEM = "b" * 32


class Only:
    """Everything is fetched over http."""

    def __init__(self, http: HttpProvider) -> None:
        self._http = http

    def of(self, url: str) -> Provider:
        """Return the one provider."""
        return self._http


@contextlib.asynccontextmanager
async def downloader(connections: int = 8) -> AsyncIterator[Downloader]:
    """Hold a downloader as the gateway has it."""
    http = HttpProvider(NetworkGuard(("*",)), proxies={})
    async with http.open():
        yield Downloader(Only(http), connections=connections)


async def reserve(_: int) -> None:
    """There is always room."""


def order(url: str, folder: Path, stem: str = STEM) -> Order:
    """Return the order of a URL."""
    return Order(url=url, folder=folder, stem=stem, reserve=reserve, tell=lambda done, total: None)


async def timed(url: str, folder: Path, connections: int = 8) -> tuple[float, Arrival]:
    """Download; return the seconds it took, and what came."""
    async with downloader(connections) as found:
        began = time.perf_counter()
        arrival = await found.run(order(url, folder))
        return time.perf_counter() - began, arrival


if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    print(uvloop.run(timed(sys.argv[1], Path(sys.argv[2])))[0], flush=True)
