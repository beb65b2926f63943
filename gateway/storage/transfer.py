"""One file on its way in: tried again, resumed where its source allows, never stitched."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from gateway import errors
from gateway.schemas import Auth
from gateway.storage.crew import Crew
from gateway.storage.failures import EXPIRED, MISMATCH, ClaimLost, TransferFailed, Verdict
from gateway.storage.pace import Batch, Pace, Patience
from gateway.storage.provider import Provider, Reply, Span, Stat
from gateway.storage.spans import Piece, Range, Spans
from gateway.storage.trials import Trials

HEAD_BYTES = 1 << 16
#: Bytes after which a broken transfer has earned a fresh set of attempts.
_WORTH_BYTES = 64 << 20
#: A connection of its own for fewer bytes than this is not worth it.
SMALLEST_SPAN = 4 << 20


@dataclass(frozen=True)
class Arrival:
    """What is known of a file that has arrived: its first bytes, and what the host said."""

    url: str
    head: bytes
    size: int
    content_type: str | None
    filename: str | None


@dataclass(frozen=True)
class Source:
    """A URL, and who reads it."""

    provider: Provider
    url: str
    auth: Auth | None

    def read(self, span: Span) -> AbstractAsyncContextManager[Reply]:
        """Ask for a part."""
        return self.provider.read(self.url, self.auth, span)


class Target(Protocol):
    """Where the bytes go. Whatever it raises ends the transfer."""

    async def begin(self, stat: Stat) -> None:
        """Forget every byte: the file comes from its first one on."""
        ...

    async def write(self, at: int, chunks: list[bytes]) -> None:
        """Take bytes that begin at `at`; with one connection they come in their order."""
        ...

    async def wrote(self, spans: Spans) -> None:
        """Hear what is written by now."""
        ...


class Transfer:
    """Brings one source into one target, over one connection or several."""

    def __init__(
        self, source: Source, target: Target, patience: Patience, crew: Crew | None = None
    ) -> None:
        self._source = source
        self._target = target
        self._patience = patience
        self._crew = crew or Crew(1)
        self._stat: Stat | None = None
        self._spans = Spans(None)
        #: The most bytes that have ever been here: beginning again is no progress.
        self._most = 0
        self._has_arrived = False
        #: What ended one of the helpers, and so all of it.
        self._broken: Exception | None = None

    def resume(self, stat: Stat, here: Iterable[Range]) -> None:
        """Know what an earlier transfer of this version has left in the target."""
        self._stat = stat
        self._spans = Spans(stat.size, here)
        self._most = self._spans.done

    async def run(self) -> Stat:
        """Return what has arrived, with its size.

        Raises TransferFailed and what the target raises.
        """
        try:
            await self._persist(self._bring_all)
        finally:
            await self._crew.dismiss()
        assert self._stat is not None
        return replace(self._stat, size=self._spans.total)

    async def _persist(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            before = self._most
            try:
                return await self._tried(work)
            except TransferFailed as failure:
                if not failure.verdict.retryable or self._most - before < _WORTH_BYTES:
                    raise

    async def _tried(self, work: Callable[[], Awaitable[None]]) -> None:
        trials = Trials(self._patience, lambda: self._most)
        async for attempt in self._patience.tries(trials.pause):
            with attempt:
                return await work()
        raise AssertionError("the last attempt returns or raises")

    async def _bring_all(self) -> None:
        """Bring what is missing; only here a transfer begins again."""
        try:
            if self._stat is not None and self._spans.is_complete:
                await self._confirm()
            while self._stat is None or not self._spans.is_complete:
                if self._stat is None or self._stat.version is None:
                    await self._forget()
                piece = self._spans.take(SMALLEST_SPAN)
                if piece is None:
                    await self._crew.change()
                    if self._broken is not None:
                        raise self._broken
                else:
                    await self._bring(piece, self._admit)
        except TransferFailed as failure:
            if failure.verdict == MISMATCH:
                await self._forget()
            raise self._explained(failure) from failure

    async def _confirm(self) -> None:
        """Ask whether what is whole already is what the source still has, and gives us."""
        last = Piece.missing(max(0, (self._spans.total or 0) - 1), self._spans.total)
        version = self._stat.version if self._stat else None
        async with self._source.read(Span(last.taken, last.end, version)) as reply:
            if not self._continues(last, reply):
                raise TransferFailed(MISMATCH)

    def _explained(self, failure: TransferFailed) -> TransferFailed:
        had = self._has_arrived or (self._most > 0 and self._source.auth is None)
        return TransferFailed(EXPIRED) if failure.verdict.is_refused and had else failure

    async def _forget(self) -> None:
        await self._crew.dismiss()
        self._stat = None
        self._spans = Spans(None)

    async def _bring(self, piece: Piece, admit: Callable[[Piece, Reply], Awaitable[Piece]]) -> None:
        """Ask for a piece, and write it as far as it comes."""
        version = self._stat.version if self._stat else None
        # From the first byte on everything is asked for: a host that ignores spans sends it anyway.
        end = None if not piece.taken or piece.end == self._spans.total else piece.end
        try:
            async with self._source.read(Span(piece.taken, end, version)) as reply:
                admitted = await admit(piece, reply)
                reach = end if end is not None and admitted is piece else self._spans.total
                piece = admitted
                await self._copy(piece, reply, reach)
        finally:
            self._spans.release(piece)
            self._crew.changed()

    async def _admit(self, piece: Piece, reply: Reply) -> Piece:
        """Return the piece that this reply brings: all of the file, when that begins again."""
        if not self._continues(piece, reply):
            if reply.start:
                raise TransferFailed(MISMATCH)
            await self._forget()
            await self._target.begin(reply.stat)
            self._stat = reply.stat
            self._spans = Spans(reply.stat.size)
            # An empty file has no piece.
            piece = self._spans.take(SMALLEST_SPAN) or Piece.missing(0, 0)
        piece.is_coming = True
        if self._is_divisible():
            self._crew.recruit(self._help, lambda: self._spans.done)
        return piece

    def _continues(self, piece: Piece, reply: Reply) -> bool:
        known, found = self._stat, reply.stat
        if known is None or reply.start != piece.taken or found.version != known.version:
            return False
        return found.size in (None, known.size)

    def _is_divisible(self) -> bool:
        stat = self._stat
        if stat is None or stat.version is None or not stat.is_ranged:
            return False
        return (stat.size or 0) >= 4 * SMALLEST_SPAN

    async def _copy(self, piece: Piece, reply: Reply, reach: int | None) -> None:
        """Write the body as far as the piece goes; `reach` is where the body shall end."""
        batch = Batch()
        try:
            await self._receive(piece, reply, reach, batch)
        except TransferFailed:
            # What has come is not asked for again.
            await self._store(piece, batch)
            raise
        await self._store(piece, batch)
        if piece.end is None:
            self._spans.end(piece)

    async def _receive(self, piece: Piece, reply: Reply, reach: int | None, batch: Batch) -> None:
        try:
            async with asyncio.timeout(None) as deadline:
                pace = Pace(deadline, self._patience)
                async for chunk in reply.chunks():
                    pace.count(len(chunk))
                    kept = self._kept(piece, chunk, reach)
                    batch.add(kept)
                    piece.taken += len(kept)
                    if batch.is_due(piece):
                        with pace.resting():
                            await self._store(piece, batch)
                    if len(kept) < len(chunk) or self._is_over(piece, reach):
                        return
        except TimeoutError:
            raise TransferFailed(_SLOW) from None
        if piece.left:
            raise TransferFailed(_SHORT)

    def _kept(self, piece: Piece, chunk: bytes, reach: int | None) -> bytes:
        while piece.left is not None and piece.left < len(chunk):
            if piece.end == reach:
                raise TransferFailed(_LONG)
            if not self._spans.absorb(piece):
                return chunk[: piece.left]
        return chunk

    def _is_over(self, piece: Piece, reach: int | None) -> bool:
        """Whether the rest of the body is somebody else's; its own end shall be seen."""
        return piece.left == 0 and piece.end != reach and not self._spans.absorb(piece)

    async def _store(self, piece: Piece, batch: Batch) -> None:
        if self._broken is not None:
            raise self._broken
        chunks = batch.emptied()
        if not chunks:
            return
        upto = piece.taken
        await self._target.write(piece.written, chunks)
        piece.written = upto
        self._has_arrived = True
        self._most = max(self._most, self._spans.done)
        await self._target.wrote(self._spans)

    # Beside the first connection

    async def _help(self) -> None:
        """Bring parts, until none is left or the source tires."""
        try:
            await self._persist(self._bring_some)
        except TransferFailed:
            # The first connection goes on, and is the one to tell.
            self._crew.close()
        except (OSError, errors.GatewayError, ClaimLost) as failure:
            self._broken = failure

    async def _bring_some(self) -> None:
        while piece := self._spans.take(SMALLEST_SPAN):
            try:
                await self._bring(piece, self._admit_part)
            except TransferFailed as failure:
                if failure.verdict == MISMATCH:
                    raise TransferFailed(_NO_PARTS) from failure
                raise

    async def _admit_part(self, piece: Piece, reply: Reply) -> Piece:
        """Return the piece, now that its own bytes come; nothing else is of use here."""
        if not self._continues(piece, reply):
            raise TransferFailed(_NO_PARTS)
        piece.is_coming = True
        return piece


_SHORT = Verdict("fewer or more bytes arrived than the host had announced", "host", True)
_LONG = Verdict("more bytes arrived than the host had announced", "host")
_SLOW = Verdict("its bytes came too slowly to ever become a file", "host", True, is_silence=True)
_NO_PARTS = Verdict("the host does not give parts of it", "host")
