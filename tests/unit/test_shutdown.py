"""The end of the gateway: who asks for it, and what a second signal leaves undone."""

from __future__ import annotations

import asyncio

from gateway.shutdown import Shutdown


async def forever() -> None:
    await asyncio.Event().wait()


async def at_once() -> None:
    pass


async def test_all_that_is_waited_for_is_done() -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        done.append(number)

    shutdown = Shutdown()
    shutdown.on_signal()
    await shutdown.wait_for(work(1), work(2))
    assert sorted(done) == [1, 2]


async def test_the_second_signal_waits_for_nothing() -> None:
    shutdown = Shutdown()
    shutdown.on_signal()
    waiting = asyncio.create_task(shutdown.wait_for(forever(), at_once()))
    await asyncio.sleep(0)
    assert shutdown.asked.is_set()
    assert not waiting.done()
    shutdown.on_signal()
    async with asyncio.timeout(5):
        await waiting
    assert shutdown.exit_code == 0


async def test_a_loop_that_ends_asks_for_the_end() -> None:
    shutdown = Shutdown()
    async with shutdown.running(at_once()), asyncio.timeout(5):
        await shutdown.asked.wait()
    assert shutdown.exit_code == 70


async def test_a_loop_ends_with_its_context_unnoticed() -> None:
    shutdown = Shutdown()
    async with shutdown.running(forever()):
        pass
    assert not shutdown.asked.is_set()
