"""Tells when files of a folder change."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.log import logger

#: Between two looks at a folder that is not there.
_ABSENT_S = 0.3
#: Between two looks whether it is still the same folder.
_TICK_MS = 700
#: So many of them between two looks at all files: network disks tell nothing by themselves.
_TICKS = 7
#: So long nothing more must change; an editor writes a file in several steps.
_QUIET_MS = 50
_LONGEST_MS = 400
#: Between two looks where the system cannot tell what changes.
_POLL_S = 0.7


async def changes(folder: Path) -> AsyncIterator[set[str]]:
    """Yield the files that changed, relative to the folder; none now and then, to look at all."""
    stop = threading.Event()
    # A thread of its own: it waits for as long as the gateway runs.
    executor = ThreadPoolExecutor(1, thread_name_prefix="workflows")
    loop = asyncio.get_running_loop()
    watched = _watched(folder, stop)
    try:
        while (found := await loop.run_in_executor(executor, next, watched, None)) is not None:
            yield found
    finally:
        stop.set()
        executor.shutdown(wait=False)


def _watched(folder: Path, stop: threading.Event) -> Iterator[set[str]]:
    """Yield the files that changed; it blocks."""
    while not stop.is_set():
        while not folder.is_dir():
            if stop.wait(_ABSENT_S):
                return
        yield set()
        try:
            yield from _notified(folder, stop)
        except FileNotFoundError:
            stop.wait(_ABSENT_S)
        except (OSError, RuntimeError) as failure:
            yield from _polled(str(failure), stop)
        # It is gone, or another: what was known of it is looked at anew.
        yield set()


def _polled(reason: str, stop: threading.Event) -> Iterator[set[str]]:
    logger.warning(
        "the system does not tell when WORKFLOW_DIR changes: it is looked at again and again",
        reason=reason,
    )
    while not stop.wait(_POLL_S):
        yield set()


def _notified(folder: Path, stop: threading.Event) -> Iterator[set[str]]:
    # Not awatch: its anyio costs a gateway that has little memory to spare another megabyte.
    from watchfiles import watch

    root, began = os.path.realpath(folder), _identity(folder)
    told = watch(
        root,
        watch_filter=None,
        debounce=_LONGEST_MS,
        step=_QUIET_MS,
        stop_event=stop,
        rust_timeout=_TICK_MS,
        yield_on_timeout=True,
        raise_interrupt=False,
        ignore_permission_denied=True,
    )
    for tick, found in enumerate(told):
        if _identity(folder) != began:
            return
        # The first tick looks at all: what was saved before the watch began is told by no event.
        if found or tick % _TICKS == 0:
            yield {os.path.relpath(path, root) for _, path in found}


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
