"""The contract of the queue: order, turns, limits, places, estimates, and what is counted."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gateway import errors
from gateway.jobs.estimate import DEFAULT_RETRY_S, Estimate
from gateway.jobs.job import State, Want
from gateway.jobs.policy import Policy
from gateway.jobs.store import Store, open_store
from tests.contract.stores import Hands, claim, claim_all, got, job, outcome, put

HOUR_S = FAR_S = 3600.0
CANCELLED = {"code": "cancelled", "message": "Cancelled.", "status": 409}
QUICK, SLOW = {"1": {"class_type": "Quick"}}, {"1": {"class_type": "Slow"}}

Opened = Callable[[Policy], Awaitable[Store]]

CHURN = """
import asyncio, sys
from gateway.jobs.job import Job, Outcome, State, Want
from gateway.jobs.store import open_store

async def main():
    store = await open_store(sys.argv[1])
    told = False
    for n in range(10**6):
        new = Job(id=f"j{n}", request={}, graph={}, fingerprint="f", created_at=1.0,
                  owner=f"key{n % 3}", priority=n % 5)
        await store.put(new, durable=False)
        if n % 4 == 0:
            await store.claim(Want())
        if n % 4 == 1:
            lease = await store.claim(Want())
            await store.finish(lease, Outcome(State.SUCCEEDED, {}, {}, []))
        if n % 4 == 2:
            await store.cancel(f"j{n}", {"code": "cancelled", "message": "", "status": 409})
        if n == 200:
            print("under way", flush=True)

