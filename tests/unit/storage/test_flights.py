"""One piece of work for many askers."""

from __future__ import annotations

import asyncio

import pytest

from gateway import errors
from gateway.storage.flights import Flights


class Work:
    """Counts how often it is begun and given up, and ends when it may."""

    def __init__(self) -> None:
        self.begun = self.given_up = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> int:
        self.begun += 1
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return self.begun


async def asked(flights: Flights[int], work: Work, count: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(flights.join("key", work)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_askers_share_one_result() -> None:
    flights, work = Flights[int](), Work()
    tasks = await asked(flights, work, 5)
    work.may_end.set()

    assert await asyncio.gather(*tasks) == [1] * 5
    assert await flights.join("key", work) == 2


async def test_other_keys_are_other_work() -> None:
    flights, work = Flights[int](), Work()
    work.may_end.set()

    await asyncio.gather(flights.join("a", work), flights.join("b", work))

    assert work.begun == 2


async def test_the_last_asker_that_leaves_ends_it() -> None:
    flights, work = Flights[int](), Work()
    first, second = await asked(flights, work, 2)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert work.given_up == 0

    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    (third,) = await asked(flights, work, 1)
    work.may_end.set()

    assert await third == 2
    assert work.given_up == 1


async def test_a_failure_reaches_everyone() -> None:
    async def fails() -> int:
        raise errors.StorageFull

    found = await asyncio.gather(
        *(Flights.join(flights, "key", fails) for flights in [Flights[int]()] * 3),
        return_exceptions=True,
    )

    assert [type(failure) for failure in found] == [errors.StorageFull] * 3


async def test_closing_tells_the_askers() -> None:
    flights, work = Flights[int](), Work()
    (task,) = await asked(flights, work, 1)
    await asyncio.sleep(0)

    await flights.close()

    with pytest.raises(errors.Draining):
        await task
