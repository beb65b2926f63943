"""The sha256 of the models that jobs use: told where it is known, else reckoned in their wake."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import stat
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from gateway.config import Settings
from gateway.log import logger
from gateway.models import names, record
from gateway.models.checksums import Checksums, Seen
from gateway.models.layout import Layout
from gateway.models.links import Links

#: Bytes read at a time: some milliseconds, after which a stop is heard.
_CHUNK = 4 * 1024 * 1024
#: Models that wait to be read; more are read when a later job uses them.
_MOST_WAITING = 256
#: While a job runs, the disk is left to it for so many times as long as it was read.
_REST = 4

#: Asks where ComfyUI looks for the files of a folder; empty: it cannot say.
AskPaths = Callable[[str], Awaitable[Sequence[Path]]]


class Hashes:
    """Knows checksums; `known` is for threads, the others for the event loop."""

    def __init__(
        self,
        links: Links,
        layout: Layout,
        checksums: Checksums,
        *,
        ask_paths: AskPaths,
        is_busy: Callable[[], bool],
        is_reading: bool = True,
    ) -> None:
        """`is_busy` says whether a job runs; with `is_reading` false no file is ever read."""
        self._links = links
        self._layout = layout
        self._checksums = checksums
        self._ask_paths = ask_paths
        self._is_busy = is_busy
        self._is_reading = is_reading
        #: Folder -> where else than we know ComfyUI looks for its files.
        self._elsewhere: dict[str, Sequence[Path]] = {}
        self._waiting: asyncio.Queue[tuple[str, str]] = asyncio.Queue(_MOST_WAITING)
        self._asked: set[tuple[str, str]] = set()
        self._stop = threading.Event()

    @classmethod
    def of(
        cls, settings: Settings, links: Links, ask_paths: AskPaths, is_busy: Callable[[], bool]
    ) -> Self:
        """Return what the settings ask for."""
        return cls(
            links,
            Layout(settings.cache),
            Checksums(settings.state / "model-hashes.json"),
            ask_paths=ask_paths,
            is_busy=is_busy,
            is_reading=settings.hash_models,
        )

    def known(self, folder: str, name: str) -> str | None:
        """Return the sha256 of a model; None while it was not reckoned, and for a folder."""
        found = self._find(folder, name)
        return None if found is None else self._told(*found)

    def want(self, models: Iterable[tuple[str, str]]) -> None:
        """Have models read, each a (folder, name); returns at once."""
        for model in models:
            if not self._is_reading or model in self._asked:
                continue
            with contextlib.suppress(asyncio.QueueFull):
                self._waiting.put_nowait(model)
                self._asked.add(model)

    async def run(self) -> None:
        """Read what is wanted, one after the other, in a thread of its own."""
        # Not a thread of lower priority: one that holds the interpreter's lock, and gets no
        # processor, would stop all others. It rests instead.
        reader = ThreadPoolExecutor(1, thread_name_prefix="hashes")
        loop = asyncio.get_running_loop()
        try:
            while True:
                model = await self._waiting.get()
                await self._learn(*model)
                await loop.run_in_executor(reader, self._reckon, *model)
                self._asked.discard(model)
        finally:
            self._stop.set()
            reader.shutdown(wait=False)

    async def _learn(self, folder: str, name: str) -> None:
        if await asyncio.to_thread(self._find, folder, name) is None:
            self._elsewhere[folder] = await self._ask_paths(folder)

    def _find(self, folder: str, name: str) -> tuple[str, Seen] | None:
        """Return where a model lies for real, and what it looks like; None: it is no file."""
        if (path := self._path(folder, name)) is None:
            return None
        try:
            real = os.path.realpath(path)
            status = os.stat(real)
        except (OSError, ValueError):
            return None
        return (real, Seen.of(status)) if stat.S_ISREG(status.st_mode) else None

    def _path(self, folder: str, name: str) -> Path | None:
        found = self._links.find(folder, name)
        if found is not None or name.startswith("/") or ".." in name.split("/"):
            return found
        others = (path / name for path in self._elsewhere.get(folder, ()))
        with contextlib.suppress(OSError, ValueError):
            return next((path for path in others if path.is_file()), None)
        return None

    def _told(self, path: str, seen: Seen) -> str | None:
        return self._checksums.of(path, seen) or self._recorded(path, seen)

    def _recorded(self, path: str, seen: Seen) -> str | None:
        """Return what the cache noted of a file when it was fetched."""
        folder, name = os.path.split(path)
        stem = names.stem_of(name)
        if stem is None or folder != os.path.realpath(self._layout.cache):
            return None
        note = record.read(self._layout.records, stem)
        if note is None or not note.verified or note.size != seen.size or not note.sha256:
            return None
        self._checksums.learn(path, seen, note.sha256, is_kept=False)
        return note.sha256

    def _reckon(self, folder: str, name: str) -> None:
        found = self._find(folder, name)
        if found is None or self._told(*found) is not None:
            return
        path, seen = found
        try:
            sha256 = self._digest(path)
            is_same = Seen.of(os.stat(path)) == seen
        except OSError as failure:
            logger.warning(
                "a model could not be read for its checksum",
                model=f"{folder}/{name}",
                reason=failure.strerror or str(failure),
            )
            return
        # What changed meanwhile is read again when a job uses it again.
        if sha256 is not None and is_same:
            self._checksums.learn(path, seen, sha256)

    def _digest(self, path: str) -> str | None:
        """Return the sha256 of a file; None when the gateway stops meanwhile."""
        digest, buffer = hashlib.sha256(), bytearray(_CHUNK)
        view = memoryview(buffer)
        with open(path, "rb", buffering=0) as file:
            while not self._stop.is_set():
                began = time.monotonic()
                size = file.readinto(buffer)
                if not size:
                    return digest.hexdigest()
                digest.update(view[:size])
                if self._is_busy():
                    self._stop.wait(_REST * (time.monotonic() - began))
        return None
