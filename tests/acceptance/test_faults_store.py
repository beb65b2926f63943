"""STATE_DIR is full, locked, another gateway's, or of another version: nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.jobs import queries
from tests.acceptance.conftest import png
from tests.acceptance.faulty import Answer, Place, fill, gateway, picture
from tests.acceptance.test_webhooks import SETTINGS, until
from tests.docs.running import ROOT, environment, free_port
from tests.hosts import OK, Host, running, says
from tests.receivers import Receiver, receiving
from tests.waiting import wait_until

ONE_AT_A_TIME = {"COMFY_QUEUE_DEPTH": "1", **SETTINGS}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with running() as found:
        yield found


async def refused_start(place: Place, status: int, **settings: str) -> str:
    """Start one more gateway on a place, which ends by itself; return what it says."""
    ports = {"PORT": str(free_port()), "COMFYUI_PORT_HOST": str(free_port())}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve"),
        cwd=ROOT,
        env=environment(place.folder, **ports, **settings),
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await asyncio.wait_for(process.communicate(), 20)
    text = told.decode()
    assert process.returncode == status, text
    assert "Traceback" not in text
    assert "does not start" in text
    return text


def database(place: Place) -> Path:
    return place.folder / "state_dir" / "jobs.db"


def says_in_log(place: Place, words: str) -> Any:
    log = place.folder / "gateway.log"
    return wait_until(lambda: words.encode() in log.read_bytes(), description=words)


# No room


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
        await says_in_log(quiet_place, "waits for the store")
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
        await says_in_log(quiet_place, "webhooks wait for the store")
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
    async def come_and_go() -> None:
        while True:
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
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)
        accepted = sorted(name for name in names if answers[name].status == 202)
        for name in accepted:
            await found.until_state(name, "succeeded")
        if accepted:
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
        await says_in_log(quiet_place, "waits for the store")
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


# Locked

_HOLD = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Hold a database from a process of its own."""
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-c", _HOLD, str(path))
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    assert (await process.stdout.readline()).strip() == b"held"
    try:
        yield
    finally:
        await process.communicate(b"")


async def test_while_another_process_has_the_database_nothing_is_lost(
    quiet_place: Place, receiver: Receiver
) -> None:
    async with gateway(quiet_place, "--slow 0.3", **ONE_AT_A_TIME) as found:
        for name in ("running", "queued"):
            await found.prompt(picture(), id=name, webhook_v2=receiver.url())
        await found.until_begun()
        async with locked(database(quiet_place)):
            await found.until_engine_free()
            began = time.monotonic()
            waiting = [
                found.begin(picture(n), id=f"new-{n}", webhook="http://127.0.0.1:9/")
                for n in (1, 2)
            ]
            waiting.append(asyncio.create_task(found.ask("POST", "/jobs/queued/cancel")))
            meanwhile = [await asyncio.wait_for(found.job(n), 1) for n in ("running", "queued")]
            refused: list[Answer] = await asyncio.gather(*waiting)
            took = time.monotonic() - began
            await says_in_log(quiet_place, "waits for the store")
        jobs = [await found.until_state(name, "succeeded") for name in ("running", "queued")]
        await until(found, "delivered", 2)
        again = await found.prompt(picture(1), id="new-1")

    assert [job["state"] for job in meanwhile] == ["running", "queued"]
    for answer in refused:
        assert (answer.status, answer.body["code"]) == (503, "store_busy")
        assert int(answer.headers["Retry-After"]) >= 1
    assert took < 6.5
    assert [job["attempt"] for job in jobs] == [1, 1]
    assert sorted(call.id for call in receiver.calls) == ["queued", "running"]
    assert again.status == 200


async def test_a_start_on_a_locked_database_says_so(quiet_place: Place) -> None:
    async with gateway(quiet_place) as found:
        await found.prompt(picture(), id="a")
        await found.die()

    async with locked(database(quiet_place)):
        told = await refused_start(quiet_place, 1)

    assert "locked" in told
    async with gateway(quiet_place) as found:
        assert (await found.job("a"))["state"] == "succeeded"


# Another's


async def test_a_second_gateway_on_one_state_dir_is_refused(quiet_place: Place) -> None:
    async with gateway(quiet_place, "--slow 0.5") as found:
        asked = found.begin(picture())
        told = await refused_start(quiet_place, 3)
        assert (await asked).status == 200
        await found.die()

    assert f"process {found.process.pid} " in told
    assert str(quiet_place.folder / "state_dir") in told
    async with gateway(quiet_place) as found:
        assert (await found.prompt(picture())).status == 200


async def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    place = Place(tmp_path)
    database(place).parent.mkdir()
    with contextlib.closing(sqlite3.connect(database(place))) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA user_version = 999")
    before = database(place).read_bytes()

    told = await refused_start(place, 3)

    assert "newer version" in told
    assert database(place).read_bytes() == before


_INSERT = """
INSERT INTO jobs (id, seq, state, priority, attempt, created_at, finished_at, lease, lease_until,
    is_anonymous, needs_fetch, needs_secrets, fingerprint, request, graph)
VALUES (:id, :seq, :state, 0, 1, :at, :finished, :lease, :at, 0, 0, 0, '', '{}', :graph)
"""


def of_the_first_release(path: Path) -> None:
    """Write a database as the first release left it when it was killed."""
    path.parent.mkdir()
    now = time.time()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(queries.read("schema.sql"))
        for seq, state in enumerate(("failed", "running", "queued", "queued"), start=1):
            job = {"id": f"old-{seq}", "seq": seq, "state": state, "at": now - 60 + seq}
            ends = {
                "finished": now if state == "failed" else None,
                "lease": "x" if state == "running" else None,
            }
            db.execute(_INSERT, {**job, **ends, "graph": orjson.dumps(picture(seq)).decode()})
        db.commit()


async def test_the_jobs_of_the_first_release_run(quiet_place: Place) -> None:
    of_the_first_release(database(quiet_place))

    async with gateway(quiet_place, COMFY_QUEUE_DEPTH="1") as found:
        jobs = [await found.until_state(f"old-{n}", "succeeded") for n in (2, 3, 4)]
        listed = await found.jobs()

    assert [job["id"] for job in listed] == ["old-4", "old-3", "old-2", "old-1"]
    assert listed[3]["state"] == "failed"
    assert [job["attempt"] for job in jobs] == [1, 1, 1]
    assert sorted(jobs, key=lambda job: job["started_at"]) == jobs
