"""Not too often: of what comes faster than it may be told, the newest is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Pace(Generic[_T]):
    """Tells at once what comes after a pause, and what comes too soon when it is due."""

    def __init__(self, tell: Callable[[_T], None], interval_s: float) -> None:
        self._tell = tell
        self._interval_s = interval_s
        self._due_at = float("-inf")
        self._held: _T | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_due(self) -> bool:
        """Whether something may be told now."""
        return asyncio.get_running_loop().time() >= self._due_at

    def offer(self, news: _T) -> None:
        """Tell it now or later; a newer one takes its place."""
        self._held = news
        if self.is_due:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(self._due_at, self.flush)

    def flush(self) -> None:
        """Tell now what is held."""
        held, self._held = self._held, None
        self.drop()
        if held is not None:
            self._due_at = asyncio.get_running_loop().time() + self._interval_s
            self._tell(held)

    def drop(self) -> None:
        """Forget what is held."""
        self._held = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
