"""The WebSocket side: who is connected, and the one queue through which every frame goes out."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aiohttp import WSMsgType, web

from gateway.embedded.faults import NAN_FRAMES, Faults

log = logging.getLogger(__name__)

Frame: TypeAlias = dict[str, Any] | bytes


@dataclass(slots=True)
class _Socket:
    response: web.WebSocketResponse
    request: web.Request
    features: dict[str, Any] = field(default_factory=dict)
    sent: int = 0


class Sockets:
    """Connected clients by id. Frames may be sent from any thread; their order is kept."""

    def __init__(
        self, status: Callable[[], dict[str, Any]], features: dict[str, Any], faults: Faults
    ) -> None:
        self._status = status
        self._features = features
        self._faults = faults
        self._sockets: dict[str, _Socket] = {}
        self._frames: asyncio.Queue[tuple[Frame, str | None]] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        # The client whose prompt runs, or ran last, and the node that runs now.
        self.client_id: str | None = None
        self.node_id: str | None = None

    def send(self, frame: Frame, client_id: str | None = None) -> None:
        """Queue a frame for one client, or for all."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._frames.put_nowait, (frame, client_id))

    def send_status(self) -> None:
        self.send({"type": "status", "data": {"status": self._status()}})

    def supports(self, client_id: str | None, feature: str) -> bool:
        socket = self._sockets.get(client_id or "")
        return socket is not None and socket.features.get(feature) is True

    async def publish(self) -> None:
        """Send queued frames, one after the other, for ever."""
        self._loop = asyncio.get_running_loop()
        while True:
            frame, client_id = await self._frames.get()
            for sid, socket in list(self._sockets.items()):
                if client_id in (None, sid):
                    await self._deliver(socket, frame)
            self._frames.task_done()

    def flush(self) -> None:
        """Wait, in a thread that is not the loop's, until all frames so far have gone out."""
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self._frames.join(), self._loop).result()

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        sid = request.query.get("clientId") or uuid.uuid4().hex
        socket = self._sockets[sid] = _Socket(response, request)
        try:
            await self._greet(sid, socket)
            await self._listen(socket)
        finally:
            # ComfyUI forgets the id, also when a newer socket has taken it over meanwhile.
            self._sockets.pop(sid, None)
        return response

    async def _greet(self, sid: str, socket: _Socket) -> None:
        data = {"status": self._status(), "sid": sid}
        await self._deliver(socket, {"type": "status", "data": data})
        if sid == self.client_id and self.node_id is not None:
            await self._deliver(socket, {"type": "executing", "data": {"node": self.node_id}})

    async def _listen(self, socket: _Socket) -> None:
        """Only the first message counts, and only when it negotiates features."""
        is_first = True
        async for message in socket.response:
            if message.type is not WSMsgType.TEXT:
                continue
            try:
                data = json.loads(message.data)
            except ValueError:
                log.warning("Invalid JSON received: %s", message.data)
                continue
            if is_first and isinstance(data, dict) and data.get("type") == "feature_flags":
                socket.features = data.get("data") or {}
                await self._deliver(socket, {"type": "feature_flags", "data": self._features})
            is_first = False

    async def _deliver(self, socket: _Socket, frame: Frame) -> None:
        if self._faults.mute_ws and socket.sent >= self._faults.mute_ws:
            return
        try:
            if isinstance(frame, bytes):
                await socket.response.send_bytes(frame)
            else:
                await socket.response.send_json(frame)
        except (ConnectionError, RuntimeError) as failure:
            log.warning("send error: %s", failure)
            return
        socket.sent += 1
        if socket.sent == self._faults.drop_ws and socket.request.transport is not None:
            socket.request.transport.abort()

    def send_nan_frames(self, client_id: str | None) -> None:
        for frame in NAN_FRAMES if self._faults.nan_frames else ():
            self.send(frame, client_id)
