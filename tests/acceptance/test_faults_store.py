"""STATE_DIR is locked, another gateway's, or of another version: nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import orjson

from gateway.jobs import queries
from tests.acceptance.faulty import Answer, Place, gateway, picture, refused_start
from tests.acceptance.test_webhooks import ONE_AT_A_TIME, until
from tests.receivers import Receiver


def database(place: Place) -> Path:
    return place.folder / "state_dir" / "jobs.db"


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
            await found.until_logged("waits for the store")
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


async def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    place = Place(tmp_path)
    database(place).parent.mkdir()
    database(place).write_bytes(b"not what it was" * 1000)

    told = await refused_start(place, 3)

    assert "jobs.db cannot be used" in told


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
