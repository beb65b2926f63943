"""The cache folder as it is on the disk. Everything here belongs in a thread, one at a time."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from gateway.models import names, record
from gateway.models.index import File
from gateway.models.layout import ASIDE, Layout
from gateway.storage.claim import claims
from gateway.storage.hf_whole import bytes_in
from gateway.storage.partfile import LEFTOVER_AGE_S, sync_folder
from gateway.storage.partial import GATHERED

#: A file touched this much later than we know, in seconds, was used by another process.
_OTHERS_USE_S = 1.0
_STEM = names.STEM_LENGTH


@dataclass(frozen=True)
class Part:
    """A file on its way; `touched_at` in seconds since the epoch."""

    stem: str
    size: int
    #: What it takes of the disk: a part may have holes.
    allocated: int
    touched_at: float
    #: Whether there is a journal, without which nothing goes on with it.
    is_noted: bool = True


@dataclass(frozen=True)
class Survey:
    """What takes room beside the finished files."""

    #: Every part on the disk, by stem, the least recently written first.
    parts: dict[str, Part]
    #: What is claimed by any process, and how many bytes it has reserved.
    claimed: dict[str, int]
    #: Bytes the disk has free.
    free: int

    def size(self, stem: str) -> int:
        """Return how long a part is."""
        part = self.parts.get(stem)
        return part.size if part else 0

    def allocated(self, stem: str) -> int:
        """Return what a part takes of the disk."""
        part = self.parts.get(stem)
        return part.allocated if part else 0


class Shelf:
    """Lists, removes and places files; remembers how the folder looked last."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._seen: int | None = None

    def make(self) -> None:
        """Make the folders. Raises OSError."""
        for folder in (self.layout.partial, self.layout.records, self.layout.pins):
            folder.mkdir(parents=True, exist_ok=True)

    def clear_up(self, now: float) -> None:
        """Remove the crumbs of killed processes; `now` in seconds since the epoch."""
        partial = self.layout.partial
        crumbs = [
            *(
                path
                for path in (*partial.glob("*.json"), *partial.glob("*.json.new"))
                if not self.layout.part(path.name[:_STEM]).exists()
            ),
            *self.layout.records.glob(".*.tmp"),
            *self.layout.pins.glob("*.tmp"),
        ]
        for path in crumbs:
            with contextlib.suppress(OSError):
                if now - path.stat().st_mtime > LEFTOVER_AGE_S:
                    path.unlink()

    def scan(self) -> list[File]:
        """Return every file, the least recently used first. Raises OSError."""
        self._seen = self._mtime()
        found = [_file(entry) for entry in _models(self.layout.cache)]
        return sorted((file for file in found if file), key=lambda file: file.used_at)

    def listing(self, *, is_shared: bool) -> dict[str, int] | None:
        """Return the inode of each name; None when nothing was added or removed since.

        A shared folder is always read: its time of change is too coarse to tell. What a killed
        process was about to remove is there again.
        """
        self._put_back_all()
        mtime = self._mtime()
        if mtime == self._seen and not is_shared:
            return None
        self._seen = mtime
        return {entry.name: entry.inode() for entry in _models(self.layout.cache)}

    def seen(self, name: str) -> File | None:
        """Return a file as it is now; None when there is none."""
        path = self.layout.cache / name
        with contextlib.suppress(FileNotFoundError):
            return file_of(name, os.stat(path, follow_symlinks=False))
        return None

    def survey(self) -> Survey:
        """Return what takes room beside the files. Raises OSError."""
        parts = sorted(_parts(self.layout.partial), key=lambda part: part.touched_at)
        living = {one.stem: one.reserved for one in claims(self.layout.partial) if one.is_alive}
        free = shutil.disk_usage(self.layout.cache).free
        return Survey({part.stem: part for part in parts}, living, free)

    def remove(
        self,
        files: Iterable[File],
        *,
        if_unused: bool = True,
        pinned: Callable[[], Set[str]] | None = None,
    ) -> dict[str, float | None]:
        """Remove files with their records; returns what became of each that was looked at.

        None: it is gone. A time: another process used it then, and it stays. `pinned` tells the
        stems that others need; None: there is nobody else, or the file shall go all the same.
        Raises OSError.
        """
        with self._own_change():
            return {file.name: self._removed(file, if_unused, pinned) for file in files}

    def _removed(
        self, file: File, if_unused: bool, pinned: Callable[[], Set[str]] | None
    ) -> float | None:
        if if_unused:
            now = self.seen(file.name)
            if now is not None and now.used_at > file.used_at + _OTHERS_USE_S:
                return now.used_at
        path = self.layout.cache / file.name
        if pinned is not None and not self._is_gone_unpinned(path, file, pinned):
            return time.time()
        # In this order: a file without a record is verified again before it is served.
        record.remove(self.layout.records, file.stem)
        path.unlink(missing_ok=True)
        return None

    def _is_gone_unpinned(self, path: Path, file: File, pinned: Callable[[], Set[str]]) -> bool:
        """Remove a file, unless others need it.

        They say that they do, and then look whether it is there: one who saw it has said so by the
        time it is out of sight, and one who asks later fetches it.
        """
        if file.stem in pinned():
            return False
        aside = self.layout.aside(file.name)
        with contextlib.suppress(FileNotFoundError):
            path.rename(aside)
        if file.stem in pinned():
            self._put_back(aside)
            return False
        record.remove(self.layout.records, file.stem)
        aside.unlink(missing_ok=True)
        return True

    def _put_back_all(self) -> None:
        for aside in self.layout.partial.glob(f"*{ASIDE}"):
            self._put_back(aside)

    def _put_back(self, aside: Path) -> None:
        path = self.layout.cache / aside.name.removesuffix(ASIDE)
        with contextlib.suppress(FileNotFoundError):
            if path.exists():
                aside.unlink()
            else:
                aside.rename(path)

    def place(self, part: Path, name: str, note: record.Record, used_at: float) -> File:
        """Give a verified part its final name. Raises OSError."""
        path = self.layout.cache / name
        os.utime(part, (used_at, used_at))
        # First: a file that needs credentials is never there without word of it.
        record.write(self.layout.records, name[: names.STEM_LENGTH], note)
        with self._own_change():
            part.replace(path)
        sync_folder(self.layout.cache)
        file = file_of(name, path.stat())
        file.record, file.is_settled, file.used_at = note, True, used_at
        return file

    def touch(self, uses: dict[str, float]) -> None:
        """Write down when files were used last."""
        for name, at in uses.items():
            with contextlib.suppress(OSError):
                os.utime(self.layout.cache / name, (at, at))

    @contextlib.contextmanager
    def _own_change(self) -> Iterator[None]:
        is_known = self._mtime() == self._seen
        try:
            yield
        finally:
            if is_known:
                self._seen = self._mtime()

    def _mtime(self) -> int:
        return self.layout.cache.stat().st_mtime_ns


def file_of(name: str, status: os.stat_result) -> File:
    """Return a file as its status has it."""
    return File(name, status.st_size, status.st_mtime, status.st_dev, status.st_ino)


def _models(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if names.stem_of(entry.name) and entry.is_file(follow_symlinks=False):
                yield entry


def _file(entry: os.DirEntry[str]) -> File | None:
    try:
        return file_of(entry.name, entry.stat(follow_symlinks=False))
    except FileNotFoundError:
        return None


def _parts(folder: Path) -> Iterator[Part]:
    try:
        with os.scandir(folder) as entries:
            found = {entry.name: entry for entry in entries}
    except FileNotFoundError:
        return
    for name, entry in found.items():
        stem, _, suffix = name.partition(".")
        if names.stem_of(stem) != stem or suffix not in ("part", f"part{GATHERED}"):
            continue
        with contextlib.suppress(FileNotFoundError):
            status = entry.stat(follow_symlinks=False)
            size, allocated = status.st_size, status.st_blocks * 512
            if suffix != "part":
                # It becomes the part: there is never both.
                size = allocated = bytes_in(Path(entry.path))
            yield Part(stem, size, allocated, status.st_mtime, f"{stem}.json" in found)
