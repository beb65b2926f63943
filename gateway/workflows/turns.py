"""Threads of their own for what may take seconds: whoever converts holds up nobody else's work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

#: Conversions at a time: they share one interpreter, and more would be no faster.
AT_ONCE = 2
_T = TypeVar("_T")


async def in_turn(work: Callable[[], _T]) -> _T:
    """Return what `work` returns; it runs in the order of arrival, and never for one who left."""
    # A future that is cancelled before its turn is passed over; one that runs goes on to its end.
    return await asyncio.get_running_loop().run_in_executor(_pool(), work)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, thread_name_prefix="conversion")
