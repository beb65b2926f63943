"""Conversions take turns in threads of their own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator

import pytest

from gateway.workflows.turns import AT_ONCE, in_turn


@contextlib.asynccontextmanager
async def taken() -> AsyncIterator[threading.Event]:
    """Have all threads at work until the event is set."""
    begun, over = threading.Semaphore(0), threading.Event()

    def work() -> None:
        begun.release()
        over.wait(10)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(in_turn(work))
        for _ in range(AT_ONCE):
            assert await asyncio.to_thread(begun.acquire, timeout=10)
        try:
            yield over
        finally:
            over.set()


async def test_they_hold_up_no_other_thread() -> None:
    async with taken():
        waiting = [asyncio.create_task(in_turn(int)) for _ in range(20)]
        async with asyncio.timeout(5):
            assert await asyncio.to_thread(int) == 0
        assert not any(task.done() for task in waiting)
    assert await asyncio.gather(*waiting) == [0] * 20


async def test_who_comes_first_goes_first_and_who_left_is_passed_over() -> None:
    ran: list[int] = []
    async with taken() as over:
        tasks = []
        for number in range(6):
            tasks.append(asyncio.create_task(in_turn(lambda number=number: ran.append(number))))
            await asyncio.sleep(0)
        tasks[2].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[2]
        over.set()
        await asyncio.gather(*(task for task in tasks if task is not tasks[2]))
    # Two threads may note what they did in the other order.
    assert sorted(ran) == [0, 1, 3, 4, 5]
    assert ran[-1] in (4, 5)
