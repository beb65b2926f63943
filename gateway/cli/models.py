"""`gateway models`: weights ahead of need, and what ComfyUI sees of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.cli.client import Client
from gateway.cli.failure import CommandFailed

_POLL_S = 0.5

#: Takes an entry of GET /downloads.
Watcher = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Wanted:
    """A model to fetch, and where it belongs."""

    url: str
    folder: str
    name: str | None = None
    sha256: str | None = None
    bearer: str | None = None

    @property
    def body(self) -> dict[str, Any]:
        """What is sent to POST /download."""
        found: dict[str, Any] = {"url": self.url, "model_type": self.folder, "wait": True}
        if self.name is not None:
            found["filename"] = self.name
        if self.sha256 is not None:
            found["sha256"] = self.sha256
        if self.bearer is not None:
            found["auth"] = {"type": "bearer", "token": self.bearer}
        return found

    @property
    def shown(self) -> str:
        """The URL as GET /downloads names it."""
        from gateway.storage.address import shown

        return shown(self.url)


async def pull(client: Client, wanted: Wanted, watch: Watcher) -> dict[str, Any]:
    """Fetch a model; `watch` hears how far it is. Return the answer of POST /download."""
    asking = asyncio.create_task(_ask(client, wanted.body))
    try:
        while not asking.done():
            await asyncio.wait({asking}, timeout=_POLL_S)
            if not asking.done():
                await _look(client, wanted.shown, watch)
        return await asking
    finally:
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError, CommandFailed):
            await asking


async def _ask(client: Client, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    # Without a limit of time: weights may take an hour.
    async with client.request(
        "POST", "/download", data=orjson.dumps(body), headers=headers
    ) as answer:
        found: dict[str, Any] = orjson.loads(await answer.read())
        return found


async def _look(client: Client, shown: str, watch: Watcher) -> None:
    found = (await client.ask("GET", "/downloads"))["downloads"]
    for one in found:
        if one["url"] == shown and one["state"] != "failed":
            watch(one)


async def listed(client: Client, folder: str | None) -> list[str]:
    """Return the names in a folder, or folder/name of all."""
    found = await client.ask("GET", "/models")
    if folder is None:
        return [f"{one}/{name}" for one, names in found.items() for name in names]
    if folder not in found:
        raise CommandFailed(
            f"ComfyUI knows no folder of models called {folder!r}.",
            hint=f"The known ones: {', '.join(sorted(found))}.",
        )
    names: list[str] = found[folder]
    return names
