"""One file on its way in: tried again, resumed where the host allows, never stitched."""

from __future__ import annotations

from dataclasses import dataclass

import stamina

from gateway.schemas import Auth
from gateway.storage.failures import MISMATCH, TooLarge, TransferFailed, Verdict
from gateway.storage.partfile import PartFile
from gateway.storage.provider import Provider, Reply, Span

HEAD_BYTES = 1 << 16
#: Bytes after which a broken transfer has earned a fresh set of attempts.
_WORTH_BYTES = 64 << 20
#: Silences, each as long as the stall timeout, that a fetch lives through.
_SILENCES = 1


@dataclass(frozen=True)
class Patience:
    """How often, and after how many seconds, a fetch is tried again."""

    attempts: int = 4
    wait_initial: float = 0.25
    wait_max: float = 5.0


@dataclass(frozen=True)
class Arrival:
    """What is known of a file that has arrived: its first bytes, and what the host said."""

    url: str
    head: bytes
    size: int
    content_type: str | None
    filename: str | None


class Transfer:
    """Brings one URL into one part file."""

    def __init__(
        self, provider: Provider, url: str, auth: Auth | None, limit_bytes: int, patience: Patience
    ) -> None:
        self._provider = provider
        self._url = url
        self._auth = auth
        self._limit = limit_bytes
        self._patience = patience
        self._version: str | None = None
        self._head = b""
        self._silences = 0

    async def into(self, part: PartFile) -> Arrival:
        """Return what arrived in `part`; raises TransferFailed, TooLarge, OSError of the disk."""
        while True:
            before = part.size
            try:
                return await self._tried(part)
            except TransferFailed as failure:
                if not failure.verdict.retryable or part.size - before < _WORTH_BYTES:
                    raise

    async def _tried(self, part: PartFile) -> Arrival:
        async for attempt in stamina.retry_context(
            on=self._pause,
            attempts=self._patience.attempts,
            timeout=None,
            wait_initial=self._patience.wait_initial,
            wait_max=self._patience.wait_max,
            wait_jitter=self._patience.wait_initial,
        ):
            with attempt:
                try:
                    return await self._once(part)
                except TransferFailed as failure:
                    if failure.verdict == MISMATCH:
                        self._version = None
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _pause(self, failure: Exception) -> bool | float:
        if not isinstance(failure, TransferFailed) or not failure.verdict.retryable:
            return False
        if failure.verdict.is_silence:
            self._silences += 1
            return self._silences <= _SILENCES
        return failure.verdict.retry_after or True

    async def _once(self, part: PartFile) -> Arrival:
        at = 0 if self._version is None else part.size
        span = Span(at, version=self._version)
        async with self._provider.read(self._url, self._auth, span) as reply:
            self._check(reply.stat.size)
            if reply.start != part.size:
                await part.restart()
            if reply.start == 0:
                self._head = b""
            self._version = reply.stat.version
            await self._copy(reply, part)
        stat = reply.stat
        if stat.size is not None and part.size != stat.size:
            raise TransferFailed(_SHORT)
        return Arrival(self._url, self._head, part.size, stat.content_type, stat.filename)

    async def _copy(self, reply: Reply, part: PartFile) -> None:
        async for chunk in reply.chunks():
            if len(self._head) < HEAD_BYTES:
                self._head += chunk[: HEAD_BYTES - len(self._head)]
            self._check(part.size + len(chunk), told=False)
            await part.add(chunk)

    def _check(self, size: int | None, *, told: bool = True) -> None:
        if size is not None and size > self._limit:
            raise TooLarge(size if told else None)


_SHORT = Verdict("fewer or more bytes arrived than the host had announced", "host", True)
