"""A receiver of webhooks that is down half the time, and a host of pictures.

What is heard is verified with the public library of Standard Webhooks, its age included.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import random
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from PIL import Image
from standardwebhooks import Webhook, WebhookVerificationError

from tests.listening import listening

_SLOWEST_S = 0.3


@dataclass(frozen=True)
class Heard:
    """A call that was answered with 200; times are seconds since 1970."""

    id: str
    began_at: float
    body: dict[str, Any]


@dataclass
class Receiver:
    """Takes turns at being up and being down: refusing connections, answering 500, hanging."""

    webhook: Webhook
    chance: random.Random
    #: Of the calls that come while it hangs, those that it never lets go of.
    for_ever: float = 0.0
    heard: list[Heard] = field(default_factory=list)
    #: What came that the public library does not accept.
    invalid: list[str] = field(default_factory=list)
    #: Calls by how they ended.
    calls: Counter[str] = field(default_factory=Counter)
    up_s: float = 0.0
    down_s: float = 0.0
    url: str = ""
    mode: str = "up"
    _turned: asyncio.Event = field(default_factory=asyncio.Event)
    _answering: asyncio.Event = field(default_factory=asyncio.Event)

    async def until_answering(self, timeout_s: float) -> None:
        """Return at the instant at which a call is answered with 200, or after so long."""
        self._answering.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._answering.wait(), timeout_s)

    @property
    def down_share(self) -> float:
        return self.down_s / max(self.up_s + self.down_s, 0.001)

    @contextlib.asynccontextmanager
    async def running(self, longest_s: float) -> AsyncIterator[Receiver]:
        """Hear calls; no turn is longer than `longest_s`."""
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/hook", self._answer)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        # The port stays ours while nobody listens on it.
        with socket.socket() as held:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind(("127.0.0.1", 0))
            port = held.getsockname()[1]
            self.url = f"http://127.0.0.1:{port}/hook"
            turns = asyncio.create_task(self._take_turns(runner, port, longest_s))
            try:
                yield self
            finally:
                turns.cancel()
                await asyncio.gather(turns, return_exceptions=True)
                await runner.cleanup()

    async def _take_turns(self, runner: web.AppRunner, port: int, longest_s: float) -> None:
        site = None
        while True:
            for mode in (self.chance.choice(("refuses", "refuses", "fails", "hangs")), "up"):
                self.mode = mode
                if mode == "refuses" and site is not None:
                    await site.stop()
                    site = None
                elif mode != "refuses" and site is None:
                    site = web.TCPSite(runner, "127.0.0.1", port, reuse_port=True)
                    await site.start()
                turned, self._turned = self._turned, asyncio.Event()
                turned.set()
                began = time.monotonic()
                await asyncio.sleep(self.chance.uniform(0.2, longest_s))
                if mode == "up":
                    self.up_s += time.monotonic() - began
                else:
                    self.down_s += time.monotonic() - began

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        began_at, mode, turned = time.time(), self.mode, self._turned
        raw = await request.read()
        if mode == "hangs":
            self.calls["hung"] += 1
            if self.chance.random() < self.for_ever:
                await asyncio.Event().wait()
            await turned.wait()
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        await asyncio.sleep(self.chance.uniform(0, _SLOWEST_S) ** 2)
        if mode != "up":
            self.calls["500"] += 1
            return _closing(500)
        try:
            body = self.webhook.verify(raw, dict(request.headers))
        except WebhookVerificationError as failure:
            self.invalid.append(str(failure))
            return _closing(400)
        # Told before it is sent: who answers must reckon that the answer arrives.
        self.heard.append(Heard(request.headers["webhook-id"], began_at, body))
        self.calls["200"] += 1
        self._answering.set()
        return _closing(200)


def _closing(status: int) -> web.Response:
    """Answer so that the next call needs a connection, and can be refused one."""
    response = web.Response(status=status)
    response.force_close()
    return response


@contextlib.asynccontextmanager
async def pictures(chance: random.Random) -> AsyncIterator[str]:
    """Serve /N.png, sometimes slowly; /missing/N.png is 404. Yields the address."""

    async def picture(request: web.Request) -> web.Response:
        await asyncio.sleep(chance.choice((0.0, 0.1, 0.8)))
        content = io.BytesIO()
        color = int(request.match_info["number"])
        Image.new("RGB", (16, 16), (color >> 16 & 255, color >> 8 & 255, color & 255)).save(
            content, "PNG"
        )
        return web.Response(body=content.getvalue(), content_type="image/png")

    async with listening(web.get("/{number:[0-9]+}.png", picture)) as url:
        yield url
