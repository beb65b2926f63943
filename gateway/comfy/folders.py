"""Asks ComfyUI which models it sees, and what a class of nodes lets one choose from."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from gateway import errors, loose_json
from gateway.comfy.nodes import listed
from gateway.log import logger

#: ComfyUI counts the code of custom nodes among its folders: it holds no weights, and thousands
#: of files.
_NO_MODELS = frozenset({"custom_nodes"})
#: A client would take these out of the path.
_NO_SEGMENT = ("", ".", "..")
_AT_ONCE = 8
_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)
_UNREACHED = (aiohttp.ClientError, OSError, TimeoutError, ValueError)

#: folder -> names of its files; class -> input -> what it lets one choose from.
Listing = Mapping[str, tuple[str, ...]]
Combos = Mapping[str, Mapping[str, tuple[str, ...]]]


class ModelFolders:
    """The folders of models of a running ComfyUI; what it said last holds while it restarts."""

    def __init__(
        self, url: str, session: aiohttp.ClientSession, expected: Collection[str] = ()
    ) -> None:
        """`expected` are the folders of a ComfyUI that has not been asked yet."""
        self._url = url
        self._session = session
        self._expected = tuple(expected)
        self._listing: Listing | None = None
        self._combos: dict[str, Mapping[str, tuple[str, ...]]] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def listing(self) -> Listing:
        """Return the names in every folder, as of now; raises NotReady."""
        try:
            named = [one for one in await self._get("/models") or () if isinstance(one, str)]
            folders = [one for one in named if one not in _NO_MODELS]
            found = await asyncio.gather(*(self._get("/models", one) for one in folders))
        except _UNREACHED as failure:
            raise errors.NotReady(
                f"ComfyUI could not be asked which models it has: {_told(failure)}.",
                retry_after=5.0,
            ) from None
        self._listing = {
            folder: _strings(names) for folder, names in zip(folders, found, strict=True)
        }
        return self._listing

    async def last_listing(self) -> Listing:
        """Return the same, or what ComfyUI said last while it restarts; raises NotReady."""
        try:
            return await self.listing()
        except errors.NotReady:
            if self._listing is None:
                raise
            return self._listing

    async def names(self) -> tuple[str, ...]:
        """Return the folders alone; before ComfyUI first answers, those of a stock one."""
        try:
            named = await self._get("/models")
        except _UNREACHED as failure:
            logger.debug("comfyui did not list its folders", error=_told(failure))
            named = list(self._listing or self._expected)
        return tuple(one for one in _strings(named) if one not in _NO_MODELS)

    async def paths(self, folder: str) -> tuple[Path, ...]:
        """Return where ComfyUI looks for the files of a folder; empty where it does not tell.

        Custom nodes register folders of any name at any place; an older ComfyUI, or one that is
        down, says nothing of it.
        """
        try:
            told = await self._get("/experiment/models")
        except _UNREACHED as failure:
            logger.debug("comfyui did not say where its models are", error=_told(failure))
            return ()
        entries = [one for one in told or () if isinstance(one, dict) and one.get("name") == folder]
        return tuple(Path(path) for one in entries for path in _strings(one.get("folders")))

    async def combos(self, classes: Collection[str]) -> Combos:
        """Return what each class lets one choose from; classes that are not there are left out.

        Raises NotReady when ComfyUI cannot be asked, and was not asked before.
        """
        found = await asyncio.gather(*(self._of_class(name) for name in classes))
        return dict(zip(classes, found, strict=True))

    async def _of_class(self, name: str) -> Mapping[str, tuple[str, ...]]:
        try:
            answer = await self._get("/object_info", name)
        except _UNREACHED as failure:
            if name in self._combos:
                return self._combos[name]
            raise errors.NotReady(
                f"ComfyUI could not be asked about the class {name[:100]}: {_told(failure)}.",
                retry_after=5.0,
            ) from None
        entry = answer.get(name) if isinstance(answer, dict) else None
        if not isinstance(entry, dict):
            return {}
        self._combos[name] = _choices(entry)
        return self._combos[name]

    async def _get(self, path: str, name: str | None = None) -> Any:
        if name in _NO_SEGMENT:
            return None
        below = "" if name is None else f"/{quote(name, safe='')}"
        url = URL(f"{self._url}{path}{below}", encoded=True)
        async with self._places, self._session.get(url, timeout=_TIMEOUT) as response:
            if response.status >= 500:
                raise ValueError(f"it answered {response.status}")
            return loose_json.parse(await response.read()) if response.status == 200 else None


def _choices(entry: dict[str, Any]) -> Mapping[str, tuple[str, ...]]:
    inputs = entry.get("input")
    sections = inputs if isinstance(inputs, dict) else {}
    specs: dict[str, Any] = {
        **(sections.get("required") or {}),
        **(sections.get("optional") or {}),
    }
    found = {name: listed(spec) for name, spec in specs.items()}
    return {name: _strings(values) for name, values in found.items() if values is not None}


def _strings(values: Any) -> tuple[str, ...]:
    given = values if isinstance(values, list | tuple) else ()
    return tuple(value for value in given if isinstance(value, str))


def _told(failure: BaseException) -> str:
    if isinstance(failure, aiohttp.ClientConnectorError):
        return "nothing answers at its address; it may be restarting"
    return str(failure)[:200] or "it did not answer in time"
