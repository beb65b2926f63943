"""The contract of the outbox, for every engine: what is owed, its outcome, dead letters."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.jobs.job import State
from gateway.jobs.outbox import PER_DESTINATION, Delivery, DeliveryState
from gateway.jobs.store import Store, open_store
from tests.contract.stores import Hands, claim, got, job, outcome

FAILED = {"code": "execution_failed", "message": "A node raised.", "status": 500}
CANCELLED = {"code": "cancelled", "message": "Cancelled.", "status": 409}
HOOK = {"webhook_v2": "http://a.example:8000/hook?token=1"}
FAR_S = 3600.0


def attempt(status: int = 500) -> dict[str, Any]:
    return {"at": 1.0, "status": status, "duration": 0.5}


async def owing(store: Store, *job_ids: str, **more: Any) -> list[Delivery]:
    """Return the deliveries of jobs that have just succeeded."""
    for job_id in job_ids:
        await store.put(job(job_id, **{"request": HOOK, **more}), durable=True)
        await store.finish(await claim(store), outcome())
    return await due(store)


async def due(store: Store, count: int = 100, **more: Any) -> list[Delivery]:
    return await store.outbox.due(count, **{"busy": {}, "skip": (), **more})


async def one(store: Store, delivery_id: str) -> Delivery:
    found = await store.outbox.get(delivery_id)
    assert found is not None
    return found


# What is owed


async def test_a_job_that_succeeds_owes_one_call(store: Store) -> None:
    [found] = await owing(store, "a")
    assert (found.job_id, found.kind, found.url) == ("a", "webhook_v2", HOOK["webhook_v2"])
    assert found.destination == "http://a.example:8000"
    assert (found.state, found.attempts, found.tries) == (DeliveryState.PENDING, [], 0)


async def test_the_legacy_webhook_is_owed_for_each_output(store: Store) -> None:
    both = {"webhook": "http://b/", **HOOK}
    await store.put(job(request=both), durable=True)
    result = {"outputs": [{"index": 0}, {"index": 1}]}
    await store.finish(await claim(store), outcome(result=result))
    found = {(call.kind, call.output) for call in await due(store)}
    assert found == {("webhook_v2", None), ("webhook", 0), ("webhook", 1)}


async def test_a_job_that_fails_owes_as_well(store: Store) -> None:
    await store.put(job(request={"webhook": "http://b/", **HOOK}), durable=True)
    await store.fail(await claim(store), FAILED, retry_in=None, max_attempts=2)
    assert {call.kind for call in await due(store)} == {"webhook_v2", "webhook"}


async def test_a_job_that_is_tried_again_owes_nothing_yet(store: Store) -> None:
    await store.put(job(request=HOOK), durable=True)
    await store.fail(await claim(store), FAILED, retry_in=0.0, max_attempts=2)
    assert await due(store) == []


async def test_a_queued_job_that_is_cancelled_owes(store: Store) -> None:
    await store.put(job(request=HOOK), durable=True)
    assert await store.cancel("a", CANCELLED) == "removed"
    assert [call.job_id for call in await due(store)] == ["a"]


async def test_a_job_whose_time_ran_out_in_the_queue_owes(store: Store, hands: Hands) -> None:
    await store.put(job(request=HOOK, deadline=hands() + 10), durable=True)
    hands.forward(FAR_S)
    await store.sweep()
    assert [call.job_id for call in await due(store)] == ["a"]


async def test_a_job_that_is_delivering_owes_nothing_yet(store: Store) -> None:
    await store.put(job(request=HOOK), durable=True)
    lease = await claim(store)
    await store.finish(lease, outcome(State.DELIVERING))
    assert await due(store) == []
    await store.finish(lease, outcome())
    assert len(await due(store)) == 1


async def test_a_cancel_that_nobody_was_left_to_carry_out_owes(url: str) -> None:
    first = await open_store(url)
    await first.put(job(request=HOOK), durable=True)
    await claim(first)
    await first.cancel("a", CANCELLED)
    await first.close()
    second = await open_store(url)
    try:
        assert (await got(second)).state is State.CANCELLED
        assert len(await due(second)) == 1
    finally:
        await second.close()


async def test_what_is_owed_wakes_whoever_waits(store: Store) -> None:
    waiting = asyncio.create_task(store.outbox.wait_owed(20))
    await asyncio.sleep(0)
    await owing(store, "a")
    await asyncio.wait_for(waiting, 5)


# What is due


async def test_a_destination_gets_no_more_than_its_share(store: Store) -> None:
    found = await owing(store, *(f"job-{number}" for number in range(PER_DESTINATION + 3)))
    assert len(found) == PER_DESTINATION
    destination = found[0].destination
    busy = {destination: PER_DESTINATION - 1}
    skip = {call.id for call in found[: PER_DESTINATION - 1]}
    assert [call.id for call in await due(store, busy=busy, skip=skip)] == [found[-1].id]
    assert await due(store, busy={destination: PER_DESTINATION}, skip=skip) == []


async def test_a_destination_with_many_calls_starves_no_other(store: Store) -> None:
    await owing(store, *(f"dead-{number}" for number in range(50)))
    found = await owing(store, "alive", request={"webhook_v2": "https://b.example/"})
    assert [call.job_id for call in found if call.destination == "https://b.example"] == ["alive"]
    assert len(await due(store, 1)) == 1


async def test_the_next_call_waits_for_its_time(store: Store, hands: Hands) -> None:
    [call] = await owing(store, "a")
    assert await store.outbox.next_due() is None
    at = hands() + 30
    await store.outbox.failed(call, attempt(), at)
    assert await due(store) == []
    assert await store.outbox.next_due() == pytest.approx(at)
    hands.forward(31)
    [again] = await due(store)
    assert (again.tries, again.attempts) == (1, [attempt()])


async def test_a_clock_that_was_set_back_keeps_no_call_waiting(url: str, hands: Hands) -> None:
    first = await open_store(url, hands)
    [call] = await owing(first, "a")
    await first.outbox.failed(call, attempt(), hands() + 30)
    await first.close()
    hands.forward(-FAR_S)
    second = await open_store(url, hands)
    try:
        assert await due(second) == []
        hands.forward(31)
        assert len(await due(second)) == 1
    finally:
        await second.close()


# Outcomes


async def test_a_call_that_arrived_is_over(store: Store) -> None:
    [call] = await owing(store, "a")
    await store.outbox.delivered(call, attempt(204))
    assert await due(store) == []
    found = await one(store, call.id)
    assert (found.state, found.next_at) == (DeliveryState.DELIVERED, None)
    assert found.attempts == [attempt(204)]


async def test_a_dead_letter_can_be_replayed(store: Store) -> None:
    [call] = await owing(store, "a")
    await store.outbox.failed(call, attempt(), None)
    assert (await one(store, call.id)).state is DeliveryState.DEAD
    assert await due(store) == []
    replayed = await store.outbox.replay(call.id)
    assert replayed is not None
    assert (replayed.tries, replayed.attempts) == (0, [attempt()])
    assert [found.id for found in await due(store)] == [call.id]
    assert await store.outbox.replay("nope") is None


async def test_an_outcome_that_comes_too_late_changes_nothing(store: Store) -> None:
    [call] = await owing(store, "a")
    await store.outbox.delivered(call, attempt(200))
    await store.outbox.failed(call, attempt(500), None)
    assert (await one(store, call.id)).state is DeliveryState.DELIVERED


async def test_outcomes_survive_a_restart(url: str) -> None:
    first = await open_store(url)
    calls = await owing(first, *"abc")
    await first.outbox.delivered(calls[0], attempt(200))
    await first.outbox.failed(calls[1], attempt(), None)
    await first.close()
    second = await open_store(url)
    try:
        assert [call.id for call in await due(second)] == [calls[2].id]
        assert (await one(second, calls[1].id)).state is DeliveryState.DEAD
    finally:
        await second.close()


# Lists


async def test_deliveries_are_listed_newest_first_by_page(store: Store) -> None:
    await owing(store, *"abc")
    calls = [call async for call in _all(store)]
    assert [call.job_id for call in calls] == ["c", "b", "a"]
    await store.outbox.failed(calls[1], attempt(), None)
    dead, following = await store.outbox.deliveries(state=DeliveryState.DEAD)
    assert ([call.job_id for call in dead], following) == (["b"], None)
    found, _ = await store.outbox.deliveries(job_id="c")
    assert [call.job_id for call in found] == ["c"]


async def _all(store: Store) -> Any:
    cursor = None
    while True:
        page, cursor = await store.outbox.deliveries(limit=2, cursor=cursor)
        for call in page:
            yield call
        if cursor is None:
            return


async def test_depth_says_how_many_are_owed_and_since_when(store: Store) -> None:
    assert await store.outbox.depth() == (0, None)
    calls = await owing(store, *"ab")
    assert await store.outbox.depth() == (2, pytest.approx(calls[0].created_at))


# For the janitor


async def test_what_is_owed_keeps_files_and_record(store: Store, hands: Hands) -> None:
    await store.put(job(request=HOOK), durable=True)
    await store.finish(await claim(store), outcome(result={"outputs": [{"index": 0}]}))
    hands.forward(FAR_S)
    assert await store.expired(hands()) == []
    assert await store.expire(hands()) == 0
    [call] = await due(store)
    await store.outbox.delivered(call, attempt(200))
    assert [found.id for found in await store.expired(hands())] == ["a"]
    await store.forget_files("a")
    assert await store.expire(hands()) == 1
    assert await store.outbox.get(call.id) is None


async def test_a_dead_letter_keeps_them_until_it_is_buried(store: Store, hands: Hands) -> None:
    [call] = await owing(store, "a")
    await store.outbox.failed(call, attempt(), None)
    assert await store.outbox.bury(hands() - FAR_S) == 0
    assert await store.expire(hands()) == 0
    hands.forward(FAR_S)
    assert await store.outbox.bury(hands()) == 1
    assert await store.outbox.get(call.id) is None
    assert await store.expire(hands()) == 1


async def test_a_job_that_is_deleted_owes_nothing(store: Store) -> None:
    [call] = await owing(store, "a")
    assert await store.delete("a")
    assert await due(store) == []
    assert await store.outbox.get(call.id) is None


async def test_a_cancel_is_kept_when_the_job_would_go_back_to_the_queue(store: Store) -> None:
    for job_id in ("released", "tried-again", "abandoned"):
        await store.put(job(job_id, request=HOOK), durable=True)
    leases = {job_id: await claim(store) for job_id in ("released", "tried-again", "abandoned")}
    for job_id in leases:
        assert await store.cancel(job_id, CANCELLED) == "asked"
    assert (await store.release(leases["released"])).state is State.CANCELLED
    await store.fail(leases["tried-again"], FAILED, retry_in=0.0, max_attempts=2)
    states = {job_id: (await got(store, job_id)).state.value for job_id in leases}
    assert states == {"released": "cancelled", "tried-again": "cancelled", "abandoned": "running"}
    assert (await got(store, "tried-again")).error == CANCELLED
    assert {call.job_id for call in await due(store)} == {"released", "tried-again"}


async def test_a_cancel_outlives_whoever_was_asked(store: Store, hands: Hands) -> None:
    await store.put(job(request=HOOK), durable=True)
    await claim(store)
    await store.cancel("a", CANCELLED)
    hands.forward(FAR_S)
    await store.sweep()
    assert (await got(store)).state is State.CANCELLED
    assert [call.job_id for call in await due(store)] == ["a"]
