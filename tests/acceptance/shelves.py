"""A host that takes uploads, gives them back and hears events, when it may."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator

from aiohttp import web
from PIL import Image

from tests.listening import listening


class Shelf:
    """A host that takes files by PUT, gives them by GET, and hears events by POST."""

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {}
        #: What stands beside files; nothing else counts them.
        self.sidecars: dict[str, bytes] = {}
        self.sidecar_status = 201
        self.types: dict[str, str] = {}
        self.sent: dict[str, str] = {}
        self.asked: list[str] = []
        self.events: list[tuple[dict[str, str], bytes]] = []
        self.status = 201
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def get(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        await self.may_answer.wait()
        return web.Response(body=self.files[request.path])

    async def put(self, request: web.Request) -> web.Response:
        if request.content_type == "application/json":
            return await self.put_sidecar(request)
        self.asked.append(request.path)
        body = await request.read()
        await self.may_answer.wait()
        if self.status == 201:
            self.files[request.path] = body
            self.types[request.path] = request.content_type
            self.sent[request.path] = request.headers.get("Authorization", "")
        return web.Response(status=self.status)

    async def put_sidecar(self, request: web.Request) -> web.Response:
        body = await request.read()
        await self.may_answer.wait()
        if self.sidecar_status == 201:
            self.sidecars[request.path] = body
        return web.Response(status=self.sidecar_status)

    async def post(self, request: web.Request) -> web.Response:
        self.events.append((dict(request.headers), await request.read()))
        return web.Response()

    def picture(self, path: str) -> Image.Image:
        return Image.open(io.BytesIO(self.files[path]))


@contextlib.asynccontextmanager
async def shelves() -> AsyncIterator[Shelf]:
    """Hold a shelf that answers at once."""
    found = Shelf()
    ways = {"GET": found.get, "PUT": found.put, "POST": found.post}
    routes = [web.route(method, "/{path:.*}", take) for method, take in ways.items()]
    async with listening(*routes) as found.url:
        yield found
        found.may_answer.set()
