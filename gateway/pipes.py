"""What other programs write into a pipe."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from typing import IO


async def written(pipe: IO[bytes], most: int) -> AsyncGenerator[bytes]:
    """Yield what comes, up to `most` bytes at once, until the last writer is gone; then close it.

    Not with `connect_read_pipe`: uvloop closes the descriptor twice, and between the two its number
    may have become that of a file which a thread has just opened.
    """
    loop, number = asyncio.get_running_loop(), pipe.fileno()
    os.set_blocking(number, False)
    is_readable = asyncio.Event()
    loop.add_reader(number, is_readable.set)
    try:
        while True:
            try:
                data = os.read(number, most)
            except BlockingIOError:
                is_readable.clear()
                await is_readable.wait()
                continue
            if not data:
                return
            yield data
            # A flood comes without a pause of its own.
            await asyncio.sleep(0)
    finally:
        loop.remove_reader(number)
        pipe.close()
