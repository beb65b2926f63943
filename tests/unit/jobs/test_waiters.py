"""Whoever waits for a job is woken at its end, and nobody is forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway import errors
from gateway.jobs.job import Job, State, Want
from gateway.jobs.store import Store, open_store
from gateway.jobs.waiters import Waiters

CANCELLED = {"code": "cancelled", "message": "Cancelled.", "status": 409}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:{tmp_path}/jobs.db")
    yield opened
    await opened.close()


@pytest.fixture
async def waiters(store: Store) -> AsyncIterator[Waiters]:
    made = Waiters(store)
    running = asyncio.create_task(made.run(store.watch()))
    await asyncio.sleep(0)
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def put(store: Store, job_id: str) -> None:
    job = Job(id=job_id, request={}, graph={}, fingerprint="f", created_at=time.time())
    await store.put(job, durable=False)


def come_back(job_id: str) -> errors.Draining:
    return errors.Draining(id=job_id)


async def test_all_who_wait_are_woken_at_the_end(store: Store, waiters: Waiters) -> None:
    async with AsyncExitStack() as stack:
        futures = [await stack.enter_async_context(waiters.expect("a")) for _ in range(3)]
        other = await stack.enter_async_context(waiters.expect("b"))
        await put(store, "a")
        await put(store, "b")
        lease = await store.claim(Want())
        assert lease is not None
        assert not any(future.done() for future in futures)
        await store.cancel("a", CANCELLED)
        assert not any(future.done() for future in futures)
        await store.fail(lease, CANCELLED, retry_in=None, max_attempts=1)
        async with asyncio.timeout(10):
            for job in await asyncio.gather(*futures):
                assert (job.id, job.state) == ("a", State.CANCELLED)
        assert not other.done()


async def test_one_who_leaves_takes_nobody_along(store: Store, waiters: Waiters) -> None:
    async with waiters.expect("a") as stays:
        async with waiters.expect("a") as leaves:
            leaves.cancel()
        assert waiters.is_waited_for("a")
        await put(store, "a")
        await store.cancel("a", CANCELLED)
        assert (await asyncio.wait_for(stays, 10)).state is State.CANCELLED
        # Its files are still being read.
        assert waiters.is_waited_for("a")
    assert not waiters.is_waited_for("a")


async def test_who_waits_for_the_answer_is_told_when_the_last_has_it(waiters: Waiters) -> None:
    await asyncio.wait_for(waiters.answered("a"), 10)
    async with waiters.expect("a"):
        async with waiters.expect("a"):
            waiting = [asyncio.create_task(waiters.answered("a")) for _ in range(2)]
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not any(one.done() for one in waiting)
    await asyncio.wait_for(asyncio.gather(*waiting), 10)


async def test_a_waiter_that_fails_lets_go(waiters: Waiters) -> None:
    with pytest.raises(KeyError):
        async with waiters.expect("a"):
            raise KeyError
    assert not waiters.is_waited_for("a")


async def test_giving_up_spares_what_still_may_end(store: Store, waiters: Waiters) -> None:
    async with waiters.expect("a") as given_up, waiters.expect("b") as kept:
        waiters.give_up(come_back, keep={"b"})
        with pytest.raises(errors.Draining):
            await given_up
        assert not kept.done()
        async with waiters.expect("c") as late:
            assert not late.done()
        await put(store, "b")
        await store.cancel("b", CANCELLED)
        await asyncio.wait_for(kept, 10)


async def test_after_the_last_whoever_comes_is_told(waiters: Waiters) -> None:
    waiters.give_up(come_back, keep=set())
    async with waiters.expect("a") as told:
        with pytest.raises(errors.Draining):
            await told
    async with waiters.expect("a"):
        pass
    assert not waiters.is_waited_for("a")
