"""GET /jobs/{id}/events: what happens to a job, as Server-Sent Events, until it is over."""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import lru_cache
from typing import Any

from aiohttp import HttpVersion11, web

from gateway import errors
from gateway.api.parts import PARTS, Parts
from gateway.jobs.channel import Reader
from gateway.jobs.job import State

#: Silence after which a comment shows both sides, and all between them, that someone is there.
KEEP_ALIVE_S = 15.0
#: What a reader that does not read is given to take the end: of the job, and when we stop.
_LATE_READER_S = 60.0
_LAST_WORDS_S = 2.0
#: Seconds between two looks whether a full socket has room again.
_ROOM_EVERY_S = 0.1
_KEEP_ALIVE = b": keep-alive\n\n"
_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    # For nginx: pass each event on at once.
    "X-Accel-Buffering": "no",
}


async def get_events(request: web.Request) -> web.StreamResponse:
    """Follow a job: its state, progress, previews, outputs and log, as Server-Sent Events."""
    parts = request.app[PARTS]
    job_id, stream = request.match_info["id"], _Stream(request)
    last_id, previews = _last_id(request), _flag(request, "previews")
    with parts.events.reading(job_id, last_id, previews=previews, on_news=stream.on_news) as reader:
        await _seed(parts, job_id)
        if reader.is_told:
            # It heard the end: 204 is what keeps a browser from asking again and again.
            return web.Response(status=204, headers={"Cache-Control": "no-store"})
        # A reader may be gone by now: many go as soon as they have heard the end.
        with contextlib.suppress(ConnectionResetError):
            await stream.follow(reader)
    return stream.response


async def _seed(parts: Parts, job_id: str) -> None:
    job = await parts.store.get(job_id)
    if job is None:
        raise errors.JobNotFound(f"There is no job {job_id[:128]!r}.")
    position = await parts.store.position(job) if job.state is State.QUEUED else None
    parts.events.seed(job, position)


def _last_id(request: web.Request) -> int | None:
    """Return what the reader heard last, when it says so in a way that we did."""
    given = request.headers.get("Last-Event-ID") or request.query.get("last_event_id", "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 19 else None


def _flag(request: web.Request, name: str) -> bool:
    given = request.query.get(name, "false").lower()
    if given not in ("true", "false", "1", "0"):
        raise errors.InvalidRequest(f"{name} is true or false.", location=name)
    return given in ("true", "1")


class _Stream:
    """One connection. While its socket takes all, events go straight into it.

    Hundreds of readers hear the same: nothing is waited for, woken or made anew for each of them.
    One whose socket is full goes on from its cursor when there is room again.
    """

    def __init__(self, request: web.Request) -> None:
        self.response = web.StreamResponse(headers=_HEADERS)
        self._request = request
        self._is_chunked = request.version >= HttpVersion11
        self._wanted = asyncio.Event()
        #: None before the head is out, and while the socket is full: then `follow` looks.
        self._open: Reader | None = None
        self._written_at = 0.0

    def on_news(self) -> None:
        """Write what is new, when there is room; never waits."""
        reader = self._open
        if reader is not None:
            self._push(reader)
        if reader is None or self._open is None or reader.is_over:
            self._wanted.set()

    async def follow(self, reader: Reader) -> None:
        """Write until the job is over, or the stream is to end."""
        if self._is_chunked:
            self.response.enable_chunked_encoding()
        await self.response.prepare(self._request)
        # The head goes out with the first bytes, whether or not there is news.
        await self.response.write(b": events\n\n")
        self._written_at = time.monotonic()
        while True:
            self._wanted.clear()
            self._open = reader
            self._push(reader)
            if reader.is_over:
                break
            await self._idle()
        self._open = None
        await self._finish(reader)

    def _push(self, reader: Reader) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size():
            self._open = None
        elif raw := reader.take():
            self._write(transport, raw)

    def _write(self, transport: Any, raw: bytes) -> None:
        transport.write(_chunk(raw) if self._is_chunked else raw)
        self._written_at = time.monotonic()

    async def _idle(self) -> None:
        """Return when there may be something to do; meanwhile keep the connection alive."""
        is_full = self._open is None
        left = self._written_at + KEEP_ALIVE_S - time.monotonic()
        try:
            async with asyncio.timeout(_ROOM_EVERY_S if is_full else max(left, 0)):
                await self._wanted.wait()
        except TimeoutError:
            transport = self._request.transport
            is_silent = time.monotonic() - self._written_at >= KEEP_ALIVE_S
            if is_silent and not is_full and transport is not None:
                self._write(transport, _KEEP_ALIVE)

    async def _finish(self, reader: Reader) -> None:
        """Send what is left and end; a reader that does not read is not waited for long."""
        transport = self._request.transport
        if transport is None:
            return
        if raw := reader.take():
            self._write(transport, raw)
        began = time.monotonic()
        while transport.get_write_buffer_size():
            patience = _LAST_WORDS_S if reader.is_dismissed else _LATE_READER_S
            if time.monotonic() - began > patience:
                transport.abort()
                return
            await asyncio.sleep(_ROOM_EVERY_S)
        await self.response.write_eof()


@lru_cache(maxsize=4)
def _chunk(raw: bytes) -> bytes:
    """Return bytes as a chunk of HTTP/1.1; made once for all readers of the same."""
    return b"%x\r\n%s\r\n" % (len(raw), raw)
