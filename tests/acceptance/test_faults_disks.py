"""A disk is full, now and then: what was accepted is kept, and nothing is done twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import png
from tests.acceptance.faulty import Answer, Place, fill, gateway, picture, refused_start
from tests.acceptance.test_webhooks import ONE_AT_A_TIME, SETTINGS, until
from tests.hosts import OK, Host, running, says
from tests.receivers import Receiver
from tests.waiting import wait_until


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with running() as found:
        yield found


async def test_a_full_disk_refuses_what_would_be_answered_202(
    quiet_place: Place, small_disk: Path
) -> None:
    settings = {**SETTINGS, "STATE_DIR": str(small_disk)}
    hook = {"webhook_v2": "http://127.0.0.1:9/"}
    async with gateway(quiet_place, **settings) as found:
        big = picture()
        big["1"]["_meta"] = {"title": "x" * 60_000}
        filler = fill(small_disk)
        refused = await found.prompt(big, id="a", **hook)
        unknown = await found.ask("GET", "/jobs/a")
        filler.unlink()
        accepted = await found.prompt(big, id="a", **hook)
        await found.until_state("a", "succeeded")

    assert (refused.status, refused.body["code"]) == (507, "storage_full")
    assert unknown.status == 404
    assert accepted.status == 202


async def test_what_ends_while_the_disk_is_full_is_stored_when_there_is_room(
    quiet_place: Place, small_disk: Path, receiver: Receiver
) -> None:
    hook = {"webhook_v2": receiver.url()}
    settings = {**ONE_AT_A_TIME, "STATE_DIR": str(small_disk)}
    async with gateway(quiet_place, "--slow 0.5", **settings) as found:
        await found.prompt(picture(), id="a", convert_output={"format": "webp"}, **hook)
        await found.until_begun()
        filler = fill(small_disk)
        await found.until_logged("waits for the store")
        meanwhile = await found.job("a")
        heard = len(receiver.calls)
        filler.unlink()
        job = await found.until_state("a", "succeeded")
        await until(found, "delivered")

    assert meanwhile["state"] in ("running", "delivering")
    assert (heard, len(receiver.calls)) == (0, 1)
    assert len(job["outputs"]) == 1


async def test_a_webhook_that_cannot_be_noted_is_not_sent_again(
    quiet_place: Place, small_disk: Path, receiver: Receiver
) -> None:
    may_answer = asyncio.Event()
    receiver.on("/hook", receiver.waits(may_answer))
    async with gateway(quiet_place, **SETTINGS, STATE_DIR=str(small_disk)) as found:
        await found.prompt(picture(), id="a", webhook_v2=receiver.url())
        await wait_until(lambda: receiver.calls, description="it was called")
        filler = fill(small_disk)
        may_answer.set()
        await found.until_logged("webhooks wait for the store")
        filler.unlink()
        [delivery] = await until(found, "delivered")

    assert len(delivery["attempts"]) == len(receiver.calls) == 1


async def test_inputs_that_find_no_room_fail_their_job_alone(
    quiet_place: Place, small_disk: Path, host: Host
) -> None:
    large = png() + bytes(3 << 20)
    url = host.on("/large.png", says(OK, large))
    graph = picture() | {"1": {"class_type": "LoadImage", "inputs": {"image": url}}}
    async with gateway(quiet_place, **SETTINGS, INPUT_DIR=str(small_disk)) as found:
        refused = await found.prompt(graph)
        works = await found.prompt(picture())

    assert (refused.status, refused.body["code"]) == (507, "storage_full")
    assert works.status == 200


async def test_a_disk_that_is_full_now_and_then_loses_and_repeats_nothing(
    quiet_place: Place, roomy_disk: Path, receiver: Receiver
) -> None:
    enough = asyncio.Event()

    async def come_and_go() -> None:
        # Asked to end, and not cancelled: what a thread has begun to write would stay.
        while not enough.is_set():
            filler = await asyncio.to_thread(fill, roomy_disk)
            try:
                await asyncio.sleep(random.uniform(0.05, 0.4))
            finally:
                filler.unlink()
            await asyncio.sleep(random.uniform(0.05, 0.3))

    async with gateway(quiet_place, **SETTINGS, STATE_DIR=str(roomy_disk)) as found:

        async def asked(name: str) -> Answer:
            await asyncio.sleep(random.uniform(0, 2.5))
            return await found.prompt(picture(), id=name, webhook_v2=receiver.url())

        filling = asyncio.create_task(come_and_go())
        names = [f"job-{number}" for number in range(30)]
        answers = dict(zip(names, await asyncio.gather(*map(asked, names)), strict=True))
        enough.set()
        await filling
        accepted = sorted(name for name in names if answers[name].status == 202)
        for name in accepted:
            await found.until_state(name, "succeeded")
        assert accepted
        await until(found, "delivered", len(accepted))
        known = sorted(job["id"] for job in await found.jobs())

    assert {answer.status for answer in answers.values()} <= {202, 507}
    # Who was refused has no job, and who was not has one, and one call.
    assert known == accepted == sorted(call.id for call in receiver.calls)


async def test_a_stop_does_not_wait_for_room(
    quiet_place: Place, small_disk: Path, receiver: Receiver
) -> None:
    settings = {**ONE_AT_A_TIME, "STATE_DIR": str(small_disk), "DRAIN_TIMEOUT_S": "1"}
    async with gateway(quiet_place, "--slow 0.3", **settings) as found:
        await found.prompt(picture(), id="a", webhook_v2=receiver.url())
        await found.until_begun()
        filler = fill(small_disk)
        await found.until_logged("waits for the store")
        found.terminate()
        assert await found.exit_status(10) == 0
        await found.until_port_free()
    filler.unlink()

    async with gateway(quiet_place, **settings) as found:
        job = await found.until_state("a", "succeeded")
        await until(found, "delivered")

    assert (job["attempt"], len(job["outputs"]), len(receiver.calls)) == (1, 1, 1)
    assert len(quiet_place.written()) == 1


async def test_a_start_without_room_says_so(quiet_place: Place, small_disk: Path) -> None:
    settings = {"STATE_DIR": str(small_disk)}
    filler = fill(small_disk)
    first = await refused_start(quiet_place, 1, **settings)
    filler.unlink()
    async with gateway(quiet_place, "--slow 20", **settings) as found:
        await found.ask("POST", "/prompt", {"prompt": picture()}, Prefer="respond-async")
        [job] = await found.until_begun()
        await found.die()
    filler = fill(small_disk)

    told = await refused_start(quiet_place, 1, **settings)

    assert "full" in first
    assert "full" in told
    filler.unlink()
    async with gateway(quiet_place, **settings) as found:
        await found.until_state(job["id"], "succeeded")
