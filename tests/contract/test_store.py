"""The contract of the job store, for every engine that can be opened by URL."""

from __future__ import annotations

import asyncio
import signal
import sys
import time

import pytest

from gateway import errors
from gateway.jobs import answer
from gateway.jobs.job import Lease, State, Want
from gateway.jobs.store import Store, open_store
from tests.contract.stores import Hands, claim, claim_all, got, job, outcome, put

CANCELLED = {"code": "cancelled", "message": "Cancelled.", "status": 409}
CRASHED = {"code": "engine_crashed", "message": "ComfyUI died.", "status": 500}
FAR_S = 3600.0

PUT_AND_HANG = """
import asyncio, sys
from gateway.jobs.job import Job
from gateway.jobs.store import open_store

async def main():
    store = await open_store(sys.argv[1])
    for job_id in ("first", "second"):
        job = Job(id=job_id, request={"id": job_id}, graph={}, fingerprint="f", created_at=1.0)
        await store.put(job, durable=True)
    print("on disk", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


# For any node


async def test_what_is_put_comes_back_whole(store: Store) -> None:
    wanted = job(
        request={"metadata": {"ä": [1, None]}},
        graph={"1": {"class_type": "A", "inputs": {"seed": 2**53 + 1, "most": 2**64 - 1}}},
        priority=-7,
        is_anonymous=True,
        needs_fetch=True,
        needs_secrets=True,
        idempotency_key="k",
        owner="me",
        deadline=time.time() + 9.25,
        warnings=["w"],
    )
    assert await store.put(wanted, durable=True) == wanted
    assert await store.get("a") == wanted
    assert await store.by_key("k") == wanted
    assert await store.get("b") is None
    assert await store.by_key("a") is None


@pytest.mark.parametrize("durable", [True, False])
async def test_put_is_idempotent_by_id_and_by_key(store: Store, durable: bool) -> None:
    first = job(idempotency_key="k", fingerprint="first")
    await store.put(first, durable=durable)
    for again in (
        job(fingerprint="second"),
        job(fingerprint="second", idempotency_key="other"),
        job("b", fingerprint="second", idempotency_key="k"),
    ):
        assert await store.put(again, durable=durable) == first
    assert (await store.depth())[State.QUEUED] == 1


async def test_one_of_many_puts_at_once_wins(store: Store) -> None:
    jobs = [job(f"j{n}", idempotency_key="k", fingerprint=str(n)) for n in range(20)]
    stored = await asyncio.gather(*(store.put(one, durable=True) for one in jobs))
    assert len({one.id for one in stored}) == 1
    assert (await store.depth())[State.QUEUED] == 1


async def test_list_pages_newest_first(store: Store) -> None:
    await put(store, *"abcde")
    assert (await claim(store)).job.id == "a"
    pages: list[str] = []
    cursor = None
    while True:
        found, cursor = await store.list(limit=2, cursor=cursor)
        pages.append("".join(one.id for one in found))
        if cursor is None:
            break
        await put(store, f"late{len(pages)}")
    assert pages == ["ed", "cb", "a"]
    for state, expected in ((State.RUNNING, ["a"]), (State.FAILED, [])):
        found, cursor = await store.list(state=state)
        assert [one.id for one in found] == expected
        assert cursor is None


async def test_a_full_last_page_has_no_cursor(store: Store) -> None:
    await put(store, *"ab")
    assert (await store.list(limit=2))[1] is None
    assert (await store.list(limit=1))[1] is not None


async def test_depth_counts_every_state(store: Store) -> None:
    await put(store, *"abc")
    await store.finish(await claim(store), outcome())
    await claim(store)
    counts = dict.fromkeys(State, 0)
    counts |= {State.QUEUED: 1, State.RUNNING: 1, State.SUCCEEDED: 1}
    assert await store.depth() == counts


async def test_position_follows_priority_then_age(store: Store) -> None:
    await put(store, *"abc")
    await put(store, "high", priority=1)
    for job_id, position in {"high": 1, "a": 2, "b": 3, "c": 4}.items():
        assert await store.position(await got(store, job_id)) == position
    assert await store.reprioritise("c", 2)
    assert await store.position(await got(store, "c")) == 1
    assert await claim_all(store) == ["c", "high", "a", "b"]
    assert not await store.reprioritise("c", 0)
    assert not await store.reprioritise("nope", 0)


async def test_cancel_removes_asks_or_finds_nothing(store: Store) -> None:
    await put(store, *"ab")
    lease = await claim(store)
    assert await store.cancel("b", CANCELLED) == "removed"
    assert await store.cancel("a", CANCELLED) == "asked"
    assert await store.cancel("a", CRASHED) == "asked"
    for gone in ("b", "nope"):
        assert await store.cancel(gone, CANCELLED) == "gone"
    removed, asked = await got(store, "b"), await got(store, "a")
    assert (removed.state, removed.error) == (State.CANCELLED, CANCELLED)
    assert removed.finished_at is not None
    assert (asked.state, asked.cancel_asked, asked.error) == (State.RUNNING, True, CANCELLED)
    assert await store.renew([lease]) == ([], [lease])
    over = await store.fail(lease, CANCELLED, retry_in=None, max_attempts=2)
    assert over.state is State.CANCELLED
    assert await claim_all(store) == []


async def test_a_cancel_is_not_undone_by_a_retry(store: Store) -> None:
    await put(store, "a")
    lease = await claim(store)
    await store.cancel("a", CANCELLED)
    over = await store.fail(lease, CRASHED, retry_in=0, max_attempts=9)
    assert over.state.is_terminal


# For a worker


async def test_claim_goes_by_priority_then_age(store: Store) -> None:
    for job_id, priority in {"a": 0, "b": 5, "c": 0, "d": 5, "e": -5}.items():
        await put(store, job_id, priority=priority)
    assert await claim_all(store) == list("bdace")


async def test_claim_leaves_jobs_that_are_not_prepared(store: Store) -> None:
    await put(store, "fetch", "ready", needs_fetch=True, priority=1)
    await put(store, "plain")
    assert [one.id for one in await store.peek(1)] == ["fetch"]
    assert [one.id for one in await store.peek(9)] == ["fetch", "ready"]
    assert await claim_all(store, "ready", "unknown") == ["ready", "plain"]
    assert await claim_all(store) == []
    assert [one.id for one in await store.peek(9)] == ["fetch"]


async def test_many_claims_at_once_give_each_job_once(store: Store) -> None:
    await put(store, *(f"j{n}" for n in range(10)))
    leases = await asyncio.gather(*(store.claim(Want()) for _ in range(20)))
    found = [lease.job.id for lease in leases if lease]
    assert sorted(found) == [f"j{n}" for n in range(10)]


@pytest.mark.parametrize(
    "state", [State.SUCCEEDED, State.FAILED, State.CANCELLED], ids=lambda state: state.value
)
async def test_a_terminal_state_never_changes(store: Store, state: State) -> None:
    await put(store, "a")
    lease = await claim(store)
    error = None if state is State.SUCCEEDED else CANCELLED
    over = await store.finish(lease, outcome(state, error=error))
    assert over.finished_at is not None
    await assert_lost(store, lease)
    assert await store.cancel("a", CANCELLED) == "gone"
    assert not await store.reprioritise("a", 3)
    await store.sweep()
    assert await claim_all(store) == []
    assert await store.get("a") == over
    again = await store.put(job(fingerprint="second"), durable=True)
    assert again == over


async def assert_lost(store: Store, lease: Lease) -> None:
    """Every answer under a lease that is another's breaks on the fence."""
    for state in (State.DELIVERING, State.SUCCEEDED):
        with pytest.raises(errors.LeaseLost):
            await store.finish(lease, outcome(state))
    for retry_in in (None, 0.0):
        with pytest.raises(errors.LeaseLost):
            await store.fail(lease, CRASHED, retry_in=retry_in, max_attempts=9)
    with pytest.raises(errors.LeaseLost):
        await store.release(lease)
    assert await store.renew([lease]) == ([lease], [])


