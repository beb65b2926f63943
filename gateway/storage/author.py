"""Who wrote a claim: one process, told apart from every other of every host and container."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import psutil

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")
#: States of /proc/<pid>/stat in which nothing runs any more, though nobody has reaped it.
_OVER = {"Z", "X", "x"}


@dataclass(frozen=True)
class Author:
    """A process: where its number counts, the number, and when it started."""

    host: str
    pid: int
    started: str


def own() -> Author:
    """Return this process."""
    return _own(os.getpid())


@functools.lru_cache(maxsize=1)
def _own(pid: int) -> Author:
    return Author(_host(), pid, _start_of(pid) or "")


def is_gone(author: Author) -> bool:
    """Whether a process of this host has ended; only asked of authors whose host is ours."""
    if not psutil.pid_exists(author.pid):
        return True
    started = _start_of(author.pid)
    return started is not None and started != author.started


def _host() -> str:
    """Name the boot and the process namespace: a number means one process in these alone."""
    with contextlib.suppress(OSError):
        boot = _BOOT_ID.read_text(encoding="ascii").strip()
        return f"{boot} {_PID_NAMESPACE.readlink()}"
    return f"{platform.node()} {int(psutil.boot_time())}"


def _start_of(pid: int) -> str | None:
    """Return a mark of when a process started, "" when it has ended; None when hidden."""
    # psutil's create_time moves whenever the host's clock is set; the kernel's ticks do not.
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None if _PID_NAMESPACE.exists() else _start_without_proc(pid)
    # The name of the program may hold blanks and brackets; what follows it does not.
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] in _OVER else fields[19]


def _start_without_proc(pid: int) -> str:
    try:
        return str(int(psutil.Process(pid).create_time()))
    except psutil.Error:
        return ""
