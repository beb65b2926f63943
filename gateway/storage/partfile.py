"""A file that is written beside its final name, and gets that name only when it is whole."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import shutil
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

#: Bytes gathered before the disk is troubled.
CHUNK_BYTES = 1 << 20
#: Seconds after which even a little is written: a live file's mtime is never old.
_LONGEST_WAIT_S = 20.0
#: A part older than this, in seconds, belongs to nobody: its writer would have failed long ago.
LEFTOVER_AGE_S = 600.0

_NAME = re.compile(r"\.fetch-[0-9a-f]{32}\.part")


class PartFile:
    """Bytes on their way to a file; leaving the context without `keep` removes them.

    Every method that touches the disk runs in a thread. Raises OSError.
    """

    def __init__(self, folder: Path) -> None:
        # Unique for each writer: file locks lie on network disks.
        self.path = folder / f".fetch-{uuid.uuid4().hex}.part"
        self._file: io.FileIO | None = None
        self._over = False
        # A cancelled task leaves its thread behind: the two must not meet over one descriptor.
        self._lock = threading.Lock()
        self._waiting = bytearray()
        self._written = 0
        self._flushed_at = time.monotonic()

    @property
    def size(self) -> int:
        """Bytes taken so far."""
        return self._written + len(self._waiting)

    async def __aenter__(self) -> Self:
        # The file is made with its first byte: a cancel can then not fall in between.
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Shielded: a second cancel must not leave the half file behind.
        await asyncio.shield(asyncio.to_thread(self.discard))

    async def add(self, chunk: bytes) -> None:
        """Take some bytes; now and then they go to the disk."""
        self._waiting += chunk
        late = time.monotonic() - self._flushed_at > _LONGEST_WAIT_S
        if len(self._waiting) >= CHUNK_BYTES or late:
            await asyncio.to_thread(self.flush)

    def write(self, chunk: bytes) -> None:
        """Write some bytes at once; for callers that are in a thread already."""
        self._waiting += chunk
        self.flush()

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            if self._over:
                return
            view = memoryview(bytes(self._waiting))
            self._waiting.clear()
            file = self._opened()
            while view:
                done = file.write(view)
                self._written += done
                view = view[done:]
            self._flushed_at = time.monotonic()

    def _opened(self) -> io.FileIO:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = io.FileIO(self.path, "xb")
        return self._file

    async def restart(self) -> None:
        """Forget every byte."""
        self._waiting.clear()
        await asyncio.to_thread(self._truncate)

    def _truncate(self) -> None:
        with self._lock:
            if self._file is not None and not self._over:
                self._file.seek(0)
                self._file.truncate()
            self._written = 0

    def sync(self) -> None:
        """Make what was taken survive a power cut."""
        self.flush()
        with self._lock:
            if not self._over:
                os.fsync(self._opened().fileno())

    def keep(self, path: Path) -> None:
        """Give the file its final name."""
        self.sync()
        with self._lock:
            if self._over:
                return
            self._close()
            self.path.replace(path)
        sync_folder(path.parent)

    def discard(self) -> None:
        """Remove the file unless it was kept."""
        with self._lock:
            self._close()
            self.path.unlink(missing_ok=True)

    def _close(self) -> None:
        self._over = True
        if self._file is not None:
            self._file.close()


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_leftovers(folder: Path, now: float) -> list[Path]:
    """Remove what killed writers left in `folder`; `now` in seconds since the epoch."""
    removed = []
    for path in folder.glob(".fetch-*.part"):
        with contextlib.suppress(OSError):
            if _NAME.fullmatch(path.name) and now - path.stat().st_mtime > LEFTOVER_AGE_S:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                removed.append(path)
    return removed
