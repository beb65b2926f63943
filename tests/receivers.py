"""Receivers of webhooks: real servers that answer as a test says, well or badly."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

#: Bytes of a body that are kept; of a larger one, its size and its digest.
KEPT = 16 << 20


@dataclass
class Call:
    """One call, as it came."""

    path: str
    headers: Mapping[str, str]
    #: Seconds since 1970.
    at: float
    body: bytes = b""
    size: int = 0
    sha256: str = ""

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


Behaviour = Callable[[Call, web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Receiver:
    """Hears calls on every path; `calls` has those whose body was read to its end."""

    port: int = 0
    calls: list[Call] = field(default_factory=list)
    #: Calls that have begun, also those that broke off.
    begun: list[Call] = field(default_factory=list)
    behaviours: dict[str, list[Behaviour]] = field(default_factory=dict)
    #: While it is set, connections are hung up on before a word is heard.
    is_down: bool = False
    #: How many calls it was in at the same time, at most.
    most_at_once: int = 0
    now: int = 0

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def on(self, path: str, *behaviours: Behaviour) -> str:
        """Answer a path so, in turn; the last one stays. Other paths get 200."""
        self.behaviours[path] = list(behaviours)
        return self.url(path)

    def heard(self, path: str = "/hook") -> list[Call]:
        """Return the calls of one path."""
        return [call for call in self.calls if call.path == path]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.is_down:
            _abort(request)
            return web.Response(status=503)
        call = Call(request.path, dict(request.headers.items()), time.time())
        call.headers = {name.lower(): value for name, value in call.headers.items()}
        self.begun.append(call)
        self.now += 1
        self.most_at_once = max(self.most_at_once, self.now)
        try:
            return await self._next(request.path)(call, request)
        finally:
            self.now -= 1

    def _next(self, path: str) -> Behaviour:
        known = self.behaviours.get(path)
        if known is None:
            return self.says(200)
        return known.pop(0) if len(known) > 1 else known[0]

    async def read(self, call: Call, request: web.Request) -> None:
        """Read a body to its end; a call that breaks off is not heard."""
        digest = hashlib.sha256()
        kept = bytearray()
        async for chunk in request.content.iter_any():
            digest.update(chunk)
            call.size += len(chunk)
            if call.size <= KEPT:
                kept += chunk
        call.body = bytes(kept) if call.size <= KEPT else b""
        call.sha256 = digest.hexdigest()
        self.calls.append(call)

    # What it may do

    def says(self, status: int, **headers: str) -> Behaviour:
        """Read the body, then answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}

        async def answer(call: Call, request: web.Request) -> web.StreamResponse:
            await self.read(call, request)
            return web.Response(status=status, headers=named)

        return answer

    def waits(self, until: asyncio.Event, status: int = 200) -> Behaviour:
        """Read the body; answer when it may."""

        async def answer(call: Call, request: web.Request) -> web.StreamResponse:
            await self.read(call, request)
            await until.wait()
            return web.Response(status=status)

        return answer

    def hangs(self) -> Behaviour:
        """Read the body, and never answer."""
        return self.waits(asyncio.Event())

    def hangs_up(self) -> Behaviour:
        """Read the body, then close the connection."""

        async def answer(call: Call, request: web.Request) -> web.StreamResponse:
            await self.read(call, request)
            _abort(request)
            return web.Response()

        return answer

    def drips(self, pause_s: float = 0.05) -> Behaviour:
        """Read the body; send the head of an answer a byte at a time, for ever."""

        async def answer(call: Call, request: web.Request) -> web.StreamResponse:
            await self.read(call, request)
            transport = request.transport
            assert transport is not None
            transport.write(b"HTTP/1.1 200 OK\r\n")
            while not transport.is_closing():
                transport.write(b"X-Drip: 1\r\n")
                await asyncio.sleep(pause_s)
            return web.Response()

        return answer

    def answers_first(self, status: int = 200) -> Behaviour:
        """Answer at once, then read the body."""

        async def answer(call: Call, request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(status=status)
            await response.prepare(request)
            await response.write(b"early")
            await self.read(call, request)
            return response

        return answer

    def is_slow(self, pause_s: float, piece: int = 65536) -> Behaviour:
        """Take the body a piece at a time, with pauses between, then answer 200."""

        async def answer(call: Call, request: web.Request) -> web.StreamResponse:
            while chunk := await request.content.read(piece):
                call.size += len(chunk)
                await asyncio.sleep(pause_s)
            self.calls.append(call)
            return web.Response()

        return answer


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


@contextlib.asynccontextmanager
async def receiving(port: int = 0) -> AsyncIterator[Receiver]:
    """Hold a receiver; who still waits for it at the end is hung up on."""
    found = Receiver()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/{path:.*}", found.answer)
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=0.1,
        # So that a slow one is slow: little lies between the two.
        read_bufsize=65536,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        found.port = runner.addresses[0][1]
        yield found
    finally:
        await runner.cleanup()
