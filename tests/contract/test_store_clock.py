"""The contract of the job store, for every engine, under a clock that jumps."""

from __future__ import annotations

from gateway.jobs.job import State
from gateway.jobs.store import Store, open_store
from tests.contract.stores import Hands, claim, claim_all, got, job, put

HOUR_S = 3600.0
LOST = {"code": "engine_crashed", "message": "ComfyUI died.", "status": 500}


async def test_after_a_jump_back_and_a_restart_a_retry_is_at_once(url: str, hands: Hands) -> None:
    first = await open_store(url, hands)
    await put(first, "a")
    await first.fail(await claim(first), LOST, retry_in=0.0, max_attempts=2)
    await first.close()
    hands.forward(-HOUR_S)

    second = await open_store(url, hands)
    try:
        assert (await claim(second)).job.attempt == 2
    finally:
        await second.close()


async def test_after_a_jump_back_and_a_restart_a_timeout_counts_anew(
    url: str, hands: Hands
) -> None:
    first = await open_store(url, hands)
    times = {"created_at": hands(), "deadline": hands() + 30}
    await first.put(job("limited", **times), durable=True)
    await first.put(job("free"), durable=True)
    await first.close()
    hands.forward(-HOUR_S)

    second = await open_store(url, hands)
    try:
        await second.sweep()
        assert (await got(second, "limited")).state is State.QUEUED
        hands.forward(31)
        await second.sweep()
        assert (await got(second, "limited")).state is State.FAILED
        assert await claim_all(second) == ["free"]
    finally:
        await second.close()


async def test_a_lease_that_is_renewed_after_a_jump_forward_holds(
    store: Store, hands: Hands
) -> None:
    await put(store, "a")
    lease = await claim(store)
    hands.forward(HOUR_S)
    assert await store.renew([lease]) == ([], [])
    await store.sweep()

    assert (await got(store)).state is State.RUNNING
