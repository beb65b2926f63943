"""Room in the cache: reserved before a byte is written, and never more than there is."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from gateway import metrics
from gateway.models.decision import Books, decide
from gateway.models.eviction import Candidate, Hold, eviction_plan
from gateway.models.index import File, Index
from gateway.models.peers import InUse, Peers
from gateway.models.pins import Pins
from gateway.models.shelf import Part, Shelf, Survey
from gateway.models.uses import Uses
from gateway.storage.claim import Held, claim
from gateway.storage.download import discard

#: The claim under which one process at a time, of all that share the folder, changes it.
_ROOM = "room"
#: Seconds between two looks at what other processes let go.
_POLL_S = 1.0
#: Seconds that a part is given to turn out to be somebody's.
_LEFTOVER_PATIENCE_S = 0.5
_PART = "part of "

Result = TypeVar("Result")


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


class GaveWay(Exception):
    """A file on its way gives up its bytes for one that has waited longer; it begins again."""


class ClaimLost(Exception):
    """Another process has taken over what this one was fetching."""


class Room:
    """The only one to add files to the cache folder, and to remove them."""

    def __init__(
        self,
        shelf: Shelf,
        index: Index,
        pins: Pins,
        peers: Peers,
        uses: Uses,
        limit: int | None,
    ) -> None:
        """`limit` in bytes; None: unlimited."""
        self._shelf = shelf
        self._index = index
        self._pins = pins
        self._peers = peers
        self._uses = uses
        self._limit = limit
        self._seats: dict[str, Seat] = {}
        self._lock = asyncio.Lock()
        self._round = asyncio.Event()
        #: Called with each file that is removed.
        self.on_removed: Callable[[File], None] = lambda file: None

    def wake(self) -> None:
        """Let whoever waits for room look again: something was let go."""
        self._round.set()
        self._round = asyncio.Event()

    def is_fetching(self, stem: str) -> bool:
        """Whether a file is on its way in."""
        return stem in self._seats

    @contextlib.asynccontextmanager
    async def seat(self, stem: str, url: str, held: Held) -> AsyncIterator[Seat]:
        """Count a file that is on its way, until left."""
        seat = self._seats[stem] = Seat(stem, url, held)
        try:
            yield seat
        finally:
            del self._seats[stem]
            self.wake()

    async def reserve(self, seat: Seat, total: int) -> None:
        """Return once there is room for `total` bytes, reserved; evicts what must go.

        Raises ModelTooLarge, StorageFull, GaveWay, OSError.
        """
        try:
            while total > seat.reserved:
                this_round = self._round
                if await self._granted(seat, total):
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_S):
                        await this_round.wait()
                if seat.must_yield:
                    raise GaveWay
        finally:
            seat.wanted, seat.must_yield = None, False

    async def give_up(self, seat: Seat) -> None:
        """Let go of what is reserved and of what has arrived. Raises OSError."""
        await asyncio.to_thread(discard, self._shelf.layout.partial, seat.stem)
        seat.reserved = 0
        await seat.held.reserve(0)
        self.wake()

    async def publish(self, seat: Seat, place: Callable[[], File]) -> File:
        """Let `place` give a file its final name, in a thread. Raises ClaimLost, OSError."""
        return await _whole(self._published(seat, place))

    async def _published(self, seat: Seat, place: Callable[[], File]) -> File:
        async with self._alone():
            if not await seat.held.is_mine():
                raise ClaimLost
            file = await asyncio.to_thread(place)
            self._enter(file)
            seat.reserved = 0
        self.wake()
        return file

    async def remove(self, files: list[File]) -> list[File]:
        """Remove files whoever used them last; returns those that are gone. Raises OSError."""
        async with self._alone():
            return await _whole(self._removed(files, if_unused=False))

    async def refresh(self) -> None:
        """Take notice of what other processes brought and removed. Raises OSError."""
        async with self._alone():
            await self._surveyed()

    async def in_use_elsewhere(self) -> InUse:
        """Return what other processes that share the folder need."""
        return await asyncio.to_thread(self._peers.read)

    async def tidy(self, leftover_age_s: float) -> None:
        """Remove what killed downloads left and cannot stay, and what is over the limit."""
        async with self._alone():
            survey, _ = await self._surveyed()
            old = time.time() - leftover_age_s
            leftovers = self._leftovers(survey)
            aged = [part.stem for part in leftovers if part.touched_at < old]
            kept = [part for part in leftovers if part.touched_at >= old]
            while kept and self._limit is not None and self._index.size + _sum(kept) > self._limit:
                aged.append(kept.pop(0).stem)
            for stem in aged:
                await self._discarded(stem)
            over = self._index.size - (self._limit or self._index.size)
            plan = eviction_plan(
                (Candidate(file.name, file.size) for file in self._index.oldest_first()), over
            )
            await self._evict(plan or [])

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        async with self._lock, claim(self._shelf.layout.partial, _ROOM):
            yield

    async def _granted(self, seat: Seat, total: int) -> bool:
        async with self._alone():
            while True:
                survey, in_use = await self._surveyed()
                books = self._books(seat, survey, in_use)
                plan = decide(books, total, seat.url)
                if plan is None:
                    seat.wanted = total
                    if books.may_take:
                        self._ask_to_yield(seat, survey)
                elif await self._evict(plan):
                    await seat.held.reserve(total)
                    seat.reserved, seat.wanted = total, None
                else:
                    continue
                await asyncio.to_thread(self._peers.write, self.pinned(), self.recent())
                return plan is not None

    async def _surveyed(self) -> tuple[Survey, InUse]:
        in_use = await asyncio.to_thread(self._peers.read)
        listing = await asyncio.to_thread(self._shelf.listing, is_shared=in_use.is_shared)
        if listing is not None:
            await self._catch_up(listing)
        return await asyncio.to_thread(self._shelf.survey), in_use

    async def _catch_up(self, listing: dict[str, int]) -> None:
        """Take notice of what other processes brought and removed."""
        known = self._index.known()
        for name in known.keys() - listing.keys():
            self._index.forget(name)
        appeared = [name for name, inode in listing.items() if known.get(name) != inode]
        for name in appeared:
            file = await asyncio.to_thread(self._shelf.seen, name)
            self._index.forget(name)
            if file is not None:
                self._index.add(file)
        self._count()

    def _books(self, seat: Seat, survey: Survey, in_use: InUse) -> Books:
        others = [one for one in self._seats.values() if one is not seat]
        at_hand = _allocated(survey, seat.stem)
        ours = sum(max(one.reserved, _size(survey, one.stem)) for one in others)
        unwritten = sum(max(0, one.reserved - _allocated(survey, one.stem)) for one in others)
        theirs = {stem: size for stem, size in survey.claimed.items() if stem not in self._seats}
        elsewhere = sum(max(size, _size(survey, stem)) for stem, size in theirs.items())
        unwritten += sum(max(0, size - _allocated(survey, stem)) for stem, size in theirs.items())
        leftovers = self._leftovers(survey)
        robbable = self._robbable(seat)

        def candidates() -> Iterator[Candidate]:
            yield from (Candidate(_PART + part.stem, part.size) for part in leftovers)
            for file in self._index.oldest_first():
                hold = self._hold(file.stem, robbable, in_use)
                yield Candidate(file.name, file.size, hold)

        return Books(
            limit=self._limit,
            occupied=self._index.size + ours + elsewhere + _sum(leftovers),
            at_hand=at_hand,
            free=survey.free - unwritten,
            held_along=self._held_along(seat),
            may_take=self._age(seat)
            <= min(map(self._age, self._waiting()), default=self._age(seat)),
            candidates=candidates,
        )

    def _leftovers(self, survey: Survey) -> list[Part]:
        busy = self._seats.keys() | survey.claimed.keys()
        return [part for part in survey.parts.values() if part.stem not in busy]

    def _hold(self, stem: str, robbable: frozenset[str], in_use: InUse) -> Hold:
        if stem in self._seats or stem in in_use.pinned:
            return Hold.FIRM
        if self._pins.is_firm(stem):
            return Hold.WAITING if self._pins.firm(stem) <= robbable else Hold.FIRM
        if self._pins.is_loose(stem) or stem in in_use.recent:
            return Hold.QUEUED
        return Hold.FREE

    def _waiting(self) -> list[Seat]:
        return [seat for seat in self._seats.values() if seat.wanted is not None]

    def _age(self, seat: Seat) -> int:
        return min(map(self._pins.age, self._pins.firm(seat.stem)), default=sys.maxsize)

    def _robbable(self, seat: Seat) -> frozenset[str]:
        """Return who waits for room, less the one for whom this file comes."""
        own = min(self._pins.firm(seat.stem), key=self._pins.age, default=None)
        return self._waiters() - {own}

    def _waiters(self) -> frozenset[str]:
        seats = self._waiting()
        return frozenset().union(*(self._pins.firm(seat.stem) for seat in seats))

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

    def _ask_to_yield(self, seat: Seat, survey: Survey) -> None:
        """Bytes of a file that itself waits are of no use to anyone."""
        for other in self._waiting():
            holds = other.reserved or _size(survey, other.stem)
            is_younger = self._age(other) > self._age(seat)
            if is_younger and holds and not other.must_yield:
                other.must_yield = True
                self.wake()

    async def _evict(self, plan: list[Candidate]) -> bool:
        """Carry a plan out; returns False when it turned out not to fit any more."""
        parts = [one.name for one in plan if one.name.startswith(_PART)]
        for name in parts:
            if not await self._discarded(name.removeprefix(_PART)):
                return False
        files = [file for one in plan if (file := self._index.named(one.name)) is not None]
        gone = await _whole(self._removed(files, if_unused=True))
        metrics.cache_evictions_total.inc(len(gone))
        for file in gone:
            # Its holders wait, too; when they need it they ask again.
            for holder in self._pins.firm(file.stem):
                self._pins.drop(file.stem, holder)
        return len(parts) + len(gone) == len(plan)

    async def _discarded(self, stem: str) -> bool:
        """Remove what a killed download left, unless somebody takes it up just now."""
        partial = self._shelf.layout.partial
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEFTOVER_PATIENCE_S), claim(partial, stem):
                await asyncio.to_thread(discard, partial, stem)
                return True
        return False

    async def _removed(self, files: list[File], *, if_unused: bool) -> list[File]:
        if not files:
            return []
        became = await asyncio.to_thread(self._shelf.remove, files, if_unused=if_unused)
        gone = []
        for file in files:
            used_at = became[file.name]
            if used_at is not None:
                self._index.use(file, used_at)
                continue
            self._index.forget(file.name)
            gone.append(file)
            self.on_removed(file)
        self._count()
        return gone

    def _enter(self, file: File) -> None:
        self._index.add(file)
        self._count()

    def _count(self) -> None:
        metrics.cache_bytes.set(self._index.size)
        metrics.cache_files.set(len(self._index))

    def pinned(self) -> frozenset[str]:
        """Return the stems that nobody else may evict."""
        waiters = self._waiters()
        stems = self._pins.all_firm()
        return frozenset(stem for stem in stems if not self._pins.firm(stem) <= waiters)

    def recent(self) -> frozenset[str]:
        """Return the stems that others had better not evict."""
        return self._uses.recent(time.time()) | frozenset(self._pins.all_loose())


def _size(survey: Survey, stem: str) -> int:
    part = survey.parts.get(stem)
    return part.size if part else 0


def _allocated(survey: Survey, stem: str) -> int:
    part = survey.parts.get(stem)
    return part.allocated if part else 0


def _sum(parts: list[Part]) -> int:
    return sum(part.size for part in parts)


async def _whole(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end, also when cancelled: what the disk did is then known here, too."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
