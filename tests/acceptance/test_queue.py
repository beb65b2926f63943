"""The queue over HTTP: who is refused and until when, what a queued job may expect, what waits."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from typing import Any

from gateway.jobs.job import Job, Outcome, State, Want
from gateway.jobs.store import open_store
from tests import hosts
from tests.acceptance.conftest import png
from tests.acceptance.faulty import Answer, Gateway, Place, gateway, picture

_ASYNC = {"Prefer": "respond-async"}


def loading(image: str) -> dict[str, Any]:
    return {**picture(), "1": {"class_type": "LoadImage", "inputs": {"image": image}}}


async def submit(found: Gateway, graph: dict[str, Any], **more: Any) -> Answer:
    return await found.ask("POST", "/prompt", {"prompt": graph, **more}, **_ASYNC)


async def busy(found: Gateway) -> None:
    """Have ComfyUI run one job and hold another, for as long as the engine takes."""
    for number in range(2):
        assert (await submit(found, picture(number))).status == 202
    await found.until_jobs(2, "running")


async def store_with_a_known_duration(place: Place, seconds: float, *jobs: Job) -> None:
    """Fill the store of a gateway that has not started yet."""
    state = place.folder / "state_dir"
    state.mkdir(exist_ok=True)
    store = await open_store(f"sqlite:{state / 'jobs.db'}")
    for number, job in enumerate([a_job("known", picture()), *jobs]):
        await store.put(job, durable=False)
        if number == 0:
            lease = await store.claim(Want())
            assert lease is not None
            result = {"stats": {"comfy_execution": {"duration": seconds * 1000}}, "texts": []}
            await store.finish(lease, Outcome(State.SUCCEEDED, {}, {**result, "outputs": []}, []))
    await store.close()


def a_job(job_id: str, graph: dict[str, Any], **more: Any) -> Job:
    now = time.time()
    return Job(id=job_id, request={}, graph=graph, fingerprint="f", created_at=now, **more)


async def test_a_full_queue_says_until_when_and_lets_a_request_join_its_job(place: Place) -> None:
    await store_with_a_known_duration(place, 120.0)
    async with gateway(place, "--slow 60", MAX_QUEUE_DEPTH="3") as found:
        await busy(found)
        answers = await asyncio.gather(
            *(submit(found, picture(n), id=f"job-{n}") for n in range(10, 22))
        )
        accepted = [f"job-{n + 10}" for n, one in enumerate(answers) if one.status == 202]
        refused = [one for one in answers if one.status == 429]
        assert (len(accepted), len(refused)) == (3, 9)
        for one in refused:
            assert one.body["code"] == "queue_full"
            assert "3 jobs are queued (MAX_QUEUE_DEPTH=3)" in one.body["error"]
            # The one that runs has begun a moment ago.
            assert 100 <= int(one.headers["Retry-After"]) <= 120

        number = int(accepted[0].removeprefix("job-"))
        assert (await submit(found, picture(number), id=accepted[0])).status == 202
        unready = await found.until_unready("queue_full")
        assert 90 <= int(unready.headers["Retry-After"]) <= 120
        await found.ask("POST", f"/jobs/{accepted[0]}/cancel", {})
        await found.until_ready()
        assert (await submit(found, picture(1))).status == 202


async def test_each_key_may_queue_and_run_so_many(place: Place) -> None:
    keys = {"API_KEYS": "ann:first-key,ben:second-key"}
    limits = {"MAX_QUEUED_PER_KEY": "1", "MAX_RUNNING_PER_KEY": "1"}
    ann, ben = ({"X_API_Key": key} for key in ("first-key", "second-key"))
    async with gateway(place, "--slow 60", ready=False, **keys, **limits) as found:
        await found.until_ready()

        async def sent(who: dict[str, str], number: int) -> Answer:
            return await found.ask(
                "POST", "/prompt", {"prompt": picture(number), "id": f"j{number}"}, **_ASYNC, **who
            )

        async def state_of(number: int, wanted: str) -> None:
            async def reached() -> bool:
                return (await found.ask("GET", f"/jobs/j{number}", **ann)).body["state"] == wanted

            await hosts.wait_until(reached, description=f"j{number} is {wanted}")

        assert (await sent(ann, 1)).status == 202
        await state_of(1, "running")
        # ComfyUI has room for one more, but not for one of hers.
        assert (await sent(ann, 2)).status == 202
        refused = await sent(ann, 3)
        assert (refused.status, refused.body["code"]) == (429, "key_queue_full")
        assert "1 jobs of this key are queued (MAX_QUEUED_PER_KEY=1)" in refused.body["error"]
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await sent(ben, 4)).status == 202
        await state_of(4, "running")
        await state_of(2, "queued")


async def test_a_queued_job_tells_its_place_and_what_it_may_expect(place: Place) -> None:
    async with gateway(place, "--slow 0.3", COMFY_QUEUE_DEPTH="1") as found:
        assert (await submit(found, picture(0), id="first")).status == 202
        assert "estimate" not in await found.job("first")
        await found.until_state("first", "succeeded")
        for number in range(1, 6):
            await submit(found, picture(number), id=f"j{number}")
        last = await found.job("j5")
        listed = {job["id"]: job for job in await found.jobs("queued")}

        assert last["position"] in (4, 5)
        # Two nodes, and three or four jobs before it.
        assert 0.5 <= last["estimate"]["duration"] <= 2
        assert 1.5 <= last["estimate"]["wait"] <= 8
        waits = [listed[f"j{n}"]["estimate"]["wait"] for n in (3, 4, 5)]
        assert waits == sorted(waits)
        begun = await found.until_state("j1", "running", "succeeded")
        assert not {"position", "estimate"} & begun.keys()


async def test_nothing_is_fetched_for_a_job_that_runs_hours_from_now(place: Place) -> None:
    async with hosts.running() as host:
        near, far = (
            host.on(f"/{name}.png", hosts.says(hosts.OK, png())) for name in ("near", "far")
        )
        waiting = [a_job(f"j{n}", picture(n)) for n in range(500)]
        last = a_job("far", loading(far), needs_fetch=True)
        urgent = a_job("near", loading(near), needs_fetch=True, priority=1)
        await store_with_a_known_duration(place, 60.0, *waiting, last, urgent)
        async with gateway(place, "--slow 60", ALLOW_PRIVATE_NETWORKS="127.0.0.0/8") as found:
            await found.until_jobs(2, "running")
            await hosts.wait_until(
                lambda: any(one.target == "/near.png" for one in host.asked),
                description="what is near is fetched",
            )
            # The loop that fetched it has looked past the other, more than once.
            for number in range(500, 503):
                await submit(found, picture(number))
            position = (await found.job("far"))["position"]
        assert position > 490
        assert [one.target for one in host.asked] == ["/near.png"]


async def test_the_files_of_a_queued_job_outlive_a_restart(place: Place) -> None:
    settings = {"INPUT_TTL_S": "0", "OUTPUT_TTL_S": "1"}
    encoded = base64.b64encode(png()).decode()
    async with gateway(place, "--slow 60", **settings) as found:
        await busy(found)
        assert (await submit(found, loading(encoded), id="holds")).status == 202
        await found.die()
    held, ledger = next((place.folder / "input").glob("*.png")), place.folder / "state_dir/inputs"
    forgotten = held.with_name("forgotten.png")
    for path in (forgotten, ledger / "ledger" / forgotten.name):
        path.write_bytes(b"")
    for marker in (ledger / "ledger").iterdir():
        os.utime(marker, (0, 0))

    async with gateway(place, "--slow 60", **settings) as found:
        await hosts.wait_until(lambda: not forgotten.exists(), description="inputs were swept")
        assert (await found.job("holds"))["state"] == "queued"
        assert held.exists()