asyncio.run(main())
"""


@pytest.fixture
async def opened(url: str, hands: Hands) -> AsyncIterator[Opened]:
    """Open the store under a policy."""
    stores: list[Store] = []

    async def under(policy: Policy) -> Store:
        stores.append(await open_store(url, hands, policy))
        return stores[-1]

    yield under
    for one in stores:
        await one.close()


async def ran(store: Store, job_id: str, seconds: float, **more: Any) -> None:
    """Have a job take so long."""
    await put(store, job_id, priority=100, **more)
    lease = await claim(store)
    assert lease.job.id == job_id
    result = {"stats": {"comfy_execution": {"duration": seconds * 1000}}}
    await store.finish(lease, outcome(result=result))


async def expected(store: Store, job_id: str) -> Estimate | None:
    return (await store.places([await got(store, job_id)]))[job_id].estimate


async def position(store: Store, job_id: str) -> int:
    return (await store.places([await got(store, job_id)]))[job_id].position


# Order


async def test_a_low_priority_rises_while_it_waits(store: Store, hands: Hands) -> None:
    await put(store, "low", priority=-1)
    hands.forward(500)
    await put(store, "early")
    hands.forward(601)
    await put(store, "late")
    await put(store, "high", priority=1)

    # One level is worth 600 s: low is as one of 600 s later, high as one of 600 s before.
    assert await claim_all(store) == ["early", "high", "low", "late"]


async def test_the_lowest_priority_is_not_starved(store: Store, hands: Hands) -> None:
    await put(store, "starving", priority=-100)
    claimed = []
    for hour in range(60):
        await put(store, f"urgent{hour}", priority=100)
        hands.forward(HOUR_S)
        claimed.append((await claim(store)).job.id)
        if claimed[-1] == "starving":
            break

    assert claimed[-1] == "starving"
    assert len(claimed) > 30


async def test_a_clock_that_goes_back_lets_nobody_overtake(store: Store, hands: Hands) -> None:
    await put(store, "first")
    hands.forward(-HOUR_S)
    await put(store, "second")

    assert await claim_all(store) == ["first", "second"]


async def test_a_retry_and_a_release_keep_their_place(store: Store, hands: Hands) -> None:
    await put(store, "a", "b", "c")
    hands.forward(60)
    await store.release(await claim(store))
    assert [await position(store, name) for name in "abc"] == [1, 2, 3]

    lease = await claim(store)
    error = {"code": "engine_crashed", "message": "", "status": 500}
    await store.fail(lease, error, retry_in=30.0, max_attempts=2)
    # Nobody waits for it meanwhile.
    assert (await claim(store)).job.id == "b"
    hands.forward(31)
    assert await claim_all(store) == ["a", "c"]


async def test_a_new_priority_counts_from_when_the_job_was_queued(
    store: Store, hands: Hands
) -> None:
    await put(store, "old")
    hands.forward(700)
    await put(store, "young")
    await store.reprioritise("young", 1)
    assert await position(store, "young") == 2
    await store.reprioritise("young", 2)
    assert await position(store, "young") == 1
    await store.reprioritise("young", 0)
    assert await claim_all(store) == ["old", "young"]


async def test_what_is_prepared_takes_its_turn_among_the_others(store: Store) -> None:
    await put(store, "fetch1", needs_fetch=True)
    await put(store, "instant1")
    await put(store, "fetch2", needs_fetch=True)
    await put(store, "instant2")

    assert (await claim(store, "fetch2")).job.id == "instant1"
    assert (await claim(store, "fetch2")).job.id == "fetch2"
    assert await claim_all(store, "fetch1", "fetch2", "gone") == ["fetch1", "instant2"]


# Turns


async def test_keys_take_turns(opened: Opened) -> None:
    store = await opened(Policy(is_fair=True))
    await put(store, *(f"a{n}" for n in range(6)), owner="a")
    await put(store, *(f"b{n}" for n in range(2)), owner="b")
    await put(store, "c0", owner="c")

    order = []
    while (lease := await store.claim(Want())) is not None:
        order.append(lease.job.id)
        await store.finish(lease, outcome())

    assert order == ["a0", "b0", "c0", "a1", "b1", "a2", "a3", "a4", "a5"]


async def test_who_runs_less_comes_first(opened: Opened) -> None:
    store = await opened(Policy(is_fair=True))
    await put(store, "a0", "a1", "a2", owner="a")
    held = await claim(store)
    await put(store, "b0", "b1", owner="b")
    await store.finish(await claim(store), outcome())

    # b was served last, and runs nothing, while a still runs one.
    assert (await claim(store)).job.id == "b1"
    assert held.job.id == "a0"


async def test_a_turn_is_not_lost_to_who_has_nothing_to_run(opened: Opened) -> None:
    store = await opened(Policy(is_fair=True))
    await put(store, "a0", owner="a", needs_fetch=True)
    await put(store, "b0", owner="b")

    assert (await claim(store)).job.id == "b0"
    assert await store.claim(Want()) is None
    assert (await claim(store, "a0")).job.id == "a0"


async def test_within_a_key_priority_holds_and_turns_outlive_a_restart(
    opened: Opened, url: str, hands: Hands
) -> None:
    fair = Policy(is_fair=True)
    store = await open_store(url, hands, fair)
    await put(store, "a0", "a1", owner="a")
    await put(store, "a2", owner="a", priority=5)
    assert (await claim(store)).job.id == "a2"
    await put(store, "b0", owner="b")
    await store.finish(await claim(store), outcome())
    await store.close()

    store = await opened(fair)
    # Whose lease was given back at the start has had its turn before b.
    assert [(await claim(store)).job.id for _ in range(2)] == ["a2", "a0"]


@pytest.mark.parametrize("is_fair", [True, False])
async def test_a_key_runs_no_more_than_allowed(opened: Opened, is_fair: bool) -> None:
    store = await opened(Policy(most_running_per_owner=2, is_fair=is_fair))
    await put(store, "a0", "a1", "a2", owner="a")
    await put(store, "a3", owner="a", needs_fetch=True)
    await put(store, "b0", owner="b")
    leases = [await claim(store, "a3") for _ in range(3)]

    assert {lease.job.id for lease in leases} == {"a0", "a1", "b0"}
    assert await store.claim(Want(frozenset({"a3"}))) is None
    await store.finish(leases[0], outcome())
    assert (await claim(store, "a3")).job.id == "a2"


# Limits


async def test_a_full_queue_refuses_and_says_why(opened: Opened) -> None:
    store = await opened(Policy(most_queued=2))
    await put(store, "a", "b")

    for refused in (store.check_room(None), store.put(job("c"), durable=True)):
        with pytest.raises(errors.QueueFull) as caught:
            await refused
        assert "2 jobs are queued (MAX_QUEUE_DEPTH=2)" in caught.value.message
        assert caught.value.retry_after == DEFAULT_RETRY_S
    assert await store.get("c") is None

    await claim(store)
    await store.check_room(None)
    await put(store, "c")


async def test_a_full_queue_still_lets_a_request_join_its_job(opened: Opened) -> None:
    store = await opened(Policy(most_queued=1))
    first = await store.put(job("a", idempotency_key="k"), durable=True)

    assert (await store.put(job("a"), durable=True)) == first
    assert (await store.put(job("b", idempotency_key="k"), durable=True)) == first


async def test_many_at_once_do_not_exceed_the_limit(opened: Opened) -> None:
    store = await opened(Policy(most_queued=5))
    puts = [store.put(job(f"j{n}"), durable=n % 2 == 0) for n in range(50)]
    done = await asyncio.gather(*puts, return_exceptions=True)

    assert sum(isinstance(one, errors.QueueFull) for one in done) == 45
    assert (await store.depth())[State.QUEUED] == 5


async def test_each_key_has_its_own_limit(opened: Opened) -> None:
    store = await opened(Policy(most_queued_per_owner=2))
    await put(store, "a0", "a1", owner="a")
    await put(store, "b0", owner="b")

    with pytest.raises(errors.KeyQueueFull) as caught:
        await put(store, "a2", owner="a")
    assert "2 jobs of this key are queued (MAX_QUEUED_PER_KEY=2)" in caught.value.message
    await put(store, "b1", owner="b")
    assert (await store.put(job("a0"), durable=False)).id == "a0"


async def test_retry_after_is_the_time_until_a_place_is_free(opened: Opened, hands: Hands) -> None:
    store = await opened(Policy(most_queued=3, most_queued_per_owner=2))
    await ran(store, "known", 100.0, graph=QUICK)
    await put(store, "runs", graph=QUICK)
    lease = await claim(store)
    store.progress(lease, {"started_at": hands()})
    await put(store, "a0", graph=QUICK, owner="a")
    await put(store, "b0", "b1", graph=QUICK, owner="b")
    hands.forward(40)

    with pytest.raises(errors.QueueFull) as caught:
        await put(store, "more", owner="c")
    assert caught.value.retry_after == pytest.approx(60.0, abs=1.0)

    await store.cancel("b1", CANCELLED)
    await put(store, "a1", graph=QUICK, owner="a")
    await store.cancel("a0", CANCELLED)
    await put(store, "a2", graph=QUICK, owner="a")
    await store.cancel("b0", CANCELLED)
    with pytest.raises(errors.KeyQueueFull) as caught:
        await put(store, "a3", owner="a")
    # Its first job is the first of all.
    assert caught.value.retry_after == pytest.approx(60.0, abs=1.0)


# Places and estimates


async def test_places_count_whoever_comes_before(store: Store, hands: Hands) -> None:
    for n in range(40):
        await put(store, f"j{n}", priority=n % 3, needs_fetch=n % 2 == 0)
        hands.forward(7)
    await put(store, "gone")
    await store.cancel("gone", CANCELLED)
    jobs = [await got(store, f"j{n}") for n in range(40)] + [await got(store, "gone")]

    places = await store.places(jobs)
    assert "gone" not in places
    order = sorted(places, key=lambda name: places[name].position)
    assert [places[name].position for name in order] == list(range(1, 41))
    prepared = [one.id for one in jobs]
    assert await claim_all(store, *prepared) == order


async def test_an_estimate_is_absent_until_something_is_known(store: Store) -> None:
    await put(store, "a")
    assert await expected(store, "a") is None
    await ran(store, "b", 3.0)
    assert await expected(store, "a") == Estimate(wait=0.0, duration=3.0)


async def test_an_estimate_adds_what_comes_before(store: Store, hands: Hands) -> None:
    await ran(store, "known1", 2.0, graph=QUICK)
    await ran(store, "known2", 30.0, graph=SLOW)
    await put(store, "runs", graph=SLOW)
    lease = await claim(store)
    store.progress(lease, {"started_at": hands()})
    await put(store, "q1", "q2", graph=QUICK)
    await put(store, "s1", graph=SLOW)
    await put(store, "new", graph={"1": {"class_type": "Unheard"}})
    await put(store, "last", graph=QUICK)
    hands.forward(10)

    found = await expected(store, "last")
    assert found is not None
    # 30 - 10 of the one that runs, 2 + 2 + 30 before it, 16 for the new one: the mean of all.
    assert found.wait == pytest.approx(20 + 34 + 16, abs=1.0)
    assert found.duration == 2.0


async def test_estimates_follow_and_outlive_a_restart(url: str, hands: Hands) -> None:
    store = await open_store(url, hands)
    for n in range(20):
        await ran(store, f"before{n}", 10.0)
    for n in range(20):
        await ran(store, f"after{n}", 50.0)
    await put(store, "a")
    before = await expected(store, "a")
    await store.close()

    store = await open_store(url, hands)
    assert await expected(store, "a") == before
    await store.close()
    assert before is not None
    assert before.duration == pytest.approx(50.0, rel=0.05)


async def test_a_place_among_turns_is_about_right(opened: Opened) -> None:
    store = await opened(Policy(is_fair=True))
    await put(store, *(f"a{n}" for n in range(50)), owner="a")
    await put(store, "b0", "b1", owner="b")

    places = await store.places([await got(store, name) for name in ("b0", "b1", "a10", "a49")])
    assert abs(places["b0"].position - 2) <= 1
    assert abs(places["b1"].position - 4) <= 1
    assert abs(places["a10"].position - 13) <= 1
    assert places["a49"].position == 52


# Ahead of the turn


async def test_nothing_is_fetched_for_what_starts_much_later(store: Store) -> None:
    await ran(store, "known", 60.0)
    await put(store, *(f"j{n}" for n in range(500)))
    await put(store, "far", needs_fetch=True)
    await put(store, "near", needs_fetch=True, priority=1)

    async def looked_at() -> list[str]:
        return [one.id for one in await store.peek(16, nearest=4, horizon=900.0)]

    assert await looked_at() == ["near"]
    for n in range(485):
        await store.cancel(f"j{n}", CANCELLED)
    # Sixteen come before it, of a minute each.
    assert await looked_at() == ["near"]
    await store.finish(await claim(store), outcome())
    assert await looked_at() == ["near", "far"]
    # What runs counts too.
    await put(store, "urgent", priority=2)
    await claim(store)
    assert await looked_at() == ["near"]


async def test_the_first_few_are_looked_at_however_long_the_others_take(store: Store) -> None:
    await ran(store, "known", 2 * HOUR_S)
    await put(store, "a", "b")
    await put(store, "c", "d", "e", needs_fetch=True)

    assert [one.id for one in await store.peek(16, nearest=4, horizon=900.0)] == ["c", "d"]
    assert [one.id for one in await store.peek(16, nearest=1, horizon=900.0)] == []


async def test_what_is_known_counts_and_is_not_told_again(store: Store) -> None:
    await put(store, "a", "b", "c", needs_fetch=True)

    assert [one.id for one in await store.peek(2, known={"a"})] == ["b"]
    assert await store.peek(2, known={"a", "b", "c"}) == []


async def test_who_was_held_up_is_claimable_when_another_of_its_key_is_delivered(
    opened: Opened,
) -> None:
    store = await opened(Policy(most_running_per_owner=1))
    await put(store, "a0", "a1", owner="a")
    lease = await claim(store)
    await store.wait(0.01)
    assert await store.claim(Want()) is None

    await store.finish(lease, outcome(State.DELIVERING))
    async with asyncio.timeout(5):
        await store.wait(FAR_S)
    assert (await claim(store)).job.id == "a1"


async def test_turns_are_followed_ahead_of_them(opened: Opened) -> None:
    store = await opened(Policy(is_fair=True))
    await ran(store, "known", 60.0, owner="z")
    await put(store, *(f"a{n}" for n in range(100)), owner="a")
    await put(store, "a100", owner="a", needs_fetch=True)
    await put(store, "b0", "b1", "b2", owner="b", needs_fetch=True)

    found = [one.id for one in await store.peek(2, nearest=4, horizon=900.0)]
    assert found == ["b0", "b1"]
    assert "a100" not in [one.id for one in await store.peek(16, nearest=4, horizon=900.0)]


# What is counted


async def test_held_inputs_are_told_a_page_at_a_time(store: Store) -> None:
    await put(store, "plain")
    await put(store, "holds", inputs=["a.png", "b.png"])
    await put(store, "over", inputs=["c.png"])
    await store.cancel("over", CANCELLED)

    found, cursor = await store.holdings()
    assert [(one.job_id, one.names) for one in found] == [("holds", ["a.png", "b.png"])]
    assert cursor is None


async def test_the_oldest_is_told(store: Store, hands: Hands) -> None:
    assert await store.oldest() is None
    began = hands()
    await put(store, "a", priority=-5)
    hands.forward(50)
    await put(store, "b", priority=5)
    assert await store.oldest() == pytest.approx(began, abs=1.0)
    await store.cancel("a", CANCELLED)
    assert await store.oldest() == pytest.approx(began + 50, abs=1.0)


async def test_what_is_counted_is_exact_after_a_kill(url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CHURN, url), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"under way\n"
    process.send_signal(signal.SIGKILL)
    await process.wait()

    store = await open_store(url)
    counted = dict.fromkeys(State, 0)
    queued, cursor = [], None
    while True:
        jobs, cursor = await store.list(limit=200, cursor=cursor)
        for one in jobs:
            counted[one.state] += 1
            queued += [one] if one.state is State.QUEUED else []
        if cursor is None:
            break
    assert await store.depth() == counted
    places = await store.places(queued)
    assert sorted(place.position for place in places.values()) == list(range(1, len(queued) + 1))
    assert await claim_all(store) == sorted(places, key=lambda name: places[name].position)
    assert (await store.depth())[State.QUEUED] == 0
    await store.close()
