"""Files over http, from a server that sends parts and from one that does not."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from gateway.schemas import BearerAuth
from gateway.storage.guard import NetworkGuard
from gateway.storage.http import HttpProvider
from tests.listening import listening

from . import storages
from .servers import Servers
from .storages import SECRET, Storage

RIGHT = BearerAuth(type="bearer", token=SECRET)


@dataclass
class Host:
    """A server of what is put there."""

    is_ranged: bool
    files: dict[str, tuple[bytes, str]] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {SECRET}":
            return web.Response(status=401)
        path = request.match_info["path"]
        if request.method == "PUT":
            self.files[path] = (await request.read(), request.headers["Content-Type"])
            return web.Response(status=201)
        if path not in self.files:
            return web.Response(status=404)
        return self._sent(request, *self.files[path])

    def _sent(self, request: web.Request, body: bytes, kind: str) -> web.Response:
        headers = {"Content-Type": kind, "ETag": f'"{hashlib.md5(body).hexdigest()}"'}
        headers["Accept-Ranges"] = "bytes" if self.is_ranged else "none"
        asked = request.headers.get("If-Range", headers["ETag"])
        if not self.is_ranged or "Range" not in request.headers or asked != headers["ETag"]:
            # Of an empty body, the answer to a HEAD would not say that it is empty.
            headers |= {"Content-Length": str(len(body))} if request.method == "HEAD" else {}
            return web.Response(body=body, headers=headers)
        start, stop, _ = request.http_range.indices(len(body))
        if start >= stop:
            return web.Response(status=416)
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
        return web.Response(status=206, body=body[start:stop], headers=headers)


@contextlib.asynccontextmanager
async def _opened(is_ranged: bool) -> AsyncIterator[Storage]:
    async with (
        listening(web.route("*", "/{path:.*}", Host(is_ranged).handle)) as url,
        HttpProvider(NetworkGuard(("127.0.0.1",))).open() as provider,
    ):
        yield Storage(
            provider=provider,
            url=lambda name: f"{url}/{quote(name)}",
            auth=RIGHT,
            wrong=BearerAuth(type="bearer", token=f"wrong-{SECRET}"),
            is_ranged=is_ranged,
        )


@storages.add("http")
async def http(servers: Servers, folder: Path) -> AsyncIterator[Storage]:
    async with _opened(is_ranged=True) as found:
        yield found


@storages.add("http-without-ranges")
async def http_without_ranges(servers: Servers, folder: Path) -> AsyncIterator[Storage]:
    async with _opened(is_ranged=False) as found:
        yield found
