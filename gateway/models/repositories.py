"""Whole repositories, as DiffusersLoader wants them: a folder of links to cached files."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from cachetools import LRUCache, TTLCache

from gateway.models import names
from gateway.models.wanted import Want, Wanted
from gateway.schemas import Auth
from gateway.storage.failures import TransferFailed
from gateway.storage.hf_files import RepoFile

#: The folder whose entries are repositories.
FOLDER = "diffusers"
_REMEMBERED = 1000
#: Seconds after which a moving revision is looked at again.
_REMEMBERED_S = 300.0


class Hub(Protocol):
    """Where repositories lie."""

    def is_repo(self, url: str) -> bool:
        """Whether a URL is a whole repository."""
        ...

    async def list_repo(self, url: str, auth: Auth | None) -> list[RepoFile]:
        """Return the files that its loader reads; raises TransferFailed."""
        ...


class Repositories:
    """Knows which files a repository is made of."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        # By credentials too: what is in a private repository is nobody else's business.
        self._listed: TTLCache[Wanted, list[RepoFile]] = TTLCache(_REMEMBERED, _REMEMBERED_S)
        #: What was listed last, for when the hub cannot be asked.
        self._last: LRUCache[Wanted, list[RepoFile]] = LRUCache(_REMEMBERED)

    def holds(self, want: Want) -> bool:
        """Whether this is a repository, and no file."""
        return want.folder == FOLDER and self._hub.is_repo(want.url)

    def name_of(self, want: Want) -> str:
        """Return the folder that ComfyUI lists it as."""
        return want.name or names.stem(want.url)

    async def files(self, want: Want) -> list[Want]:
        """Return a want for each of its files; raises TransferFailed."""
        key = Wanted(want.url, want.auth)
        found = self._listed.get(key)
        if found is None:
            found = self._listed[key] = await self._ask(key)
        folder = self.name_of(want)
        return [
            replace(
                want,
                url=file.url,
                name=f"{folder}/{file.path}",
                sha256=file.sha256,
                is_part=True,
            )
            for file in found
        ]

    async def _ask(self, wanted: Wanted) -> list[RepoFile]:
        try:
            files = await self._hub.list_repo(wanted.url, wanted.auth)
        except TransferFailed as failure:
            if failure.verdict.retryable and wanted in self._last:
                return self._last[wanted]
            raise
        self._last[wanted] = files
        return files
