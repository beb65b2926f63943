"""The files of the cache, in memory, in the order of their last use."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cachetools

from gateway.models import names
from gateway.models.record import Record


@dataclass(slots=True)
class File:
    """A file that lies in the cache, as it was last seen."""

    name: str
    size: int
    #: Seconds since the epoch.
    used_at: float
    device: int
    inode: int
    #: Read on first need.
    record: Record | None = None
    #: Whether it may be served: verified, and its record is known.
    is_settled: bool = False
    #: Whether it is being removed: who wants it waits, and fetches it again.
    is_doomed: bool = False

    @property
    def stem(self) -> str:
        """The name without its extension."""
        return self.name[: names.STEM_LENGTH]


class _Recency(cachetools.LRUCache[str, File]):
    """Files by name; iterating begins with the least recently used, as `popitem` does.

    An LRUCache iterates in the order of insertion, so a use is a removal and an insertion.
    """

    def use(self, name: str) -> None:
        """Make a file the most recently used."""
        file = self.pop(name)
        self[name] = file


class Index:
    """What is in the cache; instant, and not for threads."""

    def __init__(self) -> None:
        self._by_recency = _Recency(math.inf, getsizeof=lambda file: file.size)
        self._by_stem: dict[str, File] = {}
        self._files: dict[str, File] = {}

    def __len__(self) -> int:
        return len(self._files)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return int(self._by_recency.currsize)

    def add(self, file: File) -> None:
        """Take a file in, as the most recently used; one of the same name is replaced."""
        self.forget(file.name)
        self._files[file.name] = file
        self._by_recency[file.name] = file
        self._by_stem[file.stem] = file

    def forget(self, name: str) -> None:
        """Forget a file, if it is known."""
        file = self._files.pop(name, None)
        if file is None:
            return
        del self._by_recency[name]
        if self._by_stem.get(file.stem) is file:
            del self._by_stem[file.stem]

    def named(self, name: str) -> File | None:
        """Return the file of this name."""
        return self._files.get(name)

    def of_stem(self, stem: str) -> File | None:
        """Return the file of this stem."""
        return self._by_stem.get(stem)

    def use(self, file: File, at: float) -> None:
        """Note that a file is in use now, `at` in seconds since the epoch."""
        file.used_at = at
        if file.name in self._files:
            self._by_recency.use(file.name)

    def oldest_first(self) -> Iterator[File]:
        """Return the files, the least recently used first."""
        files = self._files
        return (files[name] for name in self._by_recency)

    def known(self) -> dict[str, int]:
        """Return the inode of each name."""
        return {name: file.inode for name, file in self._files.items()}
