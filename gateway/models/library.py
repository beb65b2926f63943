"""Weights by URL, as ComfyUI lists them: fetched into the cache, linked where it looks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.models.cache import Cache, Cached, Wanted
from gateway.models.links import Links
from gateway.schemas import Auth
from gateway.storage.providers import Providers


@dataclass(frozen=True, kw_only=True)
class Want:
    """A URL that shall be listed by ComfyUI in a folder of models."""

    url: str
    folder: str
    #: The name in that folder; None: the cache's.
    name: str | None = None
    auth: Auth | None = None
    #: Hex, when whoever asks knows it.
    sha256: str | None = None
    #: Where the caller finds the URL in its request.
    location: str | None = None


class Library:
    """Brings weights; `holder` is who needs them, a job's id mostly."""

    def __init__(self, providers: Providers, cache: Cache, links: Links) -> None:
        self._providers = providers
        self.cache = cache
        self.links = links

    def check(self, url: str, location: str | None = None) -> None:
        """Raise what can be told of a URL without asking its host."""
        self._providers.check(url, location)

    async def bring(self, wants: Sequence[Want], holder: str) -> list[str]:
        """Return the names that ComfyUI lists, in the order of `wants`; fetched in parallel.

        The files are kept until `release(holder)`. Raises ModelNotFetched, ModelInvalid,
        ModelTooLarge, CredentialsRefused, LinkOccupied, InvalidInput, StorageFull.
        """
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._get(want, holder)) for want in wants]
        except BaseExceptionGroup as failures:
            # One reason is answered: the first that failed, which is what cancelled the others.
            raise failures.exceptions[0] from None
        found = [task.result() for task in tasks]
        return await asyncio.to_thread(self._linked, list(zip(wants, found, strict=True)))

    async def fetch(self, want: Want, holder: str) -> tuple[str, Cached]:
        """Return the name that ComfyUI lists, and the file; raises as `bring`."""
        cached = await self._get(want, holder)
        return await asyncio.to_thread(self._link, want, cached), cached

    async def _get(self, want: Want, holder: str) -> Cached:
        return await self.cache.get(Wanted(want.url, want.auth, want.sha256, want.location), holder)

    def _linked(self, pairs: list[tuple[Want, Cached]]) -> list[str]:
        return [self._link(want, cached) for want, cached in pairs]

    def _link(self, want: Want, cached: Cached) -> str:
        name = want.name or cached.name
        if not self.links.is_current(want.folder, name, cached.device, cached.inode):
            self.links.ensure(want.folder, name, cached.path)
        return name

    def loosen(self, holder: str) -> None:
        """Keep the holder's files only while there is room: its turn has not come."""
        self.cache.loosen(holder)

    def release(self, holder: str) -> None:
        """Let go of what was kept."""
        self.cache.release(holder)