async def test_a_lost_lease_is_a_fence(store: Store, hands: Hands) -> None:
    await put(store, "a")
    lost = await claim(store)
    hands.forward(FAR_S)
    await store.sweep()
    await assert_lost(store, lost)
    fresh = await claim(store)
    await assert_lost(store, lost)
    assert await store.renew([fresh, lost]) == ([lost], [])
    assert (await store.finish(fresh, outcome())).state is State.SUCCEEDED


async def test_a_lease_that_is_renewed_lives(store: Store, hands: Hands) -> None:
    await put(store, "a")
    lease = await claim(store)
    hands.forward(FAR_S)
    assert await store.renew([lease]) == ([], [])
    await store.sweep()
    assert (await got(store)).state is State.RUNNING
    hands.forward(2 * FAR_S)
    await store.sweep()
    back = await got(store)
    assert (back.state, back.attempt) == (State.QUEUED, 1)


async def test_delivering_keeps_the_lease_and_the_result(store: Store) -> None:
    await put(store, "a")
    lease = await claim(store)
    result = {"outputs": [{"index": 0}], "texts": []}
    told = outcome(State.DELIVERING, result=result, prompt_id="p", started_at=5.5, warnings=["w"])
    delivering = await store.finish(lease, told)
    assert (delivering.state, delivering.finished_at) == (State.DELIVERING, None)
    done = await store.finish(lease, outcome(result=result, prompt_id="p"))
    assert (done.result, done.prompt_id, done.started_at) == (result, "p", 5.5)
    assert await store.get("a") == done


