"""Which files of the input folder are ours, who holds them, and when each was last used.

Every file that we make has an empty marker of the same name in the ledger's folder; the marker's
mtime is the file's last use. What has no marker was there before us, and is never touched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from gateway.storage.partfile import remove_leftovers

#: Seconds that a file lives at least: it is on its way into a graph.
_GRACE_S = 30.0


class Ledger:
    """Owns the life of the files we make.

    `hold`, `release` and `is_ours` are instant; everything else touches the disk and belongs in
    a thread.
    """

    def __init__(
        self, files: Path, markers: Path, ttl_s: float, clock: Callable[[], float]
    ) -> None:
        self._files = files
        self._markers = markers
        self._ttl = max(ttl_s, _GRACE_S)
        self._clock = clock
        self._names: dict[str, str] = {}
        self._used: dict[str, float] = {}
        self._stale_markers: set[str] = set()
        self._held: dict[str, set[str]] = {}
        self._holders: dict[str, int] = {}
        # Threads look files up while another sweeps: none may be found and then removed.
        self._lock = threading.RLock()

    def load(self) -> None:
        """Read the markers of earlier runs, and clear what killed writers left."""
        self._files.mkdir(parents=True, exist_ok=True)
        self._markers.mkdir(parents=True, exist_ok=True)
        with self._lock:
            for entry in os.scandir(self._markers):
                self._names[_stem(entry.name)] = entry.name
                self._used[entry.name] = entry.stat().st_mtime
        remove_leftovers(self._files, self._clock())

    def is_ours(self, name: str) -> bool:
        """Whether we made this file."""
        return name in self._used

    def use(self, name: str) -> None:
        """Note that a file is in use now; a name that is not ours is ignored."""
        if name in self._used:
            self._touch(name)

    def hold(self, job_id: str, names: Iterable[str]) -> None:
        """Keep these files until the job releases them; names that are not ours are ignored."""
        held = self._held.setdefault(job_id, set())
        for name in names:
            if name in self._used and name not in held:
                held.add(name)
                self._holders[name] = self._holders.get(name, 0) + 1
                self._touch(name)
        if not held:
            del self._held[job_id]

    def release(self, job_id: str) -> None:
        """Let go of what a job holds; its time begins to run."""
        for name in self._held.pop(job_id, ()):
            self._holders[name] -= 1
            if not self._holders[name]:
                del self._holders[name]
            self._touch(name)

    def find(self, stem: str) -> str | None:
        """Return the name of the file that has this stem, now in use; None when it is gone."""
        with self._lock:
            name = self._names.get(stem)
            if name is None or not (self._files / name).exists():
                return None
            self._touch(name)
            return name

    def enter(self, name: str) -> None:
        """Take a file as ours; before it gets its name, so that a kill leaves no orphan."""
        with self._lock:
            (self._markers / name).touch()
            self._names[_stem(name)] = name
            self._touch(name)

    def sweep(self, now: float) -> list[Path]:
        """Remove the files that nobody holds and nobody used for the time to live."""
        with self._lock:
            self._write_uses()
            doomed = [name for name, used in list(self._used.items()) if used + self._ttl <= now]
        removed = [path for name in doomed if (path := self._remove(name, now)) is not None]
        return removed + remove_leftovers(self._files, now)

    def _remove(self, name: str, now: float) -> Path | None:
        with self._lock:
            if name in self._holders or self._used.get(name, now) + self._ttl > now:
                return None
            path = self._files / name
            existed = path.exists()
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            (self._markers / name).unlink(missing_ok=True)
            self._used.pop(name, None)
            self._names.pop(_stem(name), None)
            return path if existed else None

    def _touch(self, name: str) -> None:
        self._used[name] = self._clock()
        self._stale_markers.add(name)

    def _write_uses(self) -> None:
        # Once a round is enough: after a kill a file lives a little shorter, and is fetched again.
        while self._stale_markers:
            name = self._stale_markers.pop()
            used = self._used.get(name)
            if used is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.utime(self._markers / name, (used, used))


def _stem(name: str) -> str:
    return name.partition(".")[0]
