"""One id, and requests that come at once, or leave: the job keeps what it needs."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import uuid
from collections.abc import Callable
from typing import Any

import aiohttp

from tests.acceptance.conftest import Gateway
from tests.acceptance.faulty import picture
from tests.hosts import running, silence
from tests.waiting import wait_until

SECRET = {"extra_data": {"api_key": "pl4nted-k3y"}}


def body(job_id: str) -> dict[str, Any]:
    return {"prompt": picture(3), "id": job_id, **SECRET}


async def test_requests_that_come_at_once_share_a_job_and_its_secrets(gateway: Gateway) -> None:
    for _ in range(4):
        asked = body(str(uuid.uuid4()))
        answers = await asyncio.gather(*(gateway.ask(body=asked) for _ in range(4)))
        assert [answer.status for answer in answers] == [200] * 4, answers[0].json


async def test_another_request_at_once_takes_no_secret_from_the_job(gateway: Gateway) -> None:
    for _ in range(4):
        asked = body(str(uuid.uuid4()))
        others = [{**asked, "extra_data": {"api_key": str(n)}} for n in range(3)]
        answers = await asyncio.gather(*(gateway.ask(body=one) for one in (asked, *others)))
        assert sorted(answer.status for answer in answers) == [200, 409, 409, 409]


async def left(gateway: Gateway, asked: dict[str, Any]) -> None:
    """Post a prompt, and hang up while its job is being stored."""
    with contextlib.closing(sqlite3.connect(gateway.folder / "state_dir/jobs.db")) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        async with aiohttp.ClientSession() as session:
            leaving = asyncio.create_task(session.post(f"{gateway.url}/prompt", json=asked))
            await asyncio.wait({leaving}, timeout=0.3)
            leaving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await leaving
        other.execute("ROLLBACK")


async def test_a_job_whose_client_leaves_keeps_its_secrets(gateway: Gateway) -> None:
    """Whoever comes back with the same request gets its result."""
    asked = body(str(uuid.uuid4()))
    await left(gateway, asked)

    async def is_stored() -> bool:
        return (await gateway.ask(f"/jobs/{asked['id']}")).status == 200

    await wait_until(is_stored, description="the job is stored")
    assert (await gateway.ask(body=asked)).status == 200


async def test_an_anonymous_job_ends_when_its_client_leaves(gateway: Gateway) -> None:
    mark = str(uuid.uuid4())
    await left(gateway, {"prompt": picture(3, 512), "metadata": {"mark": mark}})

    async def end() -> str | None:
        found = (await gateway.ask("/jobs?limit=5")).json["jobs"]
        own = [job for job in found if job.get("metadata") == {"mark": mark}]
        return own[0]["state"] if own and "finished_at" in own[0] else None

    assert await wait_until(end, description="the job is over") == "cancelled"


async def test_a_name_that_is_used_again_is_fetched_for_anew(gateway: Gateway) -> None:
    """What was prepared under it was another job's: its turn comes when this one's inputs lie."""
    job_id = str(uuid.uuid4())

    async def record() -> dict[str, Any]:
        return (await gateway.ask(f"/jobs/{job_id}")).json

    async def is_fetched_for() -> bool:
        return (await record()).get("phase") == "preparing"

    async with running() as host:
        load = {"class_type": "LoadImage", "inputs": {"image": host.on("/never.png", silence)}}
        asked = {"prompt": {**picture(3), "1": load}, "id": job_id}
        for _ in range(2):
            answer = await gateway.ask(body=asked, headers={"Prefer": "respond-async"})
            assert answer.status == 202
            await wait_until(is_fetched_for, description="its input is fetched")
            await gateway.ask(f"/jobs/{job_id}/cancel", method="POST")
            assert (await record())["state"] == "cancelled"
            await gateway.ask(f"/jobs/{job_id}", method="DELETE")


async def test_whoever_shares_a_job_is_answered_however_soon_it_is_forgotten(
    start: Callable[..., Any],
) -> None:
    with start(OUTPUT_TTL_S="0", JOB_TTL_S="0") as brief:
        for _ in range(20):
            asked = body(str(uuid.uuid4()))
            answers = await asyncio.gather(*(brief.ask(body=asked) for _ in range(3)))
            assert [len(answer.json["images"]) for answer in answers] == [1, 1, 1]


async def test_an_id_that_is_free_again_runs_the_same_graph_again(gateway: Gateway) -> None:
    """ComfyUI has the graph cached, and reports the files that went with the first job."""
    asked = body(str(uuid.uuid4()))
    first = await gateway.ask(body=asked)
    deleted = await gateway.ask(f"/jobs/{asked['id']}", method="DELETE")
    again = await gateway.ask(body=asked)
    assert (first.status, deleted.status, again.status) == (200, 204, 200), again.json
    assert again.json["filenames"] == first.json["filenames"]
    assert (again.json["warnings"], again.json["prompt"]) == ([], first.json["prompt"])
