"""A host that takes uploads, when it may."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web

from tests.listening import listening


@dataclass
class Shelf:
    """Takes files by PUT; `may_answer` holds its answers back while it is not set."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def put(self, request: web.Request) -> web.Response:
        body = await request.read()
        await self.may_answer.wait()
        self.files[request.path] = body
        return web.Response(status=201)


@contextlib.asynccontextmanager
async def shelves() -> AsyncIterator[Shelf]:
    """Hold a shelf that answers at once."""
    found = Shelf()
    found.may_answer.set()
    async with listening(web.put("/{path:.*}", found.put)) as found.url:
        yield found
        found.may_answer.set()
