"""Memory is full, the GPU is gone, ComfyUI grows or dies while a job is anywhere on its way."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import pytest

from tests.acceptance.conftest import png
from tests.acceptance.faulty import Gateway, Place, gateway, picture
from tests.acceptance.shelves import Shelf
from tests.waiting import wait_until

#: Where faults strike: after the first picture of `two` was written.
INVERT = "--fault-class ImageInvert"
LOCAL = {"ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8"}


def two(color: int = 1) -> dict[str, Any]:
    """Return a workflow that saves a picture, inverts it, and saves that."""
    return {
        **picture(color),
        "3": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "q"}},
    }


async def counted(found: Gateway, name: str) -> dict[str, float]:
    """Return the series of a counter that are not 0, by the value of their label."""
    text = (await found.ask("GET", "/metrics")).body.decode()
    lines = re.findall(rf'^comfy_gateway_{name}(?:{{\w+="(\w+)"}})? (\S+)$', text, re.MULTILINE)
    return {label: float(value) for label, value in lines if float(value)}


async def until_counted(found: Gateway, name: str, **expected: float) -> None:
    """Wait until a counter says so: it does a moment after the job's end was told."""

    async def says_so() -> bool:
        return await counted(found, name) == expected

    await wait_until(says_so, description=f"{name} is {expected}")


def assert_told(answer: Mapping[str, Any], code: str, exception: str) -> None:
    """Check a failure: it names its node and says what to change."""
    assert answer["code"] == code, answer
    assert (answer["node_id"], answer["class_type"]) == ("3", "ImageInvert")
    assert answer["exception_type"] == exception
    assert answer["traceback"]
    assert answer["hint"]


# Memory


@pytest.mark.parametrize("fault", ["--oom-at 1", "--oom-until-freed 1"])
async def test_memory_is_freed_and_the_job_run_again(place: Place, fault: str) -> None:
    async with gateway(place, f"{fault} {INVERT}") as found:
        answer = await found.prompt(two(), id="large")

        assert answer.status == 200, answer.body
        assert len(answer.body["images"]) == 2
        [warning] = answer.body["warnings"]
        assert "out of memory" in warning
        assert (await found.job("large"))["attempt"] == 1
        # What the first run had written before it failed is gone.
        assert len(place.written()) == 2
        await until_counted(found, "retries_total", out_of_memory=1)
        assert await counted(found, "child_restarts_total") == {}


async def test_memory_is_freed_before_the_job_runs_again_behind_another(place: Place) -> None:
    faults = f"--slow 0.3 --oom-until-freed 1 {INVERT}"
    async with gateway(place, faults, COMFY_QUEUE_DEPTH="2") as found:
        large = found.begin(two(1), id="large")
        await found.until_begun()
        others = [found.begin(picture(n)) for n in (2, 3, 4)]

        for answer in await asyncio.gather(large, *others):
            assert answer.status == 200, answer.body
        assert (await found.job("large"))["attempt"] == 1


async def test_a_job_that_never_fits_says_what_to_change(place: Place) -> None:
    async with gateway(place, f"--oom-from 1 {INVERT}") as found:
        answer = await found.prompt(two(), id="large")
        job = await found.job("large")
        other = await found.prompt(picture(2))

    assert answer.status == 500
    assert_told(answer.body, "out_of_memory", "torch.OutOfMemoryError")
    assert "batch_size" in answer.body["hint"]
    assert (job["state"], job["attempt"]) == ("failed", 1)
    assert other.status == 200
    await wait_until(lambda: len(place.written()) == 1, description="only the other's is left")


# The GPU


async def test_a_gpu_that_slips_once_costs_no_restart(place: Place) -> None:
    async with gateway(place, f"--gpu-error-at 1 {INVERT}") as found:
        answer = await found.prompt(two(), id="slipped")

        assert answer.status == 200, answer.body
        assert (len(answer.body["images"]), len(place.written())) == (2, 2)
        assert "GPU" in answer.body["warnings"][0]
        assert (await found.job("slipped"))["attempt"] == 1
        assert await counted(found, "child_restarts_total") == {}


async def test_a_gpu_that_is_gone_comes_back_with_another_comfyui(place: Place) -> None:
    async with gateway(
        place, first=f"--slow 0.3 --gpu-error-from 1 {INVERT}", COMFY_QUEUE_DEPTH="3"
    ) as found:
        lost = found.begin(two(1), id="lost")
        await found.until_begun()
        others = [found.begin(picture(n), id=f"other-{n}") for n in (2, 3)]

        for answer in await asyncio.gather(lost, *others):
            assert answer.status == 200, answer.body
        attempts = {job["id"]: job["attempt"] for job in await found.jobs()}
        assert attempts == {"lost": 2, "other-2": 1, "other-3": 1}
        await until_counted(found, "child_restarts_total", gpu_lost=1)
        await until_counted(found, "retries_total", gpu_lost=2)


async def test_a_gpu_that_stays_away_fails_the_job(place: Place) -> None:
    async with gateway(place, f"--gpu-error-from 1 {INVERT}") as found:
        answer = await found.prompt(two(), id="lost")
        await found.until_ready()

        assert answer.status == 500
        assert_told(answer.body, "execution_failed", "torch.AcceleratorError")
        assert (await found.job("lost"))["attempt"] == 2
        assert (await found.prompt(picture())).status == 200


# Poison


