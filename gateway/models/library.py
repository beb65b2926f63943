"""Weights by URL, as ComfyUI lists them: fetched into the cache, linked where it looks."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway import errors
from gateway.models import names
from gateway.models.cache import Cache, gathered
from gateway.models.links import Links
from gateway.models.repositories import FOLDER, Repositories
from gateway.models.wanted import Cached, Want
from gateway.storage import address
from gateway.storage.failures import TransferFailed
from gateway.storage.providers import Providers

__all__ = ["Brought", "Library", "Want"]


@dataclass(frozen=True)
class Brought:
    """What ComfyUI lists: a file, or the folder of a repository; `size` in bytes."""

    name: str
    size: int


class Library:
    """Brings weights; `holder` is who needs them, a job's id mostly."""

    def __init__(
        self,
        providers: Providers,
        cache: Cache,
        links: Links,
        ask_paths: Callable[[str], Awaitable[Sequence[Path]]],
    ) -> None:
        """`ask_paths` tells where ComfyUI looks for the files of a folder; empty: it cannot say."""
        self._providers = providers
        self._ask_paths = ask_paths
        self._repositories = Repositories(providers)
        self.cache = cache
        self.links = links

    def check(self, want: Want) -> None:
        """Raise what can be told without asking anyone: InvalidInput, ModelNotFetched."""
        if self._repositories.holds(want):
            return
        try:
            self._providers.check(want.url, want.location)
        except errors.InputNotFetched as refused:
            raise errors.ModelNotFetched(
                refused.message, hint=refused.hint, location=refused.location, **refused.details
            ) from refused
        if want.folder == FOLDER:
            raise errors.InvalidInput(
                f"{address.shown(want.url)} is a file, and {FOLDER} holds whole repositories.",
                hint="Give a repository of Hugging Face: hf://owner/name, or hf://owner/name@REF.",
                location=want.location,
            )

    async def bring(
        self, wants: Sequence[Want], holder: str, *, is_ahead: bool = False
    ) -> list[Brought]:
        """Return what ComfyUI lists now, in the order of `wants`; fetched in parallel.

        The files are kept until `release(holder)`. With `is_ahead` the holder's turn has not come:
        it waits for room that earlier ones hold. Raises ModelNotFetched, ModelInvalid,
        ModelTooLarge, CredentialsRefused, LinkOccupied, InvalidInput, StorageFull.
        """
        parts = await gathered(self._parts(want) for want in wants)
        for folder in {want.folder for want in wants if not self.links.knows(want.folder)}:
            await self._learn(folder)
        files = [file for part in parts for file in part]
        found = await self.cache.get_all([file.file for file in files], holder, is_ahead=is_ahead)
        await self._link_all(list(zip(files, found, strict=True)))
        rest = iter(found)
        return [
            self._brought(want, list(itertools.islice(rest, len(part))))
            for want, part in zip(wants, parts, strict=True)
        ]

    def is_at_hand(self, want: Want) -> bool:
        """Whether there is nothing to fetch; False where that is not known at once."""
        return not self._repositories.holds(want) and self.cache.is_at_hand(want.file)

    async def _learn(self, folder: str) -> None:
        paths = await self._ask_paths(folder)
        if paths:
            self.links.search(folder, paths)

    def _brought(self, want: Want, files: list[Cached]) -> Brought:
        size = sum(file.size for file in files)
        if self._repositories.holds(want):
            return Brought(self._repositories.name_of(want), size)
        return Brought(want.name or files[0].name, size)

    async def _parts(self, want: Want) -> list[Want]:
        if not self._repositories.holds(want):
            return [want]
        try:
            return await self._repositories.files(want)
        except TransferFailed as failure:
            shown = address.shown(want.url)
            raise failure.told(shown, want.location, errors.ModelNotFetched) from failure

    async def _link_all(self, pairs: list[tuple[Want, Cached]]) -> None:
        paths = await asyncio.to_thread(lambda: [self._link(*pair) for pair in pairs])
        for (want, _), path in zip(pairs, paths, strict=True):
            if path is not None:
                self.cache.note_link(names.stem(want.url), path)

    def _link(self, want: Want, cached: Cached) -> Path | None:
        """Return the link that was made; None when ComfyUI finds the file already."""
        name = want.name or cached.name
        if self.links.is_current(want.folder, name, cached.device, cached.inode):
            return None
        try:
            return self.links.ensure(want.folder, name, cached.path, is_part=want.is_part)
        except errors.GatewayError as failure:
            failure.location = want.location
            raise

    def loosen(self, holder: str) -> None:
        """Keep the holder's files only while there is room: its turn has not come."""
        self.cache.loosen(holder)

    def release(self, holder: str) -> None:
        """Let go of what was kept."""
        self.cache.release(holder)
