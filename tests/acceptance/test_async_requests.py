"""Whoever does not wait: a 202 once the job is on disk, its record, its end, how long it stays."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.acceptance import faulty
from tests.acceptance.conftest import Gateway
from tests.acceptance.faulty import Place, picture
from tests.acceptance.shelves import Shelf
from tests.acceptance.test_webhooks import SETTINGS, deliveries, until, verified
from tests.receivers import Receiver
from tests.waiting import wait_until

PREFER = {"Prefer": "respond-async"}
SECRETS = {
    "credentials": [{"url_pattern": "**", "auth": {"type": "bearer", "token": "pl4nted-t0ken"}}],
    "extra_data": {"api_key": "pl4nted-k3y"},
}


def ways(receiver: Receiver, shelf: Shelf) -> dict[str, dict[str, Any]]:
    """What makes a request asynchronous, by a name for it; `prefer` is a header."""
    return {
        "hook": {"webhook_v2": receiver.url("/v2")},
        "older": {"webhook": receiver.url("/older")},
        "upload": {"http_upload": {"url_prefix": shelf.url, "async": True}},
        "prefer": {},
    }


def headers(way: str) -> dict[str, str]:
    return PREFER if way == "prefer" else {}


@contextlib.asynccontextmanager
async def one_at_a_time(place: Place, faults: str, **settings: str) -> AsyncIterator[Any]:
    async with faulty.gateway(place, faults, COMFY_QUEUE_DEPTH="1", **settings) as found:
        yield found


# The answer


@pytest.mark.parametrize("way", ["hook", "older", "upload", "prefer"])
async def test_it_is_answered_at_once(
    gateway: Gateway, receiver: Receiver, shelf: Shelf, way: str
) -> None:
    job_id = str(uuid.uuid4())
    asked = {"prompt": picture(2), "id": job_id, "metadata": {"order": 7}, "priority": 3}
    asked |= ways(receiver, shelf)[way]
    answer = await gateway.ask(body={**asked, **SECRETS}, headers=headers(way))

    assert (answer.status, answer.headers["Location"]) == (202, f"/jobs/{job_id}")
    assert answer.headers.get("Preference-Applied") == headers(way).get("Prefer")
    assert answer.json == {**asked, "status": "ok"}
    assert b"pl4nted" not in answer.raw
    job = (await gateway.ask(answer.headers["Location"])).json
    assert (job["id"], job["priority"], job["metadata"]) == (job_id, 3, {"order": 7})


async def test_a_job_without_an_id_gets_one(gateway: Gateway) -> None:
    answer = await gateway.ask(body={"prompt": picture(2)}, headers=PREFER)

    assert uuid.UUID(answer.json["id"])
    assert answer.headers["Location"] == f"/jobs/{answer.json['id']}"


async def test_a_bad_graph_is_refused_and_not_accepted(gateway: Gateway) -> None:
    graph = picture()
    graph["1"]["class_type"] = "NoSuchNode"
    answer = await gateway.ask(body={"prompt": graph, "id": "bad-graph"}, headers=PREFER)

    assert answer.status == 422
    assert (await gateway.ask("/jobs/bad-graph")).status == 404


async def test_what_was_answered_outlives_a_kill(
    quiet_place: Place, receiver: Receiver, shelf: Shelf
) -> None:
    asked = ways(receiver, shelf)
    async with one_at_a_time(quiet_place, "--slow 20", **SETTINGS) as found:
        asking = [
            found.ask("POST", "/prompt", {"prompt": picture(), "id": way, **more}, **headers(way))
            for way, more in asked.items()
        ]
        answers = await asyncio.gather(*asking)
        await found.die()
    with contextlib.closing(sqlite3.connect(quiet_place.folder / "state_dir" / "jobs.db")) as db:
        stored = {row[0] for row in db.execute("SELECT id FROM jobs")}
    assert [answer.status for answer in answers] == [202] * 4
    assert stored == asked.keys()

    async with one_at_a_time(quiet_place, "", **SETTINGS) as found:
        jobs = [await found.until_state(way, "succeeded") for way in asked]
        await until(found, "delivered", 2)

    assert [job["attempt"] for job in jobs] == [1] * 4
    assert [verified(call)["id"] for call in receiver.heard("/v2")] == ["hook"]
    assert [call.json["id"] for call in receiver.heard("/older")] == ["older"]
    assert [path.startswith("/upload_") for path in shelf.files] == [True]


# Joined


async def test_who_asks_again_joins_the_job(place: Place) -> None:
    body = {"prompt": picture(5), "id": "mine"}
    key = {"Idempotency-Key": "order-7"}
    async with one_at_a_time(place, "--slow 0.3") as found:
        accepted = [
            await found.ask("POST", "/prompt", body, **PREFER),
            await found.ask("POST", "/prompt", {"prompt": picture(6)}, **PREFER, **key),
        ]
        again = [
            await found.ask("POST", "/prompt", body, **PREFER),
            await found.ask("POST", "/prompt", {"prompt": picture(6)}, **PREFER, **key),
        ]
        others = [
            await found.ask("POST", "/prompt", {**body, "prompt": picture(7)}, **PREFER),
            await found.ask("POST", "/prompt", {"prompt": picture(7)}, **PREFER, **key),
        ]
        # These two wait for the jobs that are there.
        waited = await asyncio.gather(
            found.ask("POST", "/prompt", body),
            found.ask("POST", "/prompt", {"prompt": picture(6)}, **key),
        )
        late = await found.ask("POST", "/prompt", body, **PREFER)
        jobs = await found.jobs()

    ids = [answer.body["id"] for answer in accepted]
    assert [answer.status for answer in accepted + again] == [202] * 4
    assert [answer.body["id"] for answer in again] == ids
    assert [(one.status, one.body["code"]) for one in others] == [(409, "id_taken")] * 2
    for answer, job_id in zip(waited, ids, strict=True):
        assert (answer.status, answer.body["id"]) == (200, job_id)
        assert len(answer.body["images"]) == 1
    assert (late.status, late.body["images"]) == (200, waited[0].body["images"])
    assert [job["id"] for job in jobs] == list(reversed(ids))


# The record


async def test_the_record_follows_the_job(place: Place) -> None:
    async with one_at_a_time(place, "--slow 0.3") as found:
        for number in range(4):
            await found.submit(f"job-{number}", picture(number), metadata={"n": number})
        await found.submit("late", picture(), timeout=0.0001)
        [running] = await found.until_begun()
        queued = [await found.job(f"job-{number}") for number in (1, 2, 3)]
        late = await found.until_state("late", "failed")
        await found.ask("POST", "/jobs/job-3/cancel")
        over = await found.until_state("job-0", "succeeded")
        output = await found.ask("GET", over["outputs"][0]["url"])
        await found.until_state("job-2", "succeeded")

        listed = await found.jobs()
        of_state = [job["id"] for job in await found.jobs("cancelled")]
        pages, cursor = [], ""
        while cursor is not None:
            page = (await found.ask("GET", f"/jobs?limit=2{cursor}")).body
            pages.append([job["id"] for job in page["jobs"]])
            cursor = f"&cursor={page['next_cursor']}" if "next_cursor" in page else None

    assert (running["id"], running["state"], running["attempt"]) == ("job-0", "running", 1)
    assert running["prompt_id"]
    assert 0 <= running["progress"]["value"] < 1
    assert running["progress"]["nodes_total"] == 2
    assert "position" not in running
    assert [(job["state"], job["position"]) for job in queued] == [
        ("queued", 1),
        ("queued", 2),
        ("queued", 3),
    ]
    assert (over["progress"]["value"], over["metadata"]) == (1, {"n": 0})
    assert over["created_at"] <= over["started_at"] <= over["finished_at"]
    assert all(over[name].endswith("Z") for name in ("created_at", "started_at", "finished_at"))
    assert {"queue_time", "comfy_execution", "total_time"} <= over["stats"].keys()
    assert over["outputs"][0].items() >= {"index": 0, "node_id": "2", "width": 16}.items()
    assert output.body.startswith(b"\x89PNG")
    assert (late["error"]["code"], late["outputs"]) == ("timeout", [])
    assert listed[1]["error"]["code"] == "cancelled"
    assert [job["id"] for job in listed] == ["late", "job-3", "job-2", "job-1", "job-0"]
    assert of_state == ["job-3"]
    assert pages == [["late", "job-3"], ["job-2", "job-1"], ["job-0"]]


@pytest.mark.parametrize(
    ("query", "location"),
    [("state=gone", "state"), ("limit=0", "limit"), ("limit=x", "limit"), ("cursor=x", "cursor")],
)
async def test_a_page_that_there_is_not(gateway: Gateway, query: str, location: str) -> None:
    answer = await gateway.ask(f"/jobs?{query}")

    assert (answer.status, answer.json["location"]) == (422, location)


async def test_a_job_is_cancelled_then_deleted(place: Place) -> None:
    async with one_at_a_time(place, "--slow 0.4") as found:
        for number, name in enumerate(("done", "running", "queued")):
            await found.submit(name, picture(number))
        await found.until_state("done", "succeeded")
        await found.until_begun()
        kept = [await found.ask("DELETE", f"/jobs/{name}") for name in ("running", "queued")]
        told = [await found.ask("POST", f"/jobs/{name}/cancel") for name in ("queued", "running")]
        for name in ("queued", "running"):
            await found.until_state(name, "cancelled")
        names = ("done", "running", "queued")
        late = [await found.ask("POST", f"/jobs/{name}/cancel") for name in names]
        deleted = [await found.ask("DELETE", f"/jobs/{name}") for name in names]
        unknown = [
            await found.ask("POST", "/jobs/none/cancel"),
            await found.ask("DELETE", "/jobs/none"),
            await found.ask("GET", "/jobs/done"),
            await found.ask("GET", "/jobs/done/outputs/0"),
        ]
        await found.until_engine_free()
        left = place.written()

    assert [(one.status, one.body["code"]) for one in kept] == [(409, "job_running")] * 2
    assert told[0].body == {"id": "queued", "state": "cancelled"}
    assert [answer.status for answer in told] == [202, 202]
    states = ["succeeded", "cancelled", "cancelled"]
    assert [(one.status, one.body["state"]) for one in late] == [(200, s) for s in states]
    assert [answer.status for answer in deleted] == [204] * 3
    assert [(one.status, one.body["code"]) for one in unknown] == [(404, "job_not_found")] * 4
    assert left == []


# How long


async def test_what_is_owed_is_kept_until_it_is_delivered(
    quiet_place: Place, receiver: Receiver
) -> None:
    receiver.on("/owed", receiver.says(500))
    receiver.on("/dead", receiver.says(410))
    short = {**SETTINGS, "OUTPUT_TTL_S": "0.2", "JOB_TTL_S": "0.2", "WEBHOOK_MAX_ATTEMPTS": "1000"}
    names = ("owed", "dead", "buried")
    async with faulty.gateway(quiet_place, **short) as found:
        for name in names:
            hook = receiver.url("/owed" if name == "owed" else "/dead")
            await found.submit(name, picture(), webhook_v2=hook)
        await until(found, "dead", 2)
        # The janitor has been there when this one is gone.
        await found.submit("plain", picture())
        await gone(found, "plain")
        kept = [await found.job(name) for name in names]
        files = [await found.ask("GET", job["outputs"][0]["url"]) for job in kept]

        receiver.on("/owed", receiver.says(200))
        await gone(found, "owed")
        receiver.on("/dead", receiver.says(200))
        [letter] = await deliveries(found, "?job_id=dead")
        await found.ask("POST", f"/webhooks/deliveries/{letter['id']}/replay")
        await gone(found, "dead")
        assert (await found.job("buried"))["state"] == "succeeded"

    async with faulty.gateway(quiet_place, **short, DEAD_LETTER_TTL_S="0") as found:
        await gone(found, "buried")
        letters = await deliveries(found)

    assert [job["state"] for job in kept] == ["succeeded"] * 3
    assert [file.body[:4] for file in files] == [b"\x89PNG"] * 3
    assert verified(receiver.heard("/owed")[-1])["images"]
    assert len(verified(receiver.heard("/dead")[-1])["images"]) == 1
    assert quiet_place.written() == []
    assert letters == []


async def gone(found: faulty.Gateway, name: str) -> None:
    async def is_gone() -> bool:
        return (await found.ask("GET", f"/jobs/{name}")).status == 404

    await wait_until(is_gone, description=f"the record of {name} is gone")
