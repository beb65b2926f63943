"""ComfyUI dies, hangs, goes deaf or speaks nonsense: no caller is left hanging."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.acceptance.faulty import Answer, Place, gateway, picture


def assert_picture(answer: Answer, attempts: str = "") -> None:
    assert answer.status == 200, (answer.body, attempts)
    assert len(answer.body["images"]) == 1
    assert answer.body["images"][0].startswith("iVBOR")


# It dies


async def test_comfyui_killed_before_a_job_is_sent(place: Place) -> None:
    async with gateway(place) as found:
        found.kill_engine()

        answer = await found.prompt(picture(), id="before")

        assert_picture(answer)
        assert (await found.job("before"))["attempt"] == 1


async def test_comfyui_killed_during_a_job(place: Place) -> None:
    async with gateway(place, "--slow 0.4", COMFY_QUEUE_DEPTH="3") as found:
        running = found.begin(picture(1), id="running")
        await found.until_begun()
        waiting = [found.begin(picture(n), id=f"waiting-{n}") for n in (2, 3)]
        await found.until_jobs(3, "running")
        found.kill_engine()

        for answer in await asyncio.gather(running, *waiting):
            assert_picture(answer)
        attempts = {job["id"]: job["attempt"] for job in await found.jobs()}

    assert attempts == {"running": 2, "waiting-2": 1, "waiting-3": 1}


async def test_comfyui_killed_after_a_job(place: Place) -> None:
    async with gateway(place) as found:
        answer = await found.prompt(picture(1), id="after")
        found.kill_engine()

        kept = await found.ask("GET", answer.body["outputs"][0]["url"])
        following = await found.prompt(picture(2))

    assert kept.status == 200
    assert kept.body.startswith(b"\x89PNG")
    assert_picture(following)


async def test_a_job_that_crashes_comfyui_each_time_fails_with_its_last_lines(
    place: Place,
) -> None:
    async with gateway(place, "--crash-after 1") as found:
        answer = await found.prompt(picture(), id="deadly")

        assert answer.status == 500
        assert answer.body["code"] == "engine_crashed"
        assert answer.body["log"]
        assert (await found.job("deadly"))["attempt"] == 2
        await found.until_ready()


async def test_comfyui_stopped_by_an_exit_of_0_runs_the_job_again(place: Place) -> None:
    async with gateway(place, first="--crash-after 1 --exit-code 0") as found:
        assert_picture(await found.prompt(picture()))


# Its connection


@pytest.mark.parametrize(
    "faults",
    [
        *("--drop-ws 1", "--drop-ws 3", "--drop-ws 5", "--nan-frames"),
        *("--mute-ws 1", "--mute-ws 4"),
        "--no-prompt-id",
        "--no-prompt-id --drop-ws 2",
    ],
)
async def test_pictures_come_all_the_same(place: Place, faults: str) -> None:
    async with gateway(place, faults) as found:
        answers = await asyncio.gather(*(found.prompt(picture(n)) for n in range(3)))

        for answer in answers:
            assert_picture(answer)
        await found.until_engine_free()


async def test_an_old_core_is_interrupted(place: Place) -> None:
    async with gateway(place, "--no-prompt-id", first="--slow 20") as found:
        running = found.begin(picture(1), id="running")
        await found.until_begun()
        queued = found.begin(picture(2), id="queued")
        await found.until_jobs(2, "running")
        for name in ("queued", "running"):
            told = await found.ask("POST", "/interrupt", {"id": name})
            assert told.body == {"id": name, "interrupted": "success"}

        for answer in await asyncio.gather(queued, running):
            assert (answer.status, answer.body["code"]) == (409, "cancelled")
        await found.until_engine_free()


# It hangs


async def test_a_node_that_hangs_once_is_run_again(place: Place) -> None:
    async with gateway(place, first="--hang-node", EXECUTION_STALL_S="3") as found:
        answer = await asyncio.wait_for(found.prompt(picture(), id="stuck"), 40)

        assert_picture(answer)
        assert (await found.job("stuck"))["attempt"] == 2


async def test_a_node_that_always_hangs_fails_its_job(place: Place) -> None:
    settings = {"EXECUTION_STALL_S": "3", "MAX_ATTEMPTS": "1"}
    async with gateway(place, "--hang-node", **settings) as found:
        answer = await asyncio.wait_for(found.prompt(picture()), 30)

        assert (answer.status, answer.body["code"]) == (500, "engine_crashed")
        await found.until_ready()


async def test_comfyui_that_stops_answering_is_started_anew(place: Place) -> None:
    async with gateway(place, first="--hang-after 1", EXECUTION_STALL_S="3") as found:
        assert_picture(await asyncio.wait_for(found.prompt(picture()), 45))


async def test_a_stopped_comfyui_is_started_anew(place: Place) -> None:
    async with gateway(place, "--slow 0.3", EXECUTION_STALL_S="3") as found:
        running = found.begin(picture())
        await found.until_begun()
        found.engine().send_signal(signal.SIGSTOP)

        assert_picture(await asyncio.wait_for(running, 45))


# It never comes up


async def test_a_crash_loop_is_named_with_its_last_lines(place: Place) -> None:
    settings = {"CMD": "sh -c 'echo the last word; exit 3'"}
    async with gateway(place, ready=False, **settings) as found:
        early = await found.prompt(picture())
        told = await found.until_unready("Crash loop", timeout=25)
        late = await found.prompt(picture())

    assert "exit code 3" in told.body["detail"]
    assert told.body["log"] == ["the last word"]
    for refused in (early, late):
        assert (refused.status, refused.body["code"]) == (503, "not_ready")
        assert int(refused.headers["Retry-After"]) >= 1
