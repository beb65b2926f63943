"""What other processes that share the cache folder have in use.

Each writes `.pins/<instance>.json`, and touches it while it lives; a file that nobody has touched
for long, or whose process is known to be gone, is nobody's.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import uuid
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.storage import author as authors
from gateway.storage.author import Author

#: Seconds between two touches.
HEARTBEAT_S = 20.0
_SILENCE_S = 90.0


@dataclass(frozen=True)
class InUse:
    """Stems that others need now, and those they used lately."""

    pinned: frozenset[str] = frozenset()
    recent: frozenset[str] = frozenset()
    #: Whether any other process shares the folder.
    is_shared: bool = False


class Peers:
    """This process's own word to the others, and theirs; everything belongs in a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / f"{uuid.uuid4().hex}.json"
        self._written: tuple[Set[str], Set[str]] | None = None
        # The heartbeat and a download may both have something to say.
        self._lock = threading.Lock()

    def write(self, pinned: Set[str], recent: Set[str]) -> None:
        """Tell the others; costs a touch when nothing has changed. Raises OSError."""
        with self._lock:
            self._write(pinned, recent)

    def _write(self, pinned: Set[str], recent: Set[str]) -> None:
        if (pinned, recent) == self._written:
            with contextlib.suppress(FileNotFoundError):
                os.utime(self._path)
                return
        said = {**vars(authors.own()), "pinned": sorted(pinned), "recent": sorted(recent)}
        beside = self._path.with_suffix(".tmp")
        self._folder.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(said), encoding="utf-8")
        beside.replace(self._path)
        self._written = (pinned, recent)

    def read(self) -> InUse:
        """Return what the others said, and remove what the dead left."""
        pinned: set[str] = set()
        recent: set[str] = set()
        others = [path for path in _listed(self._folder) if path != self._path]
        alive = [said for path in others if (said := self._living(path)) is not None]
        for said in alive:
            pinned.update(said.get("pinned", ()))
            recent.update(said.get("recent", ()))
        return InUse(frozenset(pinned), frozenset(recent), bool(alive))

    def close(self) -> None:
        """Say no more."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _living(self, path: Path) -> dict[str, Any] | None:
        try:
            touched = path.stat().st_mtime
            said: dict[str, Any] = json.loads(path.read_bytes())
            author = Author(said["host"], said["pid"], said["started"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        is_here = author.host == authors.own().host
        if authors.is_gone(author) if is_here else self._now() - touched > _SILENCE_S:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        return said

    def _now(self) -> float:
        """Return the time of the folder's own host: clocks of hosts differ."""
        try:
            os.utime(self._path)
            return self._path.stat().st_mtime
        except OSError:
            return 0.0


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.glob("*.json"))
    except OSError:
        return []
