"""What other programs on this machine cost a process, so that a test need not count it."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import psutil


def own_time() -> float:
    """Return a clock that stands while this thread waits for a core."""
    waited = 0
    with contextlib.suppress(OSError):
        waited = int(Path("/proc/thread-self/schedstat").read_text().split()[1])
    return time.monotonic() - waited / 1e9


def kept_waiting_s(pid: int) -> float:
    """Return how long a process and its children could have run, had there been a free core.

    0 where the kernel does not say.
    """
    found = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        found = sum(_waited_ns(one.pid) for one in (process, *process.children(recursive=True)))
    return found / 1e9


def _waited_ns(pid: int) -> int:
    found = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            found += int(path.read_text().split()[1])
    return found
