"""What made an output, as its sidecar tells it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.jobs.generation import generations, sidecar
from gateway.jobs.job import Job, State

ENTRY = {"node_id": "9", "index": 1, "filename": "a.png"}


def job(state: State = State.SUCCEEDED, request: Any = None, **result: Any) -> Job:
    return Job(
        id="j1",
        request=request or {},
        graph={},
        fingerprint="",
        created_at=0.0,
        state=state,
        finished_at=1_800_000_000.0,
        result=result,
    )


def test_what_is_not_known_is_null() -> None:
    told = sidecar(job(), ENTRY)
    known = {
        "timestamp": "2027-01-15T08:00:00.000Z",
        "job_id": "j1",
        "loras": [],
        "url": "/jobs/j1/outputs/1",
        "filename": "a.png",
        "node_id": "9",
        "index": 1,
        "models": [],
    }
    assert {key: value for key, value in told.items() if value is not None} == known


def test_the_end_is_that_of_the_run_and_the_url_where_it_lies() -> None:
    run = {"start": 1_700_000_000_000, "end": 1_700_000_002_500, "duration": 2500}
    told = sidecar(
        job(stats={"comfy_execution": run}), {**ENTRY, "uploaded_to": "s3://b/a.png", "width": 7}
    )
    assert told["timestamp"] == "2023-11-14T22:13:22.500Z"
    assert (told["duration"], told["url"], told["width"]) == (2.5, "s3://b/a.png", 7)


def test_a_size_is_the_files_own_before_the_one_asked_for() -> None:
    recipes = {"9": {"width": 512, "height": 256}}
    told = sidecar(job(recipes=recipes), {**ENTRY, "width": 8, "height": 4})
    assert (told["width"], told["height"]) == (8, 4)
    told = sidecar(job(recipes=recipes), ENTRY)
    assert (told["width"], told["height"]) == (512, 256)


@pytest.mark.parametrize(
    ("made", "rows"),
    [
        (job(outputs=[ENTRY], recipes={"9": {}}), 1),
        (job(outputs=[ENTRY, {**ENTRY, "node_id": "8"}], recipes={"9": {}}), 2),
        (job(outputs=[ENTRY]), 0),
        (job(outputs=[], recipes={"9": {}}), 0),
        (job(request={"metadata": False}, outputs=[ENTRY], recipes={"9": {}}), 0),
        (job(request={"metadata": {}}, outputs=[ENTRY], recipes={"9": {}}), 1),
        (job(State.DELIVERING, outputs=[ENTRY], recipes={"9": {}}), 0),
        (job(State.FAILED, outputs=[ENTRY], recipes={"9": {}}), 0),
    ],
)
def test_what_is_remembered(made: Job, rows: int) -> None:
    assert len(generations(made)) == rows
