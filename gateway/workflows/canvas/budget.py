"""How much work a file may make: a few kilobytes can ask for hours of it."""

from __future__ import annotations

#: About a microsecond each; ten megabytes of ordinary nodes take a tenth of it.
MOST = 5_000_000
#: Characters that are copied for one step.
_CHARACTERS = 16


class Spent(Exception):
    """A file makes more work than any workflow does."""


class Budget:
    """The work that is left for a file."""

    def __init__(self, most: int = MOST) -> None:
        self._left = most

    def spend(self, steps: int = 1) -> None:
        """Count steps; raises Spent."""
        self._left -= steps
        if self._left < 0:
            raise Spent

    def write(self, characters: int) -> None:
        """Count text that is written; raises Spent."""
        self.spend(1 + characters // _CHARACTERS)
