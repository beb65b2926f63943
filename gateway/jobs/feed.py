"""The changes of jobs inside one process: remembered for a while, handed to every watcher."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from gateway.jobs.job import Change, Job

#: Changes that a watcher can still ask for by event id.
REMEMBERED = 100


class Feed:
    """One writer, any number of watchers; a change holds no file and no picture."""

    def __init__(self) -> None:
        self._last_id = 0
        self._recent: deque[Change] = deque(maxlen=REMEMBERED)
        self._watchers: set[asyncio.Queue[Change]] = set()

    def publish(self, job: Job) -> None:
        """Hand a change to every watcher."""
        self._last_id += 1
        change = Change(self._last_id, job)
        self._recent.append(change)
        for watcher in self._watchers:
            watcher.put_nowait(change)

    async def watch(self, after: int | None) -> AsyncIterator[Change]:
        """Yield changes until the watcher leaves."""
        queue: asyncio.Queue[Change] = asyncio.Queue()
        self._watchers.add(queue)
        try:
            if after is not None:
                for change in [found for found in self._recent if found.event_id > after]:
                    yield change
            while True:
                yield await queue.get()
        finally:
            self._watchers.discard(queue)
