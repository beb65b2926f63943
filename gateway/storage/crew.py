"""The further connections of one download."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

#: Seconds over which the speed is judged.
_TRIAL_S = 0.1
#: Bytes a second that one connection brings without help: more of them would only cost.
_FAST = 256 << 20


class Slots:
    """How many further connections all downloads of the process may have."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self) -> bool:
        """Take one if there is one."""
        if self._left <= 0:
            return False
        self._left -= 1
        return True

    def give(self) -> None:
        """Give one back."""
        self._left += 1


class Crew:
    """Helpers beside the first connection; they come when that one alone is not fast."""

    def __init__(self, connections: int, slots: Slots | None = None) -> None:
        self._most = connections - 1
        self._slots = slots or Slots(self._most)
        self._helpers: set[asyncio.Task[None]] = set()
        self._recruiter: asyncio.Task[None] | None = None
        self._is_closed = False
        self._event = asyncio.Event()

    def recruit(
        self, work: Callable[[], Coroutine[Any, Any, None]], done: Callable[[], int]
    ) -> None:
        """Let helpers do `work` while it is worth it; `done` tells the bytes that are here."""
        if self._recruiter is None and self._most > 0:
            self._recruiter = asyncio.create_task(self._recruit(work, done))

    async def _recruit(
        self, work: Callable[[], Coroutine[Any, Any, None]], done: Callable[[], int]
    ) -> None:
        while not self._is_closed:
            bytes_before, time_before = done(), time.monotonic()
            await asyncio.sleep(_TRIAL_S)
            if done() - bytes_before < _FAST * (time.monotonic() - time_before):
                self._hire(work)

    def _hire(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while not self._is_closed and len(self._helpers) < self._most and self._slots.take():
            helper = asyncio.create_task(work())
            self._helpers.add(helper)
            helper.add_done_callback(self._left)

    def _left(self, helper: asyncio.Task[None]) -> None:
        self._slots.give()
        self._helpers.discard(helper)
        self.changed()

    def close(self) -> None:
        """Take no more helpers."""
        self._is_closed = True

    def changed(self) -> None:
        """Wake the first connection: there may be something for it to do."""
        self._event.set()

    async def change(self) -> None:
        """Wait until there may be something to do."""
        await self._event.wait()
        self._event.clear()

    async def dismiss(self) -> None:
        """Send all of them home; later ones may be recruited."""
        tasks = list(self._helpers)
        if self._recruiter is not None:
            tasks.append(self._recruiter)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._recruiter, self._is_closed = None, False
