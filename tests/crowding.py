"""What other programs on this machine cost a process, so that a test need not count it."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import psutil


def own_time() -> float:
    """Return a clock that stands while this thread waits for a core."""
    return time.monotonic() - _waited_ns("thread-self") / 1e9


def kept_waiting_s(pid: int) -> float:
    """Return how long the main threads of a process and its children waited for a free core.

    0 where the kernel does not say.
    """
    found = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        found = sum(_waited_ns(one.pid) for one in (process, *process.children(recursive=True)))
    return found / 1e9


def _waited_ns(process: int | str) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[1])
    return 0
