"""Listens to ComfyUI's WebSocket, for as long as it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import aiohttp

from gateway import metrics
from gateway.log import logger

_SHORTEST_S, _LONGEST_S = 0.05, 2.0

Socket = aiohttp.ClientWebSocketResponse


class Hearer(Protocol):
    """Who is told what is heard."""

    async def opened(self, socket: Socket) -> None:
        """A connection stands; what was missed meanwhile can be asked for."""
        ...

    def take(self, message: aiohttp.WSMessage) -> None:
        """Take one message."""
        ...

    def missed(self) -> None:
        """A message was lost."""
        ...

    def closed(self) -> None:
        """The connection is gone."""
        ...


async def listen(
    connect: Callable[[], AbstractAsyncContextManager[Socket]], hearer: Hearer
) -> None:
    """Listen, and connect again after each break, until this is cancelled."""
    pause = _SHORTEST_S
    while True:
        try:
            async with connect() as socket:
                pause = _SHORTEST_S
                await hearer.opened(socket)
                await _read(socket, hearer)
        except (aiohttp.ClientError, OSError, TimeoutError) as failure:
            logger.debug("websocket to comfyui failed", error=str(failure)[:200])
        hearer.closed()
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_S)


async def _read(socket: Socket, hearer: Hearer) -> None:
    async for message in socket:
        try:
            hearer.take(message)
        except Exception:  # noqa: BLE001 - a guard: else one odd frame would end all listening
            metrics.errors_total.labels("frame").inc()
            logger.exception("a frame of comfyui could not be taken")
            hearer.missed()
