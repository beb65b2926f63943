"""Bodies on their way out by POST, in pieces, and the connections that carry them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
from aiohttp.abc import AbstractResolver

#: Each piece that goes out is a sign of life: on a slow line a large one would look like silence.
_PIECE_BYTES = 1 << 16


@dataclass(frozen=True)
class Connections:
    """How many there may be, and what they are like."""

    limit: int = 64
    #: Whether another request may use one that is open still.
    are_kept: bool = True
    #: Bytes that the kernel takes before they are sent; None: as it likes, which is many MB.
    send_buffer: int | None = None

    def connector(self, resolver: AbstractResolver | None) -> aiohttp.TCPConnector:
        """Return what opens them."""
        return aiohttp.TCPConnector(
            resolver=resolver,
            limit=self.limit,
            force_close=not self.are_kept,
            socket_factory=None if self.send_buffer is None else self._socket,
        )

    def _socket(self, where: tuple[Any, ...]) -> socket.socket:
        family, kind, proto = where[:3]
        made = socket.socket(family, kind, proto)
        assert self.send_buffer is not None
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.send_buffer)
        return made


class Sendable(Protocol):
    """A body that is sent in pieces; its length in bytes is told before."""

    @property
    def length(self) -> int:
        """Bytes of the whole."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body; may raise OSError."""
        ...


@dataclass(frozen=True)
class Reply:
    """What a body was answered with."""

    status: int
    #: Seconds that the host asks us to wait.
    retry_after: float | None = None


class Posted:
    """A body that is being sent; `alive` notes the time at which some of it was taken."""

    def __init__(self, source: Sendable, headers: dict[str, str], silence_s: float) -> None:
        self._source = source
        self._silence_s = silence_s
        self.headers = {**headers, "Content-Length": str(source.length)}
        #: Why it could not be read.
        self.failure: OSError | None = None
        self._deadline: asyncio.Timeout | None = None

    def patience(self) -> asyncio.Timeout:
        """Return the timeout that signs of life put off."""
        self._deadline = asyncio.timeout(self._silence_s)
        return self._deadline

    def over(self) -> None:
        """Note that nothing counts any more."""
        self._deadline = None

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the body in small pieces."""
        try:
            async for chunk in self._source.chunks():
                for start in range(0, len(chunk), _PIECE_BYTES):
                    self._alive()
                    yield chunk[start : start + _PIECE_BYTES]
        except OSError as failure:
            self.failure = failure
            raise
        self._alive()

    def _alive(self) -> None:
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time() + self._silence_s)
