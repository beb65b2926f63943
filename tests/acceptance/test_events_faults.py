"""Readers of events while ComfyUI dies, the gateway restarts, and the gateway drains."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from tests.acceptance.faulty import Place, gateway
from tests.acceptance.following import following
from tests.listening import listening
from tests.sampling import put_model, sampler
from tests.waiting import wait_until

STEPPING = "--step-delay 0.02"
TALKING = "tests.child_programs.engine_that_talks"


async def test_a_crash_is_told_and_progress_does_not_go_back(place: Place) -> None:
    put_model(place.folder / "model_dir")
    async with gateway(place, STEPPING) as found:
        await found.submit("a", sampler(60))
        async with following(found, "a") as reader:
            await reader.until(lambda it: it.of("progress")[-1:], "it began")
            await reader.until(lambda it: it.of("progress")[-1]["value"] > 0.6, "it is far")
            found.kill_engine()
            await reader.until_end()
    states = [(data["state"], data["attempt"]) for data in reader.of("state")]
    assert states[-3:] == [("queued", 2), ("running", 2), ("succeeded", 2)]
    values = [data["value"] for data in reader.of("progress")]
    assert values == sorted(values)
    notes = [data for data in reader.of("log") if data["message"].startswith("Tried again: ")]
    assert [data["level"] for data in notes] == ["warning"]


async def test_lines_of_comfyui_are_told_while_the_job_runs(place: Place) -> None:
    put_model(place.folder / "model_dir")
    talking = place.command(STEPPING, "").replace("-m gateway.embedded", f"-m {TALKING}")
    async with gateway(place, CMD=talking, COMFY_QUEUE_DEPTH="1") as found:
        await found.submit("a", sampler(30))
        await found.submit("b", sampler(30, seed=2))
        async with (
            following(found, "a") as reader,
            following(found, "b") as waits,
        ):
            await reader.until_end()
            # What is printed before its turn is not about it; by now that may have come.
            turn = [event.data.get("state") == "running" for event in waits.events]
            before = waits.events[: turn.index(True)] if any(turn) else waits.events
            assert [event for event in before if event.kind == "log"] == []
    lines = [(data["level"], data["message"]) for data in reader.of("log")]
    assert {("info", "all is well"), ("warning", "UserWarning: it is getting warm")} <= set(lines)
    assert reader.events[-1].data["state"] == "succeeded"


async def test_after_a_restart_a_reader_hears_how_things_stand(place: Place) -> None:
    put_model(place.folder / "model_dir")
    async with gateway(place, STEPPING) as found:
        await found.submit("a", sampler(200))
        async with following(found, "a") as before:
            await before.until(lambda it: len(it.of("progress")) > 1, "it began")
            await found.die()
            await before.until_end()
    async with gateway(place, STEPPING, ready=False) as found:
        last = str(before.events[-1].id)
        again = following(found, "a", Last_Event_ID=last)
        async with again as after:
            await after.until(lambda it: it.of("progress"), "it began again")
            assert after.states[0] in ("queued", "running")
            assert after.events[0].id > before.events[-1].id
            await found.ask("POST", "/jobs/a/cancel")
            await after.until_end()
    assert after.states[-1] == "cancelled"


async def test_a_drain_ends_the_streams_of_those_who_wait_and_not_of_those_who_run(
    place: Place,
) -> None:
    put_model(place.folder / "model_dir")
    async with gateway(place, STEPPING, COMFY_QUEUE_DEPTH="1") as found:
        await found.submit("a", sampler(100))
        await found.submit("b", sampler(10, seed=2))
        async with (
            following(found, "a") as runs,
            following(found, "b") as waits,
        ):
            await runs.until(lambda it: it.of("progress"), "the first began")
            await waits.until(lambda it: it.events, "the second is followed")
            found.terminate()
            await waits.until_end()
            assert not runs.is_ended
            await runs.until_end()
        assert await found.exit_status() == 0
    assert runs.states[-1] == "succeeded"
    assert waits.states == ["queued"]


async def test_a_reader_that_does_not_read_holds_up_no_end(place: Place) -> None:
    put_model(place.folder / "model_dir")
    async with gateway(place, STEPPING, COMFY_QUEUE_DEPTH="1") as found:
        await found.submit("a", sampler(400))
        await found.submit("b", sampler(10, seed=2))
        async with found.session.get(found.events_url("b")) as answer:
            assert answer.status == 200
            found.terminate()
            await found.ask("POST", "/jobs/a/cancel")
            assert await found.exit_status() == 0


async def test_frames_of_a_job_are_told_to_the_operator(place: Place) -> None:
    put_model(place.folder / "model_dir")
    heard: list[dict[str, Any]] = []

    async def hear(request: web.Request) -> web.Response:
        heard.append(json.loads(await request.read()))
        return web.Response(status=204)

    async with listening(web.post("/events", hear)) as receiver:
        settings = {
            "SYSTEM_WEBHOOK_URL": f"{receiver}/events",
            "SYSTEM_WEBHOOK_EVENTS": "all",
            "ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8",
        }
        async with gateway(place, f"{STEPPING} --nan-frames", **settings) as found:
            assert (await found.prompt(sampler(20), id="mine")).status == 200
            await wait_until(
                lambda: any(
                    one["event"] == "comfy.executing" and one["data"]["data"]["node"] is None
                    for one in heard
                ),
                description="the last frame was told",
            )
    names = {one["event"].removeprefix("comfy.") for one in heard}
    assert names == {
        *("status", "progress", "progress_state", "executing", "executed"),
        *("execution_start", "execution_cached", "execution_success"),
    }
    told = [one["data"] for one in heard if one["event"] != "comfy.status"]
    assert {data["data"]["prompt_id"] for data in told} == {"mine"}
    states = [data["data"]["nodes"] for data in told if data["type"] == "progress_state"]
    assert {node["prompt_id"] for nodes in states for node in nodes.values()} == {"mine"}
    kinds = [data["type"] for data in told]
    assert kinds.index("execution_start") < kinds.index("executed")
    assert kinds.index("execution_success") < len(kinds) - 1 - kinds[::-1].index("executing")
