"""Models on disk: each URL is fetched once, verified, and kept while there is room."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Self, TypeVar

from gateway import errors, metrics
from gateway.config import Settings
from gateway.log import logger
from gateway.models import names, record
from gateway.models.access import Access
from gateway.models.admission import Admission
from gateway.models.downloads import Board, DownloadShown
from gateway.models.fetch import Downloads, Fetch, Notify, disk_told
from gateway.models.index import File, Index
from gateway.models.inventory import EntryShown, Inventory, verify_folder
from gateway.models.keeper import Keeper
from gateway.models.layout import Layout
from gateway.models.peers import Peers
from gateway.models.pins import Pins
from gateway.models.room import Room
from gateway.models.shelf import Shelf, file_of
from gateway.models.uses import Uses
from gateway.models.wanted import Cached, Wanted
from gateway.storage import claim as claims
from gateway.storage.failures import ClaimLost
from gateway.storage.flights import Flights
from gateway.storage.partfile import remove_leftovers
from gateway.storage.providers import Providers

__all__ = ["Cache", "Cached", "EntryShown", "Wanted", "verify_folder"]

Result = TypeVar("Result")

_GB = 1 << 30
#: Seconds after which what a killed download left is not resumed any more.
_LEFTOVER_AGE_S = 86_400.0


class Cache:
    """The files of CACHE_DIR; use it inside `open`. A holder is who needs files, a job mostly."""

    def __init__(
        self, settings: Settings, downloader: Downloads, providers: Providers, notify: Notify
    ) -> None:
        self._layout = Layout(settings.cache)
        self._notify = notify
        self._index = Index()
        self._pins = Pins()
        self._uses = Uses()
        self._board = Board()
        self._shelf = Shelf(self._layout)
        self._peers = Peers(self._layout.pins)
        self._access = Access(providers, settings.auth_recheck_s)
        limit = int(settings.lru_cache_size_gb * _GB) or None
        self._room = Room(self._shelf, self._index, self._pins, self._peers, self._uses, limit)
        self._room.on_removed = self._tell_removed
        self._admission = Admission(self._shelf, self._index, self._room, self._access)
        self._fetch = Fetch(self._shelf, self._room, self._board, downloader, providers, notify)
        self._flights: Flights[tuple[File, bool]] = Flights()
        self._keeper = Keeper(self._shelf, self._index, self._room, self._peers, self._uses)
        self._inventory = Inventory(self._layout, self._index, self._pins, self._room)

    @classmethod
    def open(
        cls, settings: Settings, downloader: Downloads, providers: Providers, notify: Notify
    ) -> AbstractAsyncContextManager[Self]:
        """Return the running cache; `notify` hears of files that come and go."""
        return cls(settings, downloader, providers, notify).run()

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[Self]:
        """Serve until left; then what is still being fetched is given up."""
        await self._load()
        async with self._keeper.run():
            try:
                yield self
            finally:
                await self._flights.close()
                await self._access.close()

    async def get(self, wanted: Wanted, holder: str) -> Cached:
        """Return the file of a URL, fetched when it is not there; held firmly from now on.

        Raises ModelNotFetched, ModelInvalid, ModelTooLarge, CredentialsRefused, StorageFull,
        InvalidInput, and Draining when the cache closes meanwhile.
        """
        stem = names.stem(wanted.url)
        is_new = self._pins.pin(stem, holder)
        try:
            await self._room.announce()
            return self._at_hand(stem, wanted) or await self._brought(stem, wanted, holder)
        except BaseException:
            self._drop([stem] if is_new else [], holder)
            raise

    async def get_all(
        self, wants: Sequence[Wanted], holder: str, *, is_ahead: bool = False
    ) -> list[Cached]:
        """Return the files of a job, fetched in parallel, all there at once; raises as `get`.

        With `is_ahead` the holder's turn has not come: it waits for room that earlier ones hold.
        While one of them waits for room, one who has waited longer may take the others.
        """
        stems = [names.stem(wanted.url) for wanted in wants]
        self._pins.set_ahead(holder, is_ahead)
        new = {stem for stem in stems if self._pins.pin(stem, holder)}
        try:
            await self._room.announce()
            found = list(map(self._at_hand, stems, wants))
            while None in found:
                lacking = [one for one, at_hand in zip(wants, found, strict=True) if not at_hand]
                await gathered(self.get(wanted, holder) for wanted in lacking)
                found = [self._still_here(stem, holder) for stem in stems]
        except BaseException:
            self._drop(new, holder)
            raise
        return [one for one in found if one is not None]

    def _drop(self, stems: Iterable[str], holder: str) -> None:
        for stem in stems:
            self._pins.drop(stem, holder)
        self._let_go()

    def _still_here(self, stem: str, holder: str) -> Cached | None:
        file = self._index.of_stem(stem)
        is_kept = holder in self._pins.firm(stem)
        is_here = file is not None and not file.is_doomed and is_kept
        return self._taken(file, is_hit=False) if file and is_here else None

    def _at_hand(self, stem: str, wanted: Wanted) -> Cached | None:
        """Return a file at the cost of one stat; None when there is more to it."""
        file = self._index.of_stem(stem)
        if file is None or file.is_doomed or not self._may_serve(file, wanted):
            return None
        return self._taken(file)

    def _may_serve(self, file: File, wanted: Wanted) -> bool:
        note = file.record
        if note is None or not file.is_settled:
            return False
        if wanted.sha256 is not None and wanted.sha256.lower() != note.sha256:
            return False
        return not note.needs_credentials or self._access.is_accepted(file.stem, wanted)

    def _taken(self, file: File, *, is_hit: bool = True) -> Cached | None:
        """Return a file as it is handed out; None when it is not on the disk any more."""
        path = self._layout.cache / file.name
        try:
            # On the loop: a hop to a thread costs more than the look itself.
            now = file_of(file.name, os.stat(path, follow_symlinks=False))
        except FileNotFoundError:
            self._index.forget(file.name)
            return None
        except OSError:
            return None
        if (now.size, now.inode) != (file.size, file.inode):
            self._index.add(now)
            return None
        self._index.use(file, time.time())
        self._uses.note(file)
        self._keeper.stir()
        if is_hit:
            metrics.cache_hits_total.inc()
        return Cached(file.name, path, file.size, file.device, file.inode)

    async def _brought(self, stem: str, wanted: Wanted, holder: str) -> Cached:
        # Who gives other credentials, or another sum, shall not fail with the others.
        key = (stem, self._access.digest(wanted), wanted.sha256)
        self._keeper.stir()
        while True:
            # Anew in each round: one who has waited longer may have taken the file.
            self._pins.pin(stem, holder)
            try:
                file, is_fresh = await self._flights.join(key, lambda: self._flown(stem, wanted))
            except errors.GatewayError as failure:
                own = copy.copy(failure)
                own.location = wanted.location
                raise own from failure
            if file.record is not None and file.record.needs_credentials and not is_fresh:
                await self._access.check(stem, wanted, file.record)
            found = None if file.is_doomed else self._taken(file, is_hit=not is_fresh)
            if found is not None:
                return found

    async def _flown(self, stem: str, wanted: Wanted) -> tuple[File, bool]:
        """Return the file, and whether these very credentials fetched it just now."""
        while True:
            try:
                async with claims.claim(self._layout.partial, stem) as held:
                    file = await self._admission.find(stem, wanted)
                    if file is not None:
                        return file, False
                    return await self._fetched(stem, wanted, held)
            except ClaimLost:
                logger.warning("another process took over a download", name=stem)
            except OSError as failure:
                raise disk_told(failure, wanted) from failure

    async def _fetched(self, stem: str, wanted: Wanted, held: claims.Held) -> tuple[File, bool]:
        earlier = await asyncio.to_thread(record.read, self._layout.records, stem)
        # What came with another's credentials may be the part that this fetch goes on with.
        is_anothers = earlier is not None and earlier.needs_credentials
        needs_credentials = is_anothers or wanted.secret is not None
        if needs_credentials:
            await asyncio.to_thread(
                record.write, self._layout.records, stem, record.unfinished(stem)
            )
        file = await self._fetch.run(wanted, held, needs_credentials=needs_credentials)
        if not is_anothers:
            self._access.note_accepted(stem, wanted)
        return file, not is_anothers

    def is_at_hand(self, wanted: Wanted) -> bool:
        """Whether a file is there, as far as is known without a look at the disk."""
        file = self._index.of_stem(names.stem(wanted.url))
        return file is not None and not file.is_doomed and self._may_serve(file, wanted)

    def loosen(self, holder: str) -> None:
        """Keep what a holder needs only while there is room: its turn has not come."""
        self._pins.loosen(holder)
        self._let_go()

    def release(self, holder: str) -> None:
        """Let go of what a holder needed."""
        self._pins.release(holder)
        self._let_go()

    def _let_go(self) -> None:
        self._keeper.stir()
        self._room.wake()

    async def entries(self) -> list[EntryShown]:
        """Return the files, the most recently used first."""
        return await self._inventory.entries()

    def downloads(self) -> list[DownloadShown]:
        """Return what is being fetched, then what was lately, the newest first."""
        return self._board.shown()

    async def delete(self, name: str) -> None:
        """Delete a file. Raises CacheEntryNotFound, CacheEntryInUse."""
        await self._inventory.delete(name)

    async def prune(self, older_than_s: float | None = None) -> list[str]:
        """Delete what no job needs, or of that what was last used so long ago; returns names."""
        return await self._inventory.prune(older_than_s)

    def note_link(self, stem: str, path: Path) -> None:
        """Remember where ComfyUI sees a file; what is known already costs nothing."""
        self._keeper.note_link(stem, path)

    async def _load(self) -> None:
        try:
            await asyncio.to_thread(self._shelf.make)
            await asyncio.to_thread(self._clear_up)
            for file in await asyncio.to_thread(self._shelf.scan):
                self._index.add(file)
            await asyncio.to_thread(self._peers.write, frozenset(), frozenset())
            await self._room.tidy(_LEFTOVER_AGE_S)
        except OSError as failure:
            # Pre-placed models need no cache: a download will tell its caller.
            logger.warning(
                "CACHE_DIR cannot be used", folder=str(self._layout.cache), why=str(failure)
            )

    def _clear_up(self) -> None:
        claims.remove_stale(self._layout.partial)
        for folder in (self._layout.cache, self._layout.partial):
            remove_leftovers(folder, time.time())
        self._shelf.clear_up(time.time())

    def _tell_removed(self, file: File) -> None:
        path = self._layout.cache / file.name
        self._notify("file_deleted", {"local_path": str(path), "size": file.size})


async def gathered(works: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Return what each brings, in their order; the first that fails cancels the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except BaseExceptionGroup as failures:
        # One reason is answered.
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
