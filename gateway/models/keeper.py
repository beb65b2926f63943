"""What is written down in the background: last uses, links, and word to other processes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

from gateway.models import record
from gateway.models.index import Index
from gateway.models.peers import HEARTBEAT_S, Peers
from gateway.models.room import Room
from gateway.models.shelf import Shelf
from gateway.models.uses import Uses

#: Seconds that uses are gathered before they are written down.
_GATHER_S = 1.0
#: Links of one file that are remembered: callers choose the names.
_LINKS = 100


class Keeper:
    """Keeps the disk posted; `stir` is instant."""

    def __init__(self, shelf: Shelf, index: Index, room: Room, peers: Peers, uses: Uses) -> None:
        self._shelf = shelf
        self._index = index
        self._room = room
        self._peers = peers
        self._uses = uses
        #: Stems whose records have links that are not written down yet.
        self._linked: set[str] = set()
        self._stirred = asyncio.Event()

    def stir(self) -> None:
        """Something was used, or let go."""
        self._stirred.set()

    def note_link(self, stem: str, path: Path) -> None:
        """Remember where ComfyUI sees a file; what is known already costs nothing."""
        file = self._index.of_stem(stem)
        if file is None or file.record is None or str(path) in file.record.links:
            return
        links = (*file.record.links, str(path))[-_LINKS:]
        file.record = dataclasses.replace(file.record, links=links)
        self._linked.add(stem)
        self.stir()

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Write down until left, and once more then."""
        task = asyncio.create_task(self._keep(), name="cache keeper")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._write_back()
            await asyncio.to_thread(self._peers.close)

    async def _keep(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._stirred.wait()
            self._stirred.clear()
            # At once: another process may be about to evict what is in use from now on.
            await self._room.tell_others()
            await self._room.look_around()
            await asyncio.sleep(_GATHER_S)
            await self._write_back()

    async def _write_back(self) -> None:
        await asyncio.to_thread(self._shelf.touch, self._uses.take())
        await self._write_links()

    async def _write_links(self) -> None:
        while self._linked:
            stem = self._linked.pop()
            file = self._index.of_stem(stem)
            if file is not None and file.record is not None:
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(
                        record.write, self._shelf.layout.records, stem, file.record
                    )
