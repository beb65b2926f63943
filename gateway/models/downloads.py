"""What is being fetched, and what was fetched lately, as callers may see it."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

State = Literal["wanted", "fetching", "verifying", "present", "failed"]

_FINISHED = 100
#: Seconds over which the rate is reckoned, and between two samples.
_WINDOW_S = 5.0
_SAMPLE_S = 0.2


@dataclass(frozen=True, kw_only=True)
class DownloadShown:
    """A download; `rate` in bytes a second."""

    url: str
    filename: str
    state: State
    bytes: int
    total: int | None
    rate: float
    eta_s: float | None
    started_at: str
    error: str | None


@dataclass
class Download:
    """A download as it goes; its one writer is the fetch."""

    #: Fit to be shown.
    url: str
    filename: str
    state: State = "wanted"
    size: int = 0
    total: int | None = None
    error: str | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    #: Bytes that were there before, from an earlier attempt.
    resumed: int | None = None
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def progress(self, size: int, total: int | None) -> None:
        """Note how much of the file is here."""
        now = time.monotonic()
        if self.resumed is None:
            self.resumed = size
        self.state, self.size, self.total = "fetching", size, total
        if not self._samples or now - self._samples[-1][0] >= _SAMPLE_S:
            self._samples.append((now, size))
        while now - self._samples[0][0] > _WINDOW_S and len(self._samples) > 2:
            self._samples.popleft()

    def end(self, error: str | None = None) -> None:
        """Note that it is over; `error` is a sentence, None: the file is there."""
        self.state, self.error = ("failed" if error else "present"), error
        self.ended = time.monotonic()

    @property
    def arrived(self) -> int:
        """Bytes that came over the network."""
        return max(0, self.size - (self.resumed or 0))

    @property
    def duration(self) -> float:
        """Seconds from its beginning on."""
        return (self.ended or time.monotonic()) - self.began

    def shown(self) -> DownloadShown:
        """Return it as it is now."""
        rate = self._rate()
        lacking = None if self.total is None or self.ended else max(0, self.total - self.size)
        return DownloadShown(
            url=self.url,
            filename=self.filename,
            state=self.state,
            bytes=self.size,
            total=self.total,
            rate=round(rate, 1),
            eta_s=round(lacking / rate, 1) if lacking is not None and rate > 0 else None,
            started_at=self.started_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            error=self.error,
        )

    def _rate(self) -> float:
        if self.ended is not None:
            return self.arrived / max(self.duration, 1e-3)
        if not self._samples:
            return 0.0
        # Up to now, not to the last sample: what has stalled slows down.
        since, size = self._samples[0]
        return (self.size - size) / max(time.monotonic() - since, 1e-3)


class Board:
    """Every download that runs, and the last that ended."""

    def __init__(self) -> None:
        self._running: list[Download] = []
        self._finished: deque[Download] = deque(maxlen=_FINISHED)

    def begin(self, url: str, filename: str) -> Download:
        """Show a new download; `url` is fit to be shown."""
        download = Download(url, filename)
        self._running.append(download)
        return download

    def finish(self, download: Download) -> None:
        """Move a download that has ended to those that are over."""
        self._running.remove(download)
        self._finished.append(download)

    def shown(self) -> list[DownloadShown]:
        """Return the running, then the finished, the newest first."""
        newest = [*reversed(self._running), *reversed(self._finished)]
        return [download.shown() for download in newest]