async def test_release_counts_no_attempt_and_keeps_the_turn(store: Store) -> None:
    await put(store, *"ab")
    await store.release(await claim(store))
    back = await got(store)
    assert (back.state, back.attempt, back.prompt_id) == (State.QUEUED, 1, None)
    assert await claim_all(store) == ["a", "b"]


async def test_fail_retries_until_the_last_attempt(store: Store) -> None:
    await put(store, "a")
    for attempt in (1, 2):
        lease = await claim(store)
        assert lease.job.attempt == attempt
        again = await store.fail(lease, CRASHED, retry_in=0, max_attempts=3)
        assert (again.state, again.attempt) == (State.QUEUED, attempt + 1)
    over = await store.fail(await claim(store), CRASHED, retry_in=0, max_attempts=3)
    assert (over.state, over.attempt, over.error) == (State.FAILED, 3, CRASHED)


async def test_fail_without_retry_ends_the_job(store: Store) -> None:
    await put(store, "a")
    over = await store.fail(await claim(store), CRASHED, retry_in=None, max_attempts=9)
    assert (over.state, over.attempt) == (State.FAILED, 1)


async def test_a_retry_waits_for_its_time(store: Store, hands: Hands) -> None:
    await put(store, *"ab")
    await store.fail(await claim(store), CRASHED, retry_in=FAR_S, max_attempts=9)
    assert await claim_all(store) == ["b"]
    hands.forward(FAR_S + 1)
    assert await claim_all(store) == ["a"]


async def test_sweep_fails_queued_jobs_past_their_deadline(store: Store, hands: Hands) -> None:
    await put(store, *"ab", deadline=time.time() + 100)
    await put(store, "c", deadline=time.time() + 2 * FAR_S)
    await put(store, "d")
    lease = await claim(store)
    await store.sweep()
    assert (await store.depth())[State.QUEUED] == 3
    hands.forward(FAR_S)
    await store.renew([lease])
    await store.sweep()
    states = {job_id: (await got(store, job_id)).state.value for job_id in "abcd"}
    assert states == {"a": "running", "b": "failed", "c": "queued", "d": "queued"}
    assert ((await got(store, "b")).error or {})["code"] == "timeout"


async def test_wait_wakes_on_a_job(store: Store) -> None:
    assert await claim_all(store) == []
    await store.wait(0.001)
    waiting = asyncio.create_task(store.wait(30))
    await put(store, "a")
    await asyncio.wait_for(waiting, 5)
    lease = await claim(store)
    assert await claim_all(store) == []
    waiting = asyncio.create_task(store.wait(30))
    await store.release(lease)
    await asyncio.wait_for(waiting, 5)
    assert await claim_all(store) == ["a"]


async def test_wait_wakes_when_a_retry_is_due(store: Store) -> None:
    await put(store, "a")
    await store.fail(await claim(store), CRASHED, retry_in=0.05, max_attempts=9)
    async with asyncio.timeout(10):
        while not await claim_all(store):
            await store.wait(30)


async def test_progress_is_told_until_the_end(store: Store) -> None:
    await put(store, "a")
    lease = await claim(store)
    assert store.progress_of("a") == {}
    store.progress(lease, {"phase": "preparing", "value": 0.5})
    store.progress(lease, {"value": 0.6})
    assert store.progress_of("a") == {"phase": "preparing", "value": 0.6}
    await store.finish(lease, outcome())
    assert store.progress_of("a") == {}


# Watching


async def seen(store: Store, after: int | None, count: int) -> list[tuple[int, str, str]]:
    found = []
    watching = store.watch(after)
    async with asyncio.timeout(10):
        async for change in watching:
            found.append((change.event_id, change.job.id, change.job.state.value))
            if len(found) == count:
                break
    await watching.aclose()  # type: ignore[attr-defined]
    return found


async def test_watch_resumes_by_event_id(store: Store) -> None:
    await put(store, "a")
    lease = await claim(store)
    await store.cancel("a", CANCELLED)
    await store.finish(lease, outcome(State.DELIVERING))
    await store.finish(lease, outcome())
    everything = await seen(store, 0, 5)
    states = [state for _, _, state in everything]
    assert states == ["queued", "running", "running", "delivering", "succeeded"]
    ids = [event_id for event_id, _, _ in everything]
    assert ids == sorted(set(ids))
    for left, (event_id, _, _) in enumerate(reversed(everything)):
        if left:
            assert await seen(store, event_id, left) == everything[-left:]


async def test_watch_from_now_tells_no_past(store: Store) -> None:
    await put(store, "a")
    watching = asyncio.create_task(seen(store, None, 2))
    await asyncio.sleep(0)
    await put(store, *"bc")
    assert [job_id for _, job_id, _ in await watching] == ["b", "c"]


