"""One download of one URL, as the tests of it want it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.schemas import BearerAuth
from gateway.storage.download import Arrival, Downloader, Order
from gateway.storage.failures import TransferFailed, Verdict
from gateway.storage.guard import NetworkGuard
from gateway.storage.http import HttpProvider, Timeouts
from gateway.storage.pace import Patience
from tests.hosts import (
    Answer,
    Asked,
    Host,
    Only,
)
from tests.waiting import wait_until

#: Large enough for several connections.
LARGE = random.Random(7).randbytes(24 << 20)
OTHER = LARGE[::-1]
SMALL = LARGE[: 1 << 20]
HALF = len(SMALL) // 2
STEM = "s" * 32
PART, JOURNAL = f"{STEM}.part", f"{STEM}.json"


@dataclass
class Downloading:
    """Downloads one URL as a fresh process would."""

    folder: Path
    reserved: list[int] = field(default_factory=list)
    told: list[tuple[int, int | None]] = field(default_factory=list)
    patience: Patience = field(
        default_factory=lambda: Patience(attempts=3, wait_initial=0.01, wait_max=0.05)
    )

    async def __call__(
        self,
        url: str,
        auth: BearerAuth | None = None,
        reserve: Callable[[int], Awaitable[None]] | None = None,
    ) -> Arrival:
        http = HttpProvider(
            NetworkGuard(("127.0.0.0/8",)), timeouts=Timeouts(connect=1, stall=0.5), proxies={}
        )
        order = self.order(url, auth, reserve)
        async with http.open():
            return await Downloader(Only(http), patience=self.patience).run(order)

    def order(
        self,
        url: str,
        auth: BearerAuth | None = None,
        reserve: Callable[[int], Awaitable[None]] | None = None,
    ) -> Order:
        return Order(
            url=url,
            auth=auth,
            folder=self.folder,
            stem=STEM,
            reserve=reserve or self.reserve,
            tell=lambda done, total: self.told.append((done, total)),
        )

    async def reserve(self, size: int) -> None:
        self.reserved.append(size)

    async def failed(self, url: str, **how: Any) -> Verdict:
        with pytest.raises(TransferFailed) as caught:
            await self(url, **how)
        return caught.value.verdict

    def journal(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / JOURNAL).read_text()))

    def tamper(self, **changes: Any) -> None:
        (self.folder / JOURNAL).write_text(json.dumps(self.journal() | changes))


def is_whole(arrival: Arrival, body: bytes) -> bool:
    """Compare by hash: nobody wants to read the difference."""
    found = hashlib.sha256(arrival.path.read_bytes()).digest()
    return found == hashlib.sha256(body).digest() and arrival.size == len(body)


def when(host: Host, count: int) -> Callable[[], Awaitable[object]]:
    """Return what waits until so many questions have been asked."""
    return lambda: wait_until(lambda: len(host.asked) >= count, description="helpers come")


def first_then(first: Answer, others: Answer) -> Answer:
    """Answer who asks for all of it so, and who asks for a part otherwise."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await (others if asked.start else first)(asked, writer)

    return answer
