"""Helpers come when one connection is slow, and never too many."""

from __future__ import annotations

import asyncio

from gateway.storage.crew import Crew, Slots
from tests.waiting import wait_until


class Helpers:
    """Counts who works, and lets them work until they may end."""

    def __init__(self) -> None:
        self.working = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> None:
        self.working += 1
        try:
            await self.may_end.wait()
        finally:
            self.working -= 1


async def test_a_slow_connection_gets_help_until_it_is_dismissed() -> None:
    crew, helpers = Crew(4), Helpers()
    crew.recruit(helpers, lambda: 0)
    await wait_until(lambda: helpers.working == 3, description="three help")

    await crew.dismiss()

    assert helpers.working == 0


async def test_a_fast_connection_gets_none() -> None:
    crew, helpers, asked = Crew(4), Helpers(), [0]

    def done() -> int:
        asked[0] += 1
        return asked[0] << 30

    crew.recruit(helpers, done)
    await wait_until(lambda: asked[0] > 4, description="its speed is judged twice")
    await crew.dismiss()

    assert helpers.working == 0


async def test_all_crews_share_the_slots() -> None:
    slots, helpers = Slots(5), Helpers()
    first, second = Crew(4, slots), Crew(4, slots)
    first.recruit(helpers, lambda: 0)
    await wait_until(lambda: helpers.working == 3, description="three help the first")
    second.recruit(helpers, lambda: 0)
    await wait_until(lambda: helpers.working == 5, description="two help the second")

    await first.dismiss()

    await wait_until(lambda: helpers.working == 3, description="a third helps the second")
    await second.dismiss()
    assert [slots.take() for _ in range(6)] == [True] * 5 + [False]


async def test_a_closed_crew_takes_nobody() -> None:
    crew, helpers = Crew(4), Helpers()
    crew.close()
    crew.recruit(helpers, lambda: 0)
    await asyncio.sleep(0)

    assert helpers.working == 0
    await crew.dismiss()


async def test_one_connection_is_one() -> None:
    crew, helpers = Crew(1), Helpers()
    crew.recruit(helpers, lambda: 0)
    await crew.dismiss()

    assert helpers.working == 0
