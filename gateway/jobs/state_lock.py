"""One gateway for each STATE_DIR: the second is told which process holds it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import orjson

from gateway import errors


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder until left; raises StateRefused when another process has it.

    The system lets go of it when this process dies, however that comes about.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "gateway.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise errors.StateRefused(
                f"STATE_DIR={folder} is in use by another gateway: {_holder(descriptor)}.",
                hint="End that one first, or give this one a STATE_DIR of its own.",
            ) from None
        own = {"pid": os.getpid(), "host": socket.gethostname(), "since": int(time.time())}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, orjson.dumps(own), 0)
        yield
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    try:
        found = orjson.loads(os.pread(descriptor, 1000, 0))
        return f"process {found['pid']} on {found['host']}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        # It has the lock, and has not yet written who it is.
        return "a process that has just begun"
