"""The checksums of files as they were when they were read, kept on the disk; for threads."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cachetools import LRUCache

from gateway.log import logger

#: A file of them is some hundred KiB; the longest unused are forgotten.
MOST = 4096


@dataclass(frozen=True)
class Seen:
    """What a file looked like: while that is the same, it is taken for the same file."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return what a file looks like now."""
        return cls(status.st_size, status.st_mtime_ns)


class Checksums:
    """Remembers over restarts; what cannot be read or written is reckoned anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: LRUCache[str, tuple[Seen, str]] | None = None

    def of(self, path: str, seen: Seen) -> str | None:
        """Return the sha256 of a file that still looks so; None when it is not known."""
        with self._lock:
            found = self._loaded().get(path)
        return found[1] if found and found[0] == seen else None

    def learn(self, path: str, seen: Seen, sha256: str, *, is_kept: bool = True) -> None:
        """Remember a checksum, on the disk too unless it stands there elsewhere."""
        with self._lock:
            known = self._loaded()
            known[path] = seen, sha256
            if is_kept:
                self._write(known)

    def _loaded(self) -> LRUCache[str, tuple[Seen, str]]:
        if self._known is None:
            self._known = LRUCache(MOST)
            # What is damaged, or of no version that we know, is reckoned again.
            with contextlib.suppress(OSError, ValueError, TypeError):
                for name, size, mtime_ns, sha256 in json.loads(self._path.read_bytes()):
                    self._known[str(name)] = Seen(int(size), int(mtime_ns)), str(sha256)
        return self._known

    def _write(self, known: Mapping[str, tuple[Seen, str]]) -> None:
        rows = [[name, seen.size, seen.mtime_ns, sha256] for name, (seen, sha256) in known.items()]
        beside = self._path.with_name(f".{self._path.name}.tmp")
        try:
            beside.write_text(json.dumps(rows), encoding="ascii")
            beside.replace(self._path)
        except OSError as failure:
            logger.warning("checksums could not be kept", path=self._path.name, reason=str(failure))
