"""What the cache holds, shown, and deleted on request."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gateway import errors
from gateway.models import names, record, verify
from gateway.models.index import File, Index
from gateway.models.layout import Layout
from gateway.models.peers import InUse
from gateway.models.pins import Pins
from gateway.models.record import Record
from gateway.models.room import Room
from gateway.models.shelf import Shelf
from gateway.models.verify import Flaw

_AT_ONCE = 200


@dataclass(frozen=True, kw_only=True)
class EntryShown:
    """A file of the cache, as callers may see it."""

    name: str
    url: str | None
    size: int
    #: ISO 8601.
    last_used: str
    #: Who needs it.
    pins: list[str]
    #: Where ComfyUI sees it.
    links: list[str]
    needs_credentials: bool


class Inventory:
    """Looks at the files of the cache, and deletes those that no job needs."""

    def __init__(self, layout: Layout, index: Index, pins: Pins, room: Room) -> None:
        self._layout = layout
        self._index = index
        self._pins = pins
        self._room = room

    async def entries(self) -> list[EntryShown]:
        """Return the files, the most recently used first."""
        await self._refresh()
        files = list(self._index.oldest_first())[::-1]
        unread = [file for file in files if file.record is None]
        read = await asyncio.to_thread(self._records, [file.stem for file in unread])
        for file in unread:
            file.record = file.record or read[file.stem]
        shown = []
        for at, file in enumerate(files):
            shown.append(self._shown(file, file.record))
            if at % _AT_ONCE == 0:
                # Ten thousand take a while, and the loop is everybody's.
                await asyncio.sleep(0)
        return shown

    def _records(self, stems: list[str]) -> dict[str, Record | None]:
        return {stem: record.read(self._layout.records, stem) for stem in stems}

    def _shown(self, file: File, note: Record | None) -> EntryShown:
        used = datetime.fromtimestamp(file.used_at, UTC).isoformat(timespec="milliseconds")
        return EntryShown(
            name=file.name,
            url=note.url if note else None,
            size=file.size,
            last_used=used.replace("+00:00", "Z"),
            pins=self._pins.holders(file.stem),
            links=list(note.links) if note else [],
            needs_credentials=note.needs_credentials if note else False,
        )

    async def delete(self, name: str) -> None:
        """Delete a file. Raises CacheEntryNotFound, CacheEntryInUse."""
        await self._refresh()
        file = self._index.named(name)
        if file is None:
            if self._room.is_fetching(names.stem_of(name) or ""):
                raise errors.CacheEntryInUse("This file is being fetched; delete it later.")
            raise errors.CacheEntryNotFound(hint="GET /cache lists what it holds.")
        if not await self._room.remove([file], self._is_needed):
            raise errors.CacheEntryInUse(hint="GET /cache shows who needs it.")

    async def prune(self, older_than_s: float | None = None) -> list[str]:
        """Delete what no job needs, or of that what was last used so long ago; returns names."""
        await self._refresh()
        before = float("inf") if older_than_s is None else time.time() - older_than_s
        files = [file for file in self._index.oldest_first() if file.used_at < before]
        gone = await self._room.remove(
            files,
            lambda file, in_use: self._is_needed(file, in_use) or self._pins.is_loose(file.stem),
        )
        return [file.name for file in gone]

    def _is_needed(self, file: File, in_use: InUse) -> bool:
        is_needed_here = self._pins.is_firm(file.stem) or self._room.is_fetching(file.stem)
        return is_needed_here or file.stem in in_use.pinned

    async def _refresh(self) -> None:
        with contextlib.suppress(OSError):
            await self._room.refresh()


def verify_folder(cache_dir: Path) -> Iterator[tuple[str, bool, str]]:
    """Check every file of a cache folder, without a network: name, whether it is whole, why not.

    Belongs in a thread. Raises OSError.
    """
    layout = Layout(cache_dir)
    for file in Shelf(layout).scan():
        note = record.read(layout.records, file.stem)
        size, sha256 = (note.size, note.sha256) if note and note.verified else (None, None)
        path = cache_dir / file.name
        try:
            verify.check(path, path.suffix, size, sha256)
        except Flaw as flaw:
            yield file.name, False, str(flaw)
        else:
            yield file.name, True, ""
