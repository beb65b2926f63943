"""One download by the gateway's own engine, for the benches.

Run it with: python -m bench.downloading URL FOLDER; it prints the seconds it took.
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
async def downloader() -> AsyncIterator[Downloader]:
    """Hold a downloader as the gateway has it."""
    http = HttpProvider(NetworkGuard(("*",)), proxies={})
    async with http.open():
        yield Downloader(Only(http))


async def reserve(_: int) -> None:
    """There is always room."""


def order(url: str, folder: Path, stem: str = STEM) -> Order:
    """Return the order of a URL."""
    return Order(url=url, folder=folder, stem=stem, reserve=reserve, tell=lambda done, total: None)


async def timed(url: str, folder: Path) -> tuple[float, Arrival]:
    """Download; return the seconds it took, and what came."""
    async with downloader() as found:
        began = time.perf_counter()
        arrival = await found.run(order(url, folder))
        return time.perf_counter() - began, arrival


if __name__ == "__main__":
    print(uvloop.run(timed(sys.argv[1], Path(sys.argv[2])))[0], flush=True)
