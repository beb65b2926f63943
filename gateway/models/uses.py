"""Which files were used lately: to be written to the disk, and to be told to other processes."""

from __future__ import annotations

from gateway.models.index import File

#: Seconds after which a use is no longer recent.
RECENT_S = 300.0


class Uses:
    """Uses since they were last written down; instant, and not for threads."""

    def __init__(self) -> None:
        self._unwritten: dict[str, float] = {}
        self._recent: dict[str, float] = {}

    def note(self, file: File) -> None:
        """Note that a file was used at its `used_at`."""
        self._unwritten[file.name] = file.used_at
        self._recent.pop(file.stem, None)
        self._recent[file.stem] = file.used_at

    def take(self) -> dict[str, float]:
        """Return when each file was used that was used since the last call."""
        taken, self._unwritten = self._unwritten, {}
        return taken

    def recent(self, now: float) -> frozenset[str]:
        """Return the stems used in the last minutes; `now` in seconds since the epoch."""
        for stem, at in list(self._recent.items()):
            if at + RECENT_S > now:
                break
            del self._recent[stem]
        return frozenset(self._recent)
