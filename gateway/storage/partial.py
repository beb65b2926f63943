"""A file that comes in pieces, in any order, and whose pieces outlive a kill."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

from gateway.storage import journal
from gateway.storage.journal import Journal
from gateway.storage.partfile import sync_folder
from gateway.storage.provider import Stat
from gateway.storage.spans import Range, Spans
from gateway.storage.transfer import HEAD_BYTES

#: Bytes between two notes of what is here: at least so many, or this part of the whole.
_NOTE_BYTES = 4 << 20
_NOTES = 64
#: Bytes between two pushes to the disk: the last one then has little left to do.
_SYNC_BYTES = 64 << 20
#: What follows the name of a part in that of the folder of `gathered`.
GATHERED = ".xet"

_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")


class PartialFile:
    """The part file `<stem>.part` and its journal `<stem>.json`; raises OSError.

    Nobody else may hold the stem meanwhile. Without a version nothing can be resumed, and no
    journal is written.
    """

    def __init__(self, folder: Path, stem: str, url: str, threads: Executor) -> None:
        self.path = folder / f"{stem}.part"
        self._note_path = folder / f"{stem}.json"
        self._url = journal.hashed(url)
        self._threads = threads
        self._running: set[asyncio.Future[Any]] = set()
        self._file = -1
        self._stat: Stat | None = None
        self._spans: Spans | None = None
        self._noted = self._pushed = 0
        self._synced: list[Range] = []
        self._note_lock = asyncio.Lock()
        self._push: asyncio.Task[None] | None = None
        self._is_whole = False

    async def open(self) -> Journal | None:
        """Return the journal of what is here already; None when that is nothing of use."""
        found = await self._in_thread(self._open)
        if found is not None:
            self._stat = found.stat
            self._synced = found.here("") or []
        return found

    def _open(self) -> Journal | None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        found = journal.load(self._note_path)
        if found is None or found.url != self._url:
            return None
        here = found.here(journal.boot_id())
        there = os.fstat(self._file).st_size
        if not here or there > found.size or here[-1][1] > there:
            return None
        return found

    async def restart(self, stat: Stat) -> None:
        """Forget every byte; `stat` is of what comes now."""
        await self._stop_pushing()
        # Who was cancelled has left a thread behind, with bytes of what was here before.
        await self._rest()
        self._stat = stat
        self._spans = None
        self._noted = self._pushed = 0
        self._synced = []
        await self._in_thread(self._restart)

    def _restart(self) -> None:
        # In this order: a journal must never speak of bytes that are gone, and a power cut must not
        # bring it back beside the bytes of another version.
        self._note_path.unlink(missing_ok=True)
        sync_folder(self.path.parent)
        os.ftruncate(self._file, 0)

    async def write(self, at: int, chunks: list[bytes]) -> None:
        """Write bytes from `at` on."""
        await self._in_thread(_write, self._file, at, chunks)

    async def note(self, spans: Spans) -> None:
        """Hear what is written; now and then keep that, and push it to the disk."""
        self._spans = spans
        done = spans.done
        size = spans.total or 0
        if done - self._noted >= max(_NOTE_BYTES, size // _NOTES):
            self._noted = done
            await self._keep(spans.written)
        if done - self._pushed >= _SYNC_BYTES and (self._push is None or self._push.done()):
            await self._stop_pushing()
            self._pushed = done
            self._push = asyncio.create_task(self._push_out(spans))

    async def _push_out(self, spans: Spans) -> None:
        ranges = spans.written()
        await self._in_thread(os.fdatasync, self._file)
        self._synced = ranges
        await self._keep(spans.written, is_lasting=True)

    async def _keep(self, written: Callable[[], list[Range]], *, is_lasting: bool = False) -> None:
        if self._stat is None:
            return
        async with self._note_lock:
            told = Journal.of(self._url, self._stat, written(), self._synced)
            if told is None:
                return
            await self._in_thread(self._save, told)
        if is_lasting:
            # Outside the lock: meanwhile the next note, which is no worse, may take its place.
            await self._in_thread(self._settle)

    def _save(self, told: Journal) -> None:
        if not self._is_followed():
            journal.save(self._note_path, told)

    def _settle(self) -> None:
        if not self._is_followed():
            journal.settle(self._note_path)

    async def finish(self, whole: list[Range]) -> bytes:
        """Make the whole file survive a power cut; return its first bytes."""
        await self._stop_pushing()
        self._spans = None
        await self._in_thread(os.fsync, self._file)
        self._synced = whole
        await self._keep(lambda: whole, is_lasting=True)
        self._is_whole = True
        return await self._in_thread(os.pread, self._file, HEAD_BYTES, 0)

    async def _stop_pushing(self) -> None:
        if self._push is not None:
            await self._push
            self._push = None

    async def close(self) -> None:
        """Let go of the file, once no thread works on it any more.

        What is here is noted; what no later run could go on with is removed.
        """
        if self._push is not None:
            self._push.cancel()
            await asyncio.gather(self._push, return_exceptions=True)
        with contextlib.suppress(OSError):
            if self._spans is not None:
                await self._keep(self._spans.written)
        await self._rest()
        if self._file >= 0:
            if not self._is_whole:
                await self._in_thread(self._remove_useless)
            os.close(self._file)
            # Its number will be another file's.
            self._file = -1

    def _remove_useless(self) -> None:
        with contextlib.suppress(OSError):
            if not self._is_followed() and not is_resumable(self.path, self._note_path):
                discard(self.path.parent, self.path.stem)

    def _is_followed(self) -> bool:
        """Whether another holder of the stem has put a file of its own in place of ours."""
        ours = os.fstat(self._file)
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return True
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    async def _rest(self) -> None:
        """Wait until no thread works on the files."""
        while self._running:
            await asyncio.wait(self._running)

    async def _in_thread(
        self, work: Callable[[*_Arguments], _Result], *arguments: *_Arguments
    ) -> _Result:
        # Threads of our own: a slow disk must not hold up those of the rest of the process.
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        # Shielded: a thread works on when its caller is cancelled, and `close` waits for it.
        return await asyncio.shield(future)


def _write(file: int, at: int, chunks: list[bytes]) -> None:
    written = os.pwritev(file, chunks, at)
    rest = memoryview(b"".join(chunks))[written:] if written < sum(map(len, chunks)) else b""
    while rest:
        at += written
        written = os.pwrite(file, rest, at)
        rest = rest[written:]


def is_resumable(part: Path, note: Path) -> bool:
    """Whether a later run may go on with a part, as far as its size and its journal tell."""
    found = journal.load(note)
    return found is not None and bool(found.here(journal.boot_id())) and part.stat().st_size > 0


def note_whole(folder: Path, stem: str, url: str, stat: Stat) -> None:
    """Note that all of a part is here, and on the disk: a later run only confirms it."""
    whole = [(0, stat.size)] if stat.size else []
    told = Journal.of(journal.hashed(url), stat, whole, whole)
    if told is not None:
        journal.save(folder / f"{stem}.json", told)
        journal.settle(folder / f"{stem}.json")


def gathered(part: Path) -> Path:
    """Return the folder in which a program may gather a file before it becomes the part."""
    return part.with_name(f"{part.name}{GATHERED}")


def discard(folder: Path, stem: str) -> None:
    """Remove what is left of a stem."""
    for name in (f"{stem}.json", f"{stem}.json.new", f"{stem}.part"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(gathered(folder / f"{stem}.part"), ignore_errors=True)
