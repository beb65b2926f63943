"""Files on their way into the cache, and who among them comes first."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.models.decision import Books
from gateway.models.eviction import Candidate, Hold
from gateway.models.index import Index
from gateway.models.peers import InUse
from gateway.models.pins import Pins
from gateway.models.shelf import Part, Survey
from gateway.models.uses import Uses
from gateway.storage.claim import Held

#: What marks a candidate that is no file but the part of one.
PART = "part of "


@dataclass
class Seat:
    """A file on its way in."""

    stem: str
    #: Fit to be shown.
    url: str
    held: Held
    reserved: int = 0
    #: How much it waits for; None: it does not wait.
    wanted: int | None = None
    #: Whether it shall give up what it holds, for one who has waited longer.
    must_yield: bool = False
    #: Whether it did; until those who have waited longer are served, it asks for nothing.
    has_yielded: bool = False


class Seats:
    """All seats of this process, and the books as each of them sees them; instant."""

    def __init__(self, index: Index, pins: Pins, uses: Uses, limit: int | None) -> None:
        self._index = index
        self._pins = pins
        self._uses = uses
        self._limit = limit
        self._seats: dict[str, Seat] = {}

    def __contains__(self, stem: str) -> bool:
        return stem in self._seats

    def take(self, seat: Seat) -> None:
        """Count a file from now on."""
        self._seats[seat.stem] = seat

    def leave(self, seat: Seat) -> None:
        """Count it no more."""
        del self._seats[seat.stem]

    def books(self, seat: Seat, survey: Survey, in_use: InUse) -> Books:
        """Return how the cache stands for one seat."""
        promised = {
            **{stem: size for stem, size in survey.claimed.items() if stem not in self._seats},
            **{one.stem: one.reserved for one in self._seats.values() if one is not seat},
        }
        leftovers = self.leftovers(survey)
        robbable = self._robbable(seat)
        # Ahead of its turn, a job takes nothing from those that come first: it would be fetched
        # again before this one runs.
        after = self._age(seat) if self._pins.is_ahead(seat.stem) else None

        def candidates() -> Iterator[Candidate]:
            yield from (Candidate(PART + part.stem, part.size) for part in leftovers)
            for file in self._index.oldest_first():
                hold = self._hold(file.stem, robbable, after, in_use)
                yield Candidate(file.name, file.size, hold)

        on_their_way = sum(max(size, survey.size(stem)) for stem, size in promised.items())
        unwritten = sum(max(0, size - survey.allocated(stem)) for stem, size in promised.items())
        return Books(
            limit=self._limit,
            occupied=self._index.size + on_their_way + sum(part.size for part in leftovers),
            at_hand=survey.allocated(seat.stem),
            free=survey.free - unwritten,
            held_along=self._held_along(seat),
            may_take=all(self._age(seat) <= self._age(other) for other in self._waiting()),
            candidates=candidates,
        )

    def leftovers(self, survey: Survey) -> list[Part]:
        """Return the parts that nobody works on, the least recently written first."""
        busy = self._seats.keys() | survey.claimed.keys()
        return [part for part in survey.parts.values() if part.stem not in busy]

    def younger_with_bytes(self, seat: Seat, survey: Survey) -> list[Seat]:
        """Return who waits since later than `seat`, and holds bytes of a file all the while."""
        age = self._age(seat)
        return [
            other
            for other in self._waiting()
            if self._age(other) > age and (other.reserved or survey.size(other.stem))
        ]

    def pinned(self) -> frozenset[str]:
        """Return the stems that no other process may evict."""
        waiters = self._waiters()
        stems = self._pins.all_firm()
        return frozenset(stem for stem in stems if not self._pins.firm(stem) <= waiters)

    def recent(self) -> frozenset[str]:
        """Return the stems that other processes had better not evict."""
        return self._uses.recent(time.time()) | frozenset(self._pins.all_loose())

    def _hold(self, stem: str, robbable: frozenset[str], after: int | None, in_use: InUse) -> Hold:
        if stem in self._seats or stem in in_use.pinned:
            return Hold.FIRM
        if self._pins.is_firm(stem):
            return Hold.WAITING if self._pins.firm(stem) <= robbable else Hold.FIRM
        queued = self._pins.loose(stem)
        if after is not None and any(self._pins.age(holder) < after for holder in queued):
            return Hold.EARLIER
        if queued or stem in in_use.recent:
            return Hold.QUEUED
        return Hold.FREE

    def _waiting(self) -> list[Seat]:
        return [seat for seat in self._seats.values() if seat.wanted is not None]

    def _waiters(self) -> frozenset[str]:
        return frozenset().union(*(self._pins.firm(seat.stem) for seat in self._waiting()))

    def _age(self, seat: Seat) -> int:
        return min(map(self._pins.age, self._pins.firm(seat.stem)), default=sys.maxsize)

    def _robbable(self, seat: Seat) -> frozenset[str]:
        """Return who waits for room, less the one for whom this file comes."""
        own = min(self._pins.firm(seat.stem), key=self._pins.age, default=None)
        return self._waiters() - {own}

    def _held_along(self, seat: Seat) -> int:
        """Return the bytes that whoever wants this file holds beside it."""
        holders = self._pins.firm(seat.stem)
        return min((self._held_by(holder, seat.stem) for holder in holders), default=0)

    def _held_by(self, holder: str, besides: str) -> int:
        stems = [stem for stem in self._pins.firmly_held_by(holder) if stem != besides]
        return sum(self._size_of(stem) for stem in stems)

    def _size_of(self, stem: str) -> int:
        seat, file = self._seats.get(stem), self._index.of_stem(stem)
        return seat.reserved if seat else file.size if file else 0
