"""Waits for facts, not for seconds."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any


async def wait_until(predicate: Callable[[], Any], *, description: str, timeout: float = 10) -> Any:
    """Return the predicate's first true answer; fail with the description when time is up."""
    try:
        async with asyncio.timeout(timeout):
            while True:
                found = predicate()
                if inspect.isawaitable(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"Not within {timeout} s: {description}") from None
