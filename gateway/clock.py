"""The time of day as jobs see it: it never goes back, whatever is done to the machine's clock."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """Follows the machine's clock forward; when that one jumps back, it goes on by itself.

    A lease, a timeout or the next call of a webhook would otherwise be an hour late after the
    clock was set back by one.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._elapsed = elapsed
        self._ahead = wall() - elapsed()

    def now(self) -> float:
        """Return seconds since 1970."""
        elapsed = self._elapsed()
        self._ahead = max(self._ahead, self._wall() - elapsed)
        return elapsed + self._ahead


#: The one of this process.
now = Clock().now
