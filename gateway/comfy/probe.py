"""Asks a child whether it answers: while it starts, and ever after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self

import aiohttp

from gateway.config import Settings

_FIRST_PAUSE_S = 0.05
_GROWTH = 1.5


@dataclass(frozen=True)
class Timings:
    """How often a child is asked, and how patiently; seconds."""

    #: Longest pause between two looks at a child that starts.
    start_interval_s: float
    #: A start that takes longer is given up; None = while the process lives.
    start_timeout_s: float | None
    #: Silence of a ready child after which it is restarted.
    stall_s: float
    #: After so long without an answer, the operator is told which flag CMD may lack.
    hint_after_s: float = 20.0
    hint_every_s: float = 10.0
    probe_every_s: float = 5.0
    probe_timeout_s: float = 5.0
    #: Unanswered probes in a row that make a child "down".
    probes_missed: int = 3
    #: Time a child has to end by itself.
    stop_grace_s: float = 10.0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the patience that the settings ask for."""
        tries, interval_s = settings.startup_check_max_tries, settings.startup_check_interval_s
        return cls(
            start_interval_s=interval_s,
            # The first looks follow each other more closely; the time allowed stays what it says.
            start_timeout_s=tries * interval_s if tries else None,
            stall_s=settings.execution_stall_s,
        )


class Probe:
    """One child's address, and how to look at it."""

    def __init__(self, session: aiohttp.ClientSession, url: str, timings: Timings) -> None:
        self._session = session
        self._url = url
        self._timings = timings

    async def _status(self, path: str) -> int:
        """Return the status of a GET; 0 when it was not answered in time."""
        timeout = aiohttp.ClientTimeout(total=self._timings.probe_timeout_s)
        try:
            async with self._session.get(f"{self._url}{path}", timeout=timeout) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0

    async def until_it_answers(self) -> AsyncIterator[float]:
        """Give the seconds waited so far after each look that was not answered."""
        began, pause = time.monotonic(), _FIRST_PAUSE_S
        while await self._status("/system_stats") != 200:
            yield time.monotonic() - began
            await asyncio.sleep(min(pause, self._timings.start_interval_s))
            pause *= _GROWTH

    async def silences(self) -> AsyncIterator[tuple[int, float]]:
        """Look for ever; give how many looks in a row went unanswered, and since how long."""
        missed, heard = 0, time.monotonic()
        while True:
            await asyncio.sleep(self._timings.probe_every_s)
            # Cheap: it counts what is queued, and touches neither the GPU nor the graphs.
            if await self._status("/prompt"):
                missed, heard = 0, time.monotonic()
            else:
                missed += 1
            yield missed, time.monotonic() - heard