# A new start


async def test_a_reopened_store_recovers(url: str) -> None:
    first = await open_store(url)
    await put(first, "cancelled", "running", "delivering")
    await put(first, "anonymous-running", is_anonymous=True)
    leases = [await claim(first) for _ in range(4)]
    await first.finish(leases[2], outcome(State.DELIVERING))
    await first.cancel("cancelled", CANCELLED)
    await put(first, "anonymous-queued", is_anonymous=True)
    await put(first, "queued")
    await put(first, "over", priority=9)
    await first.finish(await claim(first), outcome())
    await first.close()
    second = await open_store(url)
    try:
        assert {job.id for job in second.cut_off} == {lease.job.id for lease in leases}
        for lease in leases:
            await assert_lost(second, lease)
        states = {one.id: one.state.value for one in (await second.list())[0]}
        assert states == {
            "cancelled": "cancelled",
            "running": "queued",
            "delivering": "queued",
            "anonymous-running": "cancelled",
            "anonymous-queued": "cancelled",
            "over": "succeeded",
            "queued": "queued",
        }
        gone = await got(second, "anonymous-running")
        assert (gone.error or {})["code"] == "client_gone"
        assert gone.finished_at is not None
        assert (await got(second, "running")).attempt == 1
        assert (await got(second, "cancelled")).error == CANCELLED
    finally:
        await second.close()


async def test_a_durable_put_survives_kill_9(url: str) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PUT_AND_HANG, url), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    try:
        assert await asyncio.wait_for(child.stdout.readline(), 20) == b"on disk\n"
    finally:
        child.send_signal(signal.SIGKILL)
        await child.wait()
    store = await open_store(url)
    assert [one.id for one in (await store.list())[0]] == ["second", "first"]
    assert await claim_all(store) == ["first", "second"]
    await store.close()


async def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="no job store for nosuch:"):
        await open_store("nosuch:somewhere")


# For the janitor


async def test_records_outlive_files(store: Store, hands: Hands) -> None:
    await put(store, "files", "none", "running", "queued")
    result = {"outputs": [{"index": 0}]}
    await store.finish(await claim(store), outcome(result=result))
    await store.finish(await claim(store), outcome())
    await claim(store)
    assert await store.expired(hands() - FAR_S) == []
    assert await store.expire(hands() - FAR_S) == 0
    hands.forward(FAR_S)
    assert [one.id for one in await store.expired(hands())] == ["files"]
    assert await store.expire(hands()) == 1
    assert await store.get("none") is None
    await store.forget_files("files")
    assert await store.expired(hands()) == []
    assert (await got(store, "files")).result == result
    assert await store.expire(hands()) == 1
    assert [one.id for one in (await store.list())[0]] == ["queued", "running"]


async def test_only_a_job_that_is_over_can_be_deleted(store: Store) -> None:
    await put(store, *"ab")
    lease = await claim(store)
    for job_id in ("a", "b", "nope"):
        assert not await store.delete(job_id)
    await store.finish(lease, outcome())
    assert await store.delete("a")
    assert not await store.delete("a")
    # Its id is free again.
    second = job("a", fingerprint="second")
    assert await store.put(second, durable=True) == second
    assert await claim_all(store) == ["b", "a"]


async def test_a_wish_for_the_end_is_told_before_what_follows_it(store: Store) -> None:
    await put(store, "a")
    lease = await claim(store)
    changes = store.watch()
    watching = asyncio.create_task(anext(changes))
    await asyncio.sleep(0)
    await asyncio.gather(
        store.cancel("a", {"code": "cancelled"}),
        store.finish(lease, outcome(State.DELIVERING)),
    )
    told = [await watching, await anext(changes)]
    assert [(change.job.state, change.job.cancel_asked) for change in told] == [
        (State.RUNNING, True),
        (State.DELIVERING, True),
    ]


async def test_an_end_that_quotes_what_is_no_text_is_stored(store: Store) -> None:
    await put(store, "a")
    error = {"code": "internal", "message": "no file \udcff.png", "size": 2**70}
    await store.fail(await claim(store), error, retry_in=None, max_attempts=2)
    assert (await got(store)).error == {**error, "message": "no file ?.png"}


async def test_a_job_that_failed_says_how_far_it_came(store: Store) -> None:
    await put(store, "a")
    lease = await claim(store)
    how_far = {"value": 0.5, "nodes_done": 1, "nodes_total": 2}
    store.progress(lease, {"prompt_id": "p", "started_at": 7.0, "progress": how_far})
    failed = await store.fail(lease, CRASHED, retry_in=None, max_attempts=2)
    assert (failed.prompt_id, failed.started_at) == ("p", 7.0)
    shown = answer.record(await got(store), store.progress_of("a"), None)
    assert shown["progress"] == how_far
