"""Who needs which file, and how firmly."""

from __future__ import annotations

import itertools
from collections.abc import Iterator


class Pins:
    """Holders, jobs mostly, and the stems they hold; instant, and not for threads."""

    def __init__(self) -> None:
        self._firm: dict[str, set[str]] = {}
        self._loose: dict[str, set[str]] = {}
        self._stems: dict[str, set[str]] = {}
        self._ages: dict[str, int] = {}
        #: Who asks ahead of its turn.
        self._ahead: set[str] = set()
        self._count = itertools.count()

    def pin(self, stem: str, holder: str) -> bool:
        """Hold a stem firmly; returns whether that is new."""
        self._ages.setdefault(holder, next(self._count))
        self._stems.setdefault(holder, set()).add(stem)
        _discard(self._loose, stem, holder)
        firm = self._firm.setdefault(stem, set())
        is_new = holder not in firm
        firm.add(holder)
        return is_new

    def set_ahead(self, holder: str, is_ahead: bool) -> None:
        """Note whether a holder asks ahead of its turn."""
        (self._ahead.add if is_ahead else self._ahead.discard)(holder)

    def is_ahead(self, stem: str) -> bool:
        """Whether all who hold a stem firmly ask ahead of their turn."""
        return self._firm.get(stem, set()) <= self._ahead

    def loosen(self, holder: str) -> None:
        """Hold everything of a holder only while there is room."""
        for stem in self._stems.get(holder, ()):
            _discard(self._firm, stem, holder)
            self._loose.setdefault(stem, set()).add(holder)

    def drop(self, stem: str, holder: str) -> None:
        """Let go of one stem."""
        _discard(self._firm, stem, holder)
        _discard(self._loose, stem, holder)
        held = self._stems.get(holder, set())
        held.discard(stem)
        if not held:
            self._stems.pop(holder, None)
            self._ages.pop(holder, None)
            self._ahead.discard(holder)

    def release(self, holder: str) -> None:
        """Let go of everything of a holder."""
        for stem in list(self._stems.get(holder, ())):
            self.drop(stem, holder)

    def firm(self, stem: str) -> frozenset[str]:
        """Return who holds a stem firmly."""
        return frozenset(self._firm.get(stem, ()))

    def is_firm(self, stem: str) -> bool:
        """Whether anyone holds a stem firmly."""
        return stem in self._firm

    def is_loose(self, stem: str) -> bool:
        """Whether anyone holds a stem loosely."""
        return stem in self._loose

    def loose(self, stem: str) -> frozenset[str]:
        """Return who holds a stem loosely."""
        return frozenset(self._loose.get(stem, ()))

    def holders(self, stem: str) -> list[str]:
        """Return everyone who holds a stem."""
        return sorted(self._firm.get(stem, set()) | self._loose.get(stem, set()))

    def firmly_held_by(self, holder: str) -> Iterator[str]:
        """Return the stems that a holder holds firmly."""
        for stem in self._stems.get(holder, ()):
            if holder in self._firm.get(stem, ()):
                yield stem

    def age(self, holder: str) -> int:
        """Return a number that is smaller the longer the holder has held anything."""
        return self._ages.get(holder, next(self._count))

    def all_firm(self) -> Iterator[str]:
        """Return every stem that is held firmly."""
        return iter(self._firm)

    def all_loose(self) -> Iterator[str]:
        """Return every stem that is held loosely."""
        return iter(self._loose)


def _discard(by_stem: dict[str, set[str]], stem: str, holder: str) -> None:
    holders = by_stem.get(stem)
    if holders is not None:
        holders.discard(holder)
        if not holders:
            del by_stem[stem]