async def test_a_job_that_kills_comfyui_takes_no_other_along(place: Place) -> None:
    settings = {"COMFY_QUEUE_DEPTH": "2", "MAX_ATTEMPTS": "1"}
    async with gateway(place, first="--slow 0.3 --crash-after 1", **settings) as found:
        deadly = found.begin(picture(1), id="deadly")
        await found.until_begun()
        waiting = found.begin(picture(2), id="waiting")
        await found.until_jobs(2, "running")

        assert (await deadly).body["code"] == "engine_crashed"
        assert (await waiting).status == 200
        assert (await found.job("waiting"))["attempt"] == 1
        await until_counted(found, "poison_jobs_total", **{"": 1})
        assert await counted(found, "retries_total") == {}


# Between jobs


async def submit(found: Gateway, count: int) -> list[str]:
    """Queue so many jobs; return their ids."""
    names = [f"job-{n}" for n in range(count)]
    for n, name in enumerate(names):
        await found.submit(name, picture(n))
    return names


async def test_comfyui_is_recycled_after_so_many_jobs(place: Place) -> None:
    async with gateway(place, RECYCLE_AFTER_JOBS="3") as found:
        for name in await submit(found, 8):
            job = await found.until_state(name, "succeeded", timeout=30)
            assert job["attempt"] == 1

        # Two are kept in ComfyUI: when the third is done the fourth runs already.
        await until_counted(found, "child_restarts_total", recycle_jobs=2)
        assert await counted(found, "retries_total") == {}
        log = (place.folder / "gateway.log").read_text()
        assert "It is started again in" not in log


async def test_comfyui_is_recycled_when_it_has_grown(place: Place) -> None:
    settings = {"RECYCLE_RSS_GB": "0.4"}
    async with gateway(place, "--leak-mb 130", **settings) as found:
        for name in await submit(found, 6):
            job = await found.until_state(name, "succeeded", timeout=30)
            assert job["attempt"] == 1

        async def is_recycled() -> bool:
            # On a slow machine all six may be over before its memory is looked at.
            return bool(await counted(found, "child_restarts_total"))

        await wait_until(is_recycled, description="it is recycled", timeout=20)
        restarts = await counted(found, "child_restarts_total")

    # 70 MB and 130 more with each job: over the limit after the third, at the latest.
    assert 1 <= restarts["recycle_rss"] <= 3
    assert set(restarts) == {"recycle_rss"}


async def test_comfyui_that_starts_above_the_limit_is_not_recycled_for_ever(place: Place) -> None:
    async with gateway(place, RECYCLE_RSS_GB="0.001") as found:
        log = place.folder / "gateway.log"
        await wait_until(
            lambda: "before its first job" in log.read_text(), description="it is told"
        )
        assert await counted(found, "child_restarts_total") == {}
        for n in (1, 2):
            assert (await found.prompt(picture(n))).status == 200
            await until_counted(found, "child_restarts_total", recycle_rss=n)
            await found.until_ready()

        assert log.read_text().count("before its first job") == 1


# Killed while a job is elsewhere


async def test_comfyui_killed_while_a_job_is_queued(place: Place) -> None:
    async with gateway(place, first="--slow 20", COMFY_QUEUE_DEPTH="1") as found:
        running = found.begin(picture(1), id="running")
        await found.until_begun()
        queued = found.begin(picture(2), id="queued")
        await found.until_jobs(1, "queued")
        found.kill_engine()

        for answer in await asyncio.gather(running, queued):
            assert answer.status == 200, answer.body
        assert (await found.job("queued"))["attempt"] == 1
        await until_counted(found, "retries_total", engine_lost=1)


async def test_a_cancel_at_the_moment_when_comfyui_dies(place: Place) -> None:
    settings = {"COMFY_QUEUE_DEPTH": "2", "MAX_ATTEMPTS": "1"}
    async with gateway(place, first="--slow 20", **settings) as found:
        asked = [found.begin(picture(1), id="running")]
        await found.until_begun()
        asked.append(found.begin(picture(2), id="waiting"))
        await found.until_jobs(2, "running")
        found.kill_engine()
        log = place.folder / "gateway.log"
        await wait_until(
            lambda: "the job goes back to the queue" in log.read_text(), description="it is told"
        )
        assert (await found.ask("POST", "/jobs/waiting/cancel")).status == 202

        codes = [answer.body["code"] for answer in await asyncio.gather(*asked)]
        assert codes == ["engine_crashed", "cancelled"]


async def die_and_return(found: Gateway) -> None:
    found.kill_engine()
    await found.until_unready("comfyui_down")
    await found.until_ready()


async def test_comfyui_killed_while_a_job_is_prepared(place: Place, shelf: Shelf) -> None:
    shelf.files["/a.png"] = png()
    shelf.may_answer.clear()
    async with gateway(place, **LOCAL) as found:
        graph = picture()
        graph["1"] = {"class_type": "LoadImage", "inputs": {"image": f"{shelf.url}/a.png"}}
        asked = found.begin(graph, id="preparing")
        await wait_until(lambda: shelf.asked, description="the input is fetched")
        await die_and_return(found)
        shelf.may_answer.set()

        assert (await asked).status == 200
        assert (await found.job("preparing"))["attempt"] == 1


async def test_comfyui_killed_while_a_job_is_delivered(place: Place, shelf: Shelf) -> None:
    shelf.may_answer.clear()
    async with gateway(place, **LOCAL) as found:
        there = {"http_upload": {"url_prefix": f"{shelf.url}/"}}
        asked = found.begin(picture(), id="delivering", **there)
        await found.until_state("delivering", "delivering")
        await die_and_return(found)
        shelf.may_answer.set()

        assert (await asked).status == 200
        assert (await found.job("delivering"))["attempt"] == 1
        assert len(shelf.files) == len(shelf.asked) == 1
