"""GET /jobs/{id}/events, read from outside: by one, by two, cut off, late, and too early."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator

import httpx
import pytest_asyncio
from httpx_sse import aconnect_sse
from PIL import Image

from tests.acceptance.faulty import Gateway, Place, gateway, picture
from tests.acceptance.following import following
from tests.sampling import put_model, sampler
from tests.waiting import wait_until

STEPPING = "--step-delay 0.02"


@pytest_asyncio.fixture
async def running(place: Place) -> AsyncIterator[Gateway]:
    put_model(place.folder / "model_dir")
    async with gateway(place, STEPPING, COMFY_QUEUE_DEPTH="1") as found:
        yield found


async def test_a_public_library_reads_a_job_to_its_end(running: Gateway) -> None:
    await running.submit("a", sampler(20))
    async with (
        httpx.AsyncClient(trust_env=False) as client,
        aconnect_sse(client, "GET", running.events_url("a")) as source,
    ):
        events = [event async for event in source.aiter_sse()]
    kinds = {event.event for event in events}
    assert {"state", "progress", "output"} <= kinds
    assert "preview" not in kinds
    assert (events[0].event, events[-1].event) == ("state", "state")
    assert events[-1].json() == {"state": "succeeded", "attempt": 1}
    values = [event.json()["value"] for event in events if event.event == "progress"]
    assert values == sorted(values)
    assert values[-1] == 1
    ids = [int(event.id) for event in events]
    assert ids == sorted(set(ids))


async def test_two_readers_hear_the_same_and_the_record_agrees(running: Gateway) -> None:
    await running.submit("a", sampler(20))
    async with (
        following(running, "a") as one,
        following(running, "a", "?previews=1") as other,
    ):
        await one.until_end()
        await other.until_end()
    common = {event.id for event in one.events} & {event.id for event in other.events}
    assert len(common) > 5
    without = [event for event in other.events if event.kind != "preview"]
    assert [event for event in without if event.id in common] == [
        event for event in one.events if event.id in common
    ]
    assert one.of("output") == (await running.job("a"))["outputs"]
    step = next(data for data in one.of("progress") if data.get("step"))
    assert step == {
        "value": step["value"],
        "node": "3",
        "class_type": "KSampler",
        "nodes_done": step["nodes_done"],
        "nodes_total": 7,
        "step": step["step"],
        "steps": 20,
    }
    assert one.of("preview") == []
    previews = other.of("preview")
    assert 1 <= len(previews) <= 3
    assert previews[0]["node_id"] == "3"
    assert previews[0]["content_type"] == "image/jpeg"
    picture_of = Image.open(io.BytesIO(base64.b64decode(previews[0]["data_base64"])))
    assert picture_of.format == "JPEG"


async def test_who_was_cut_off_misses_nothing_and_hears_nothing_twice(running: Gateway) -> None:
    await running.submit("a", sampler(60))
    async with (
        following(running, "a") as whole,
        following(running, "a") as first,
    ):
        await first.until(lambda found: len(found.of("progress")) > 2, "some progress came")
        heard = first.events[-1].id
        await whole.until(lambda found: found.events[-1].id > heard, "more came")
        again = following(running, "a", Last_Event_ID=str(heard))
        async with again as second:
            await second.until_end()
            await whole.until_end()
    assert second.events == [event for event in whole.events if event.id > heard]
    last = whole.events[-1].id
    for given in (str(last), "garbage", "-1", "9" * 30):
        named = {"Last-Event-ID": given}
        async with running.session.get(running.events_url("a"), headers=named) as answer:
            assert answer.status == (204 if given == str(last) else 200)
            told = await answer.text()
    assert told.count("event: state") == 1
    async with running.session.get(running.events_url("a", f"?last_event_id={last}")) as answer:
        assert answer.status == 204


async def test_an_output_is_told_and_fetched_while_the_job_runs(running: Gateway) -> None:
    early = {**picture(), **sampler(50)}
    await running.submit("a", early)
    async with following(running, "a") as reader:
        await reader.until(lambda found: found.of("output"), "an output came")
        assert "url" in reader.of("output")[0]
        fetched = await running.ask("GET", reader.of("output")[0]["url"])
        assert (await running.job("a"))["state"] == "running"
        assert (fetched.status, fetched.body[:4]) == (200, b"\x89PNG")
        missing = await running.ask("GET", "/jobs/a/outputs/1")
        assert (missing.status, missing.body["code"]) == (404, "output_not_found")
        await reader.until_end()
    assert reader.of("output") == (await running.job("a"))["outputs"]


async def test_an_output_that_others_may_come_to_stand_before_has_no_index_yet(
    running: Gateway,
) -> None:
    blank, save = picture().values()
    later = {**sampler(50), "20": blank, "21": save}
    later["21"]["inputs"]["images"] = ["20", 0]
    converted = {"convert_output": {"format": "webp"}}
    await running.submit("a", later, **converted)
    async with following(running, "a") as reader:
        await reader.until(lambda found: found.of("output"), "an output came")
        assert not {"index", "url"} & reader.of("output")[0].keys()
        await reader.until_end()
    outputs = (await running.job("a"))["outputs"]
    assert reader.of("output")[-2:] == outputs
    assert {found["filename"][-5:] for found in outputs} == {".webp"}
    assert reader.states[-2:] == ["delivering", "succeeded"]


async def test_a_queued_job_is_seen_to_come_nearer(running: Gateway) -> None:
    await running.submit("a", sampler(60))
    # Positions are looked at once a second: it must run for longer than that.
    await running.submit("b", sampler(75, seed=2))
    await running.submit("c", picture(3))
    async with following(running, "c") as reader:
        await reader.until_end()
    positions = [data["position"] for data in reader.of("state") if "position" in data]
    assert positions == [2, 1]
    assert reader.states[-2:] == ["running", "succeeded"]


async def test_what_cannot_be_followed(running: Gateway) -> None:
    unknown = await running.ask("GET", "/jobs/nobody/events")
    assert (unknown.status, unknown.body["code"]) == (404, "job_not_found")
    await running.submit("a", picture())
    await running.until_state("a", "succeeded")
    wrong = await running.ask("GET", "/jobs/a/events?previews=maybe")
    assert (wrong.status, wrong.body["location"]) == (422, "previews")
    assert (await running.ask("HEAD", "/jobs/a/events")).status == 405
    over = await running.ask("GET", "/jobs/a/events")
    kinds = [line for line in over.body.decode().split("\n") if line.startswith("event")]
    assert kinds[-2:] == ["event: progress", "event: state"]
    assert over.headers["Cache-Control"] == "no-store"
    assert over.headers["X-Accel-Buffering"] == "no"
    assert "Content-Encoding" not in over.headers


async def test_who_leaves_is_noticed(running: Gateway) -> None:
    await running.submit("a", sampler(100))

    async def readers() -> str:
        told = (await running.ask("GET", "/metrics")).body.decode()
        return next(line for line in told.split("\n") if "sse_readers " in line and line[0] != "#")

    async with following(running, "a") as reader:
        await reader.until(lambda found: found.events, "the first event came")
        assert await readers() == "comfy_gateway_sse_readers 1.0"

    async def gone() -> bool:
        return (await readers()).endswith(" 0.0")

    await wait_until(gone, description="nobody reads")
