"""A database of an earlier release is brought to the newest form, and keeps its jobs."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gateway import errors
from gateway.jobs import queries
from gateway.jobs.job import State
from gateway.jobs.sqlite import SqliteStore

OLD_JOB = """
INSERT INTO jobs (id, seq, state, priority, attempt, created_at, is_anonymous, needs_fetch,
    needs_secrets, fingerprint, request, graph)
VALUES ('old', 1, 'queued', 0, 1, 0.0, 0, 0, 0, '', '{}', '{"1": {"class_type": "A"}}')
"""


def first_release(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.executescript(queries.read("schema.sql"))
        db.execute(OLD_JOB)
    db.close()


async def test_a_job_of_the_first_release_is_still_there(tmp_path: Path) -> None:
    first_release(tmp_path / "jobs.db")

    store = await SqliteStore.open(str(tmp_path / "jobs.db"))
    found = await store.get("old")
    await store.close()

    assert found is not None
    assert found.state is State.QUEUED
    assert found.models == []


async def test_what_is_counted_counts_the_jobs_of_the_first_release(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    first_release(path)
    with sqlite3.connect(path) as db:
        for number in range(2, 6):
            job = OLD_JOB.replace("'old', 1", f"'old{number}', {number}")
            named = job.replace('"class_type": "A"', f'"inputs": {{"image": "{number}.png"}}')
            db.execute(named.replace("'queued'", "'failed'" if number == 5 else "'queued'"))
        db.execute("UPDATE jobs SET priority = 1 WHERE id = 'old3'")
    db.close()

    store = await SqliteStore.open(str(path))
    depth = await store.depth()
    jobs, _ = await store.list()
    places = {job_id: place.position for job_id, place in (await store.places(jobs)).items()}
    holdings, _ = await store.holdings()
    await store.close()

    assert (depth[State.QUEUED], depth[State.FAILED]) == (4, 1)
    assert places == {"old3": 1, "old": 2, "old2": 3, "old4": 4}
    # What they hold was not told: all that they name.
    named = {holding.job_id: holding.names for holding in holdings}
    assert named == {"old": [], "old2": ["2.png"], "old3": ["3.png"], "old4": ["4.png"]}


async def test_no_step_is_taken_twice(tmp_path: Path) -> None:
    for _ in range(2):
        store = await SqliteStore.open(str(tmp_path / "jobs.db"))
        await store.close()

    with sqlite3.connect(tmp_path / "jobs.db") as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
    db.close()
    assert version == len(queries.migrations())


async def test_the_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    store = await SqliteStore.open(str(path))
    await store.close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {len(queries.migrations()) + 1}")
    db.close()

    with pytest.raises(errors.StateRefused, match="newer version"):
        await SqliteStore.open(str(path))
