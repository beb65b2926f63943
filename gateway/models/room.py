"""Room in the cache: reserved before a byte is written, and never more than there is."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from gateway import metrics
from gateway.models.decision import decide
from gateway.models.eviction import Candidate, eviction_plan
from gateway.models.index import File, Index
from gateway.models.peers import InUse, Peers
from gateway.models.pins import Pins
from gateway.models.seats import PART, Seat, Seats
from gateway.models.shelf import Shelf, Survey
from gateway.models.uses import Uses
from gateway.storage.claim import Held, claim
from gateway.storage.download import discard
from gateway.storage.failures import ClaimLost

#: The claim under which one process at a time, of all that share the folder, changes it.
_ROOM = "room"
#: Seconds between two looks at what other processes let go.
_POLL_S = 1.0
#: Seconds that a part is given to turn out to be somebody's.
_LEFTOVER_PATIENCE_S = 0.5

Result = TypeVar("Result")


class GaveWay(Exception):
    """A file on its way gives up its bytes for one that has waited longer; it begins again."""


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
        self._limit = limit
        self._seats = Seats(index, pins, uses, limit)
        self._lock = asyncio.Lock()
        self._round = asyncio.Event()
        #: Whether another process shares the folder, as it was at the last look.
        self._is_shared = False
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
        seat = Seat(stem, url, held)
        self._seats.take(seat)
        try:
            yield seat
        finally:
            self._seats.leave(seat)
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
        """Let go of what is reserved and of what has arrived. Raises ClaimLost, OSError."""
        if not await seat.held.is_mine():
            raise ClaimLost
        await asyncio.to_thread(discard, self._shelf.layout.partial, seat.stem)
        seat.reserved, seat.has_yielded = 0, True
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
            # While the claim lasts, the file shall not be counted twice.
            with contextlib.suppress(OSError):
                await seat.held.reserve(0)
        self.wake()
        return file

    async def remove(
        self,
        files: Iterable[File],
        is_needed: Callable[[File, InUse], bool] | None = None,
    ) -> list[File]:
        """Remove files, but for those of which `is_needed` says so; return those that are gone.

        It is told what other processes have in use; None: no matter who needs them. Raises OSError.
        """
        async with self._alone():
            in_use = await asyncio.to_thread(self._peers.read)
            self._is_shared = in_use.is_shared
            doomed = [
                file
                for file in files
                if self._index.named(file.name) is file
                and not (is_needed and is_needed(file, in_use))
            ]
            return await self._remove(doomed, if_unused=False, if_unpinned=is_needed is not None)

    async def refresh(self) -> None:
        """Take notice of what other processes brought and removed. Raises OSError."""
        async with self._alone():
            await self._surveyed()

    async def tidy(self, leftover_age_s: float) -> None:
        """Remove what killed downloads left and cannot stay, and what is over the limit."""
        async with self._alone():
            survey, in_use = await self._surveyed()
            old = time.time() - leftover_age_s
            leftovers = self._seats.leftovers(survey)
            # An empty one, too, or without a journal: nothing could go on with it.
            kept = [
                part for part in leftovers if part.touched_at >= old and part.size and part.is_noted
            ]
            aged = [part.stem for part in leftovers if part not in kept]
            limit = sys.maxsize if self._limit is None else self._limit
            while kept and self._index.size + sum(part.size for part in kept) > limit:
                aged.append(kept.pop(0).stem)
            for stem in aged:
                await self._discarded(stem)
            # What a neighbour's job needs stays, though there is too much of it for this process.
            files = [
                Candidate(file.name, file.size)
                for file in self._index.oldest_first()
                if file.stem not in in_use.pinned
            ]
            over = min(self._index.size - limit, sum(file.size for file in files))
            plan = eviction_plan(files, over) or []
            await self._evict(plan, self._doomed(plan))
            self._count()

    async def quiet(self) -> None:
        """Wait until what is being removed is gone."""
        async with self._lock:
            pass

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        async with self._lock, claim(self._shelf.layout.partial, _ROOM):
            yield

    def pinned(self) -> frozenset[str]:
        """Return the stems that no other process may evict."""
        return self._seats.pinned()

    def recent(self) -> frozenset[str]:
        """Return the stems that other processes had better not evict."""
        return self._seats.recent()

    async def announce(self) -> None:
        """Tell the others what is held, before anyone relies on it; free where there are none."""
        if self._is_shared:
            await self.tell_others()

    async def tell_others(self) -> None:
        """Tell other processes what is in use here."""
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._peers.write, self.pinned(), self.recent())

    async def look_around(self) -> None:
        """Find out whether another process shares the folder."""
        self._is_shared = (await asyncio.to_thread(self._peers.read)).is_shared

    async def _granted(self, seat: Seat, total: int) -> bool:
        async with self._alone():
            while True:
                survey, in_use = await self._surveyed()
                books = self._seats.books(seat, survey, in_use)
                plan = decide(books, total, seat.url)
                if seat.has_yielded and not books.may_take:
                    plan = None
                if plan is None:
                    self._wait(seat, total)
                    if books.may_take:
                        self._ask_to_yield(self._seats.younger_with_bytes(seat, survey))
                elif await self._evict(plan, self._doomed(plan)):
                    await seat.held.reserve(total)
                    seat.reserved, seat.wanted, seat.has_yielded = total, None, False
                else:
                    continue
                await asyncio.to_thread(self._peers.write, self.pinned(), self.recent())
                return plan is not None

    async def _surveyed(self) -> tuple[Survey, InUse]:
        in_use = await asyncio.to_thread(self._peers.read)
        self._is_shared = in_use.is_shared
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

    def _wait(self, seat: Seat, total: int) -> None:
        is_new, seat.wanted = seat.wanted is None, total
        if is_new:
            # What its holders hold may now be taken by who has waited longer.
            self.wake()

    def _ask_to_yield(self, seats: list[Seat]) -> None:
        """Let files that themselves wait give up their bytes: so they are of no use to anyone."""
        fresh = [seat for seat in seats if not seat.must_yield]
        for seat in fresh:
            seat.must_yield = True
        if fresh:
            self.wake()

    def _doomed(self, plan: list[Candidate]) -> list[File]:
        """Let nobody take up what is to go, from the very moment it was decided."""
        files = [file for one in plan if (file := self._index.named(one.name)) is not None]
        for file in files:
            file.is_doomed = True
            # Its holders wait, too; when they need it they ask again.
            for holder in self._pins.firm(file.stem):
                self._pins.drop(file.stem, holder)
        return files

    async def _evict(self, plan: list[Candidate], files: list[File]) -> bool:
        """Carry a plan out; returns False when it turned out not to fit any more."""
        parts = [one.name for one in plan if one.name.startswith(PART)]
        try:
            is_done = [await self._discarded(name.removeprefix(PART)) for name in parts]
            gone = await self._remove(files)
        finally:
            for file in files:
                file.is_doomed = False
        metrics.cache_evictions_total.inc(len(gone))
        return all(is_done) and len(parts) + len(gone) == len(plan)

    async def _discarded(self, stem: str) -> bool:
        """Remove what a killed download left, unless somebody takes it up just now."""
        partial = self._shelf.layout.partial
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEFTOVER_PATIENCE_S), claim(partial, stem):
                await asyncio.to_thread(discard, partial, stem)
                return True
        return False

    async def _remove(
        self, files: list[File], *, if_unused: bool = True, if_unpinned: bool = True
    ) -> list[File]:
        for file in files:
            file.is_doomed = True
        try:
            return await _whole(self._removed(files, if_unused, if_unpinned))
        finally:
            for file in files:
                file.is_doomed = False

    async def _removed(self, files: list[File], if_unused: bool, if_unpinned: bool) -> list[File]:
        if not files:
            return []
        pinned = self._pinned_by_others if if_unpinned and self._is_shared else None
        became = await asyncio.to_thread(
            self._shelf.remove, files, if_unused=if_unused, pinned=pinned
        )
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

    def _pinned_by_others(self) -> frozenset[str]:
        return self._peers.read().pinned

    def _enter(self, file: File) -> None:
        self._index.add(file)
        self._count()

    def _count(self) -> None:
        metrics.cache_bytes.set(self._index.size)
        metrics.cache_files.set(len(self._index))


async def _whole(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end, also when cancelled: what the disk did is then known here, too."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
