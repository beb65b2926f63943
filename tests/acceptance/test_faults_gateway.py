"""The gateway is killed, stopped, left by its clients, or has no room: no job is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.acceptance.faulty import Answer, Gateway, Place, fill, gateway, is_listening, picture
from tests.waiting import wait_until


async def hang_up(asked: asyncio.Task[Answer]) -> None:
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)


async def assert_works(found: Gateway) -> None:
    answer = await asyncio.wait_for(found.prompt(picture(77)), 20)
    assert answer.status == 200, answer.body


# Killed


async def test_a_killed_gateway_loses_no_job_that_has_an_id(place: Place) -> None:
    one_at_a_time = {"COMFY_QUEUE_DEPTH": "1"}
    async with gateway(place, "--slow 20", **one_at_a_time) as found:
        asked = [found.begin(picture(1), id="running")]
        await found.until_begun()
        asked += [found.begin(picture(2), id="queued"), found.begin(picture(3))]
        anonymous = next(
            job["id"] for job in await found.until_jobs(2, "queued") if job["id"] != "queued"
        )
        engine = found.engine()
        await found.die()
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(answer, aiohttp.ClientError)
        await wait_until(lambda: not engine.is_running(), description="ComfyUI is gone")
    unheard = place.outputs / "running_p_00001_.png"
    unheard.write_bytes(b"of the run that was cut off")

    async with gateway(place, **one_at_a_time) as found:
        joined = await found.prompt(picture(1), id="running")
        finished = [await found.until_state(name, "succeeded") for name in ("running", "queued")]
        outputs = [await found.ask("GET", job["outputs"][0]["url"]) for job in finished]
        forgotten = await found.job(anonymous)
        other = await found.prompt(picture(9), id="running")

    assert joined.status == 200
    assert len(joined.body["images"]) == 1
    assert [job["attempt"] for job in finished] == [1, 1]
    assert [output.body[:4] for output in outputs] == [b"\x89PNG"] * 2
    assert len([name for name in place.written() if name.startswith("running_")]) == 1
    assert forgotten["state"] == "cancelled"
    assert (other.status, other.body["code"]) == (409, "id_taken")


# Stopped


async def test_a_stop_lets_running_jobs_finish_and_sends_the_others_away(place: Place) -> None:
    async with gateway(place, "--slow 1.5", COMFY_QUEUE_DEPTH="1") as found:
        running = found.begin(picture(1), id="running")
        await found.until_begun()
        queued = found.begin(picture(2))
        await found.until_jobs(1, "queued")
        found.terminate()
        await found.until_unready("draining")
        late = await found.prompt(picture(3))

        for refused in (late, await queued):
            assert (refused.status, refused.body["code"]) == (503, "draining")
            assert int(refused.headers["Retry-After"]) >= 1
        assert not running.done()
        assert (await running).status == 200
        assert await found.exit_status() == 0
        await found.until_port_free()


async def test_a_job_that_outlasts_the_stop_runs_at_the_next_start(place: Place) -> None:
    async with gateway(place, "--slow 20", DRAIN_TIMEOUT_S="1") as found:
        asked = [found.begin(picture(1), id="long"), found.begin(picture(2))]
        await found.until_begun()
        await found.until_jobs(2, "running")
        found.terminate()

        for answer in await asyncio.gather(*asked):
            assert (answer.status, answer.body["code"]) == (503, "draining")
        assert await found.exit_status(8) == 0
        assert not is_listening(place.engine_port)

    async with gateway(place) as found:
        job = await found.until_state("long", "succeeded")
        states = sorted(job["state"] for job in await found.jobs())

    assert job["attempt"] == 1
    assert states == ["cancelled", "succeeded"]


async def test_a_second_signal_ends_it_at_once(place: Place) -> None:
    async with gateway(place, "--slow 20") as found:
        asked = found.begin(picture(), id="long")
        await found.until_begun()
        found.terminate()
        await found.until_unready("draining")
        found.terminate()

        assert await found.exit_status(5) == 0
        assert (await asked).status == 503
        assert not is_listening(place.engine_port)

    async with gateway(place) as found:
        await found.until_state("long", "succeeded")


async def test_a_stop_ends_a_comfyui_that_does_not_want_to(place: Place) -> None:
    async with gateway(place, "--ignore-sigterm") as found:
        found.terminate()

        assert await found.exit_status(20) == 0
        assert not is_listening(place.engine_port)


# Left


async def test_a_client_that_hangs_up_frees_comfyui(place: Place) -> None:
    async with gateway(place, "--slow 0.4", COMFY_QUEUE_DEPTH="2") as found:
        long = picture(1) | {
            str(n): {
                "class_type": "ImageInvert",
                "inputs": {"image": [str(n - 1 if n > 10 else 1), 0]},
            }
            for n in range(10, 40)
        }
        long["2"]["inputs"]["images"] = ["39", 0]
        asked = [found.begin(long)]
        await found.until_begun()
        asked.append(found.begin(picture(2)))
        await found.until_jobs(2, "running")
        asked.append(found.begin(picture(3)))
        await found.until_jobs(1, "queued")

        # The one in our queue, the one in ComfyUI's queue, the one that runs.
        for left in reversed(asked):
            await hang_up(left)
        gone = await found.until_jobs(3, "cancelled")
        await found.until_engine_free()
        await assert_works(found)

    assert [job["error"]["code"] for job in gone] == ["client_gone"] * 3
    assert [name for name in place.written() if gone[0]["id"] in name] == []


async def test_a_job_with_an_id_goes_on_without_its_client(place: Place) -> None:
    async with gateway(place, "--slow 0.5") as found:
        asked = found.begin(picture(), id="kept")
        await found.until_begun()
        await hang_up(asked)

        await found.until_state("kept", "succeeded")
        assert (await found.prompt(picture(), id="kept")).status == 200


@pytest.mark.parametrize("by", ["interrupt", "cancel"])
async def test_running_and_queued_jobs_are_ended_by_their_id(place: Place, by: str) -> None:
    async with gateway(place, first="--slow 20") as found:
        asked = {"running": found.begin(picture(1), id="running")}
        await found.until_begun()
        for count, name in ((2, "waiting"), (3, "queued")):
            asked[name] = found.begin(picture(count), id=name)
            await found.until_state(name, "running" if name == "waiting" else "queued")

        for name, waiting in reversed(asked.items()):
            if by == "interrupt":
                told = await found.ask("POST", "/interrupt", {"id": name})
                assert (told.status, told.body["interrupted"]) == (200, "success")
            else:
                told = await found.ask("POST", f"/jobs/{name}/cancel")
                assert told.status == 202
            answer = await asyncio.wait_for(waiting, 10)
            assert (answer.status, answer.body["code"]) == (409, "cancelled")
            assert (await found.job(name))["state"] == "cancelled"
        await found.until_engine_free()
        assert (await found.ask("POST", "/interrupt", {"id": "running"})).status == 404
        assert (await found.ask("POST", "/jobs/running/cancel")).status == 200


async def test_a_timeout_ends_a_job_and_frees_comfyui(place: Place) -> None:
    async with gateway(place, "--slow 20") as found:
        answer = await asyncio.wait_for(found.prompt(picture(), timeout=1), 10)

        assert (answer.status, answer.body["code"]) == (504, "timeout")
        await found.until_engine_free()


# Not ready


async def test_a_stranger_on_the_port_is_named_and_never_spoken_to(place: Place) -> None:
    with socket.create_server(("127.0.0.1", place.engine_port)) as stranger:
        async with gateway(place, ready=False) as found:
            told = await found.until_unready(str(place.engine_port))
            refused = await found.prompt(picture())
            stranger.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                # Looks from this test are no requests.
                assert stranger.accept()[0].recv(1) == b""
            stranger.close()

            await found.until_ready(timeout=20)
            await assert_works(found)

    assert told.body["reason"] == "comfyui_down"
    assert str(os.getpid()) in told.body["detail"]
    assert (refused.status, refused.body["code"]) == (503, "not_ready")


async def test_a_warm_up_that_fails_keeps_it_unready_until_it_is_mended(place: Place) -> None:
    file = place.folder / "warm.json"
    bad = picture()
    bad["1"]["class_type"] = "NoSuchNode"
    file.write_text(json.dumps(bad))
    async with gateway(place, ready=False, WARMUP_PROMPT_FILE=str(file)) as found:
        told = await found.until_unready("The warm-up failed")
        refused = await found.prompt(picture())
        health = await found.ask("GET", "/health")
        file.write_text(json.dumps(picture()))
        await found.until_ready(timeout=20)
        await assert_works(found)

    assert "NoSuchNode" in told.body["detail"]
    assert told.body["reason"] == "warming"
    assert (refused.status, refused.body["code"]) == (503, "not_ready")
    assert health.status == 500
    assert [name for name in place.written() if name.startswith("warmup")] == []


@pytest.mark.parametrize(
    "text", ["not json", "[]", "7", '{"prompt": []}', '{"1": 2}', '{"nodes": []}']
)
async def test_a_warm_up_that_is_no_workflow_says_so(place: Place, text: str) -> None:
    file = place.folder / "warm.json"
    file.write_text(text)
    async with gateway(place, ready=False, WARMUP_PROMPT_FILE=str(file)) as found:
        told = await found.until_unready("The warm-up failed")

    assert "object" not in told.body["detail"]


# No room


async def test_a_full_disk_refuses_jobs_until_there_is_room(place: Place, small_disk: Path) -> None:
    async with gateway(place, STATE_DIR=str(small_disk)) as found:
        await assert_works(found)
        filler = fill(small_disk)
        big = picture()
        big["1"]["_meta"] = {"title": "x" * 60_000}
        for number in range(3):
            refused = await found.prompt(big, id=f"no-room-{number}")
            assert (refused.status, refused.body["code"]) == (507, "storage_full")
        assert (await found.ask("GET", "/live")).status == 200
        filler.unlink()

        await assert_works(found)
        assert (await found.prompt(big, id="no-room-0")).status == 200


async def test_a_disk_that_fills_during_a_job_costs_no_work(place: Place, small_disk: Path) -> None:
    async with gateway(place, "--slow 0.5", STATE_DIR=str(small_disk)) as found:
        asked = [found.begin(picture(n), id=f"done-{n}") for n in (1, 2)]
        await found.until_begun()
        await found.until_jobs(2, "running")
        filler = fill(small_disk)
        await found.until_logged("waits for the store")
        await found.until_engine_free()
        filler.unlink()

        answers = await asyncio.wait_for(asyncio.gather(*asked), 10)

    assert [answer.status for answer in answers] == [200, 200]
    assert len(place.written()) == 2


async def test_a_full_output_disk_fails_the_job_with_a_reason(
    place: Place, small_disk: Path
) -> None:
    async with gateway(place, OUTPUT_DIR=str(small_disk)) as found:
        filler = fill(small_disk)
        refused = await found.prompt(picture())
        assert (refused.status, refused.body["code"]) == (500, "execution_failed")
        assert "No space left" in refused.body["error"]
        filler.unlink()

        await assert_works(found)


# What is left behind


def two_pictures() -> dict[str, Any]:
    """A picture that is saved, and then another."""
    graph = picture()
    graph["3"] = {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}
    graph["4"] = {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "q"}}
    return graph


async def test_files_are_gone_after_the_answer_when_they_live_0_seconds(place: Place) -> None:
    async with gateway(place, OUTPUT_TTL_S="0") as found:
        answer = await found.prompt(two_pictures(), id="brief")
        await wait_until(lambda: not place.written(), description="its files are gone")
        output = await found.ask("GET", "/jobs/brief/outputs/0")
        again = await found.prompt(two_pictures(), id="brief")

    assert len(answer.body["images"]) == 2
    assert output.status in (404, 410)
    assert again.status < 500 or "code" in again.body


async def test_a_failed_job_leaves_no_files(place: Place) -> None:
    models = place.folder / "model_dir" / "checkpoints"
    models.mkdir(parents=True)
    (models / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    graph = picture()
    graph["3"] = {
        "class_type": "CheckpointLoaderSimple",
        "inputs": {"ckpt_name": "cut.safetensors"},
    }
    graph["4"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["1", 0], "vae": ["3", 2]}}
    graph["5"] = {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["3", 2]}}
    graph["6"] = {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "q"}}
    async with gateway(place, OUTPUT_TTL_S="0") as found:
        answer = await found.prompt(graph)
        await wait_until(lambda: not place.written(), description="its files are gone")

    assert (answer.status, answer.body["code"]) == (500, "execution_failed")
    assert answer.body["node_id"] == "3"


async def test_a_cancelled_job_leaves_no_files(place: Place) -> None:
    async with gateway(place, "--slow 0.5", OUTPUT_TTL_S="0") as found:
        asked = found.begin(two_pictures(), id="ended")
        await wait_until(place.written, description="the first picture was written")
        await found.ask("POST", "/jobs/ended/cancel")

        assert (await asked).body["code"] == "cancelled"
        await found.until_engine_free()
        await wait_until(lambda: not place.written(), description="its files are gone")
