"""How fast a transfer has to be, how often it is tried, and how much is written at a time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterable, Callable, Iterator
from dataclasses import dataclass

import stamina

from gateway.storage.spans import Piece

#: Bytes gathered before they are written; a slow source's wait no longer than the seconds.
_BATCH_BYTES = 1 << 19
_BATCH_CHUNKS = 256
_BATCH_S = 0.5


@dataclass(frozen=True)
class Patience:
    """How often, and after how many seconds, a transfer is tried again."""

    attempts: int = 4
    wait_initial: float = 0.25
    wait_max: float = 5.0
    #: Silences, each as long as the stall timeout, that it lives through; one, before bytes came.
    silences: int = 1
    #: Seconds that a host from which no byte has come yet is tried for: it may well be gone.
    unproven_s: float = 6.0
    #: Seconds that hosts may ask us to wait, all in all.
    told_s: float = 60.0
    #: A connection that brings fewer bytes than this within these seconds is as good as silent.
    least_bytes: int = 60 << 10
    within_s: float = 60.0

    def tries(self, on: Callable[[Exception], bool | float]) -> AsyncIterable[stamina.Attempt]:
        """Yield each attempt; `on` says whether, or after how many seconds, there is another."""
        return stamina.retry_context(
            on=on,
            attempts=self.attempts,
            timeout=None,
            wait_initial=self.wait_initial,
            wait_max=self.wait_max,
            wait_jitter=self.wait_initial,
        )


class Batch:
    """Bytes that wait to be written together."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._since = time.monotonic()

    def add(self, chunk: bytes) -> None:
        """Gather some."""
        self._chunks.append(chunk)

    def is_due(self, piece: Piece) -> bool:
        """Whether they are many, or have waited for long."""
        if piece.taken - piece.written >= _BATCH_BYTES or len(self._chunks) >= _BATCH_CHUNKS:
            return True
        return time.monotonic() - self._since > _BATCH_S

    def emptied(self) -> list[bytes]:
        """Return them, and begin anew."""
        chunks, self._chunks = self._chunks, []
        self._since = time.monotonic()
        return chunks


class Pace:
    """Ends a body whose bytes come too slowly; the time in which we do not read is not counted."""

    def __init__(self, deadline: asyncio.Timeout, patience: Patience) -> None:
        self._deadline = deadline
        self._patience = patience
        self._now = asyncio.get_running_loop().time
        self._begin()

    def _begin(self) -> None:
        self._bytes = 0
        self._deadline.reschedule(self._now() + self._patience.within_s)

    def count(self, size: int) -> None:
        """Hear of bytes that have come."""
        self._bytes += size
        if self._bytes >= self._patience.least_bytes:
            self._begin()

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        """Hold the clock."""
        end = self._deadline.when()
        left = self._patience.within_s if end is None else end - self._now()
        self._deadline.reschedule(None)
        yield
        self._deadline.reschedule(self._now() + left)
