"""Files that a thread opens, for one who may go away meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol, TypeVar


class _Closable(Protocol):
    def close(self) -> None: ...


_Opened = TypeVar("_Opened", bound=_Closable)


@contextlib.asynccontextmanager
async def opened(open_it: Callable[[], _Opened]) -> AsyncIterator[_Opened]:
    """Hold what `open_it` opens in a thread, to be read only; raises what it raises."""
    opening = asyncio.ensure_future(asyncio.to_thread(open_it))
    try:
        file = await asyncio.shield(opening)
    except asyncio.CancelledError:
        # The thread goes on, and nobody else would close what it opens.
        opening.add_done_callback(_close)
        raise
    try:
        yield file
    finally:
        # Not in a thread: nothing is left to write, and who is cancelled again would not wait.
        file.close()


def _close(opening: asyncio.Future[_Opened]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
