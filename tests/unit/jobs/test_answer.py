"""The body of an answer: its length is told before its files are read."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from gateway import graph
from gateway.jobs import answer
from gateway.jobs.answer import CHUNK, SMALL, Body, FilePart
from gateway.jobs.estimate import Estimate, Place
from gateway.jobs.job import Job, State

SIZES = [0, 1, 2, 3, 4, 100, CHUNK - 1, CHUNK, CHUNK + 1, SMALL, SMALL + 1, 4 * CHUNK + 2]


def content(size: int) -> bytes:
    return bytes(n * 7 % 251 for n in range(1000)) * (size // 1000 + 1)


def part(folder: Path, name: str, size: int) -> FilePart:
    path = folder / name
    path.write_bytes(content(size)[:size])
    return FilePart(path, size)


async def read(body: Body) -> bytes:
    return b"".join([chunk async for chunk in body.chunks()])


@pytest.mark.parametrize("size", SIZES)
async def test_the_length_is_told_before(tmp_path: Path, size: int) -> None:
    body = Body([b'["', part(tmp_path, "a", size), b'","', part(tmp_path, "b", 5), b'"]'])
    raw = await read(body)
    assert len(raw) == body.length
    first, second = json.loads(raw)
    assert base64.b64decode(first, validate=True) == content(size)[:size]
    assert len(base64.b64decode(second)) == 5


@pytest.mark.parametrize("size", SIZES)
async def test_streamed_and_whole_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    body = Body([b"head", part(tmp_path, "a", size), b"tail"])
    bodies = []
    for limit in (0, 10 * body.length):
        monkeypatch.setattr(answer, "SMALL", limit)
        bodies.append(await read(body))
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("size", [10, SMALL + 10])
@pytest.mark.parametrize("left", [None, 0, 5])
async def test_a_file_that_is_not_what_it_was_breaks_off(
    tmp_path: Path, size: int, left: int | None
) -> None:
    changed = part(tmp_path, "a", size)
    if left is None:
        changed.path.unlink()
    else:
        changed.path.write_bytes(bytes(left))
    with pytest.raises(OSError):  # noqa: PT011 - of the operating system, or our own
        await read(Body([b"head", changed]))
    with pytest.raises(OSError):  # noqa: PT011
        [chunk async for chunk in answer.raw_chunks(changed.path, size)]


@pytest.mark.parametrize("size", SIZES)
async def test_raw_files_come_as_they_are(tmp_path: Path, size: int) -> None:
    found = part(tmp_path, "a", size)
    raw = b"".join([chunk async for chunk in answer.raw_chunks(found.path, size)])
    assert raw == content(size)[:size]


def done(folder: Path, sizes: list[int], **more: Any) -> Job:
    outputs = [
        {
            "index": index,
            "filename": f"{index}.png",
            "path": str(part(folder, str(index), size).path),
            "size": size,
            "width": None,
        }
        for index, size in enumerate(sizes)
    ]
    result = {"outputs": outputs, "texts": [], "stats": {}, "execution_cached": []}
    fields = {"request": {"metadata": {"a": 1}, "id": "theirs"}, "graph": {}, "fingerprint": "f"}
    return Job(**{"id": "a", "created_at": 0.0, **fields, "result": {**result, **more}})


@pytest.mark.parametrize("sizes", [[], [3], [1, 0, SMALL]])
async def test_a_success_holds_every_file(tmp_path: Path, sizes: list[int]) -> None:
    body = answer.success(done(tmp_path, sizes))
    raw = await read(body)
    assert len(raw) == body.length
    told = json.loads(raw)
    assert [len(base64.b64decode(image)) for image in told["images"]] == sizes
    assert told["filenames"] == [f"{index}.png" for index in range(len(sizes))]
    assert (told["id"], told["status"], told["metadata"]) == ("a", "ok", {"a": 1})
    assert "node_errors" not in told
    for index, output in enumerate(told["outputs"]):
        assert output["url"] == f"/jobs/a/outputs/{index}"
        assert not output.keys() & {"path", "width"}


async def test_a_success_shows_no_marks_and_some_errors(tmp_path: Path) -> None:
    job = done(tmp_path, [], node_errors={"2": {}})
    marked = graph.made_unique({"1": {"class_type": "Save"}}, "a", {"Save"})
    told = json.loads(await read(answer.success(Job(**{**vars(job), "graph": marked}))))
    assert told["prompt"] == {"1": {"class_type": "Save", "inputs": {}}}
    assert told["node_errors"] == {"2": {}}


async def test_what_was_uploaded_is_told_by_its_url(tmp_path: Path) -> None:
    job = done(tmp_path, [3, 4], presigned_urls=["https://signed"])
    job.result["outputs"][0] |= {"uploaded_to": 's3://b/"é.png', "source": "/host/0.png"}
    Path(job.result["outputs"][0]["path"]).unlink()
    body = answer.success(job)
    raw = await read(body)
    assert len(raw) == body.length
    told = json.loads(raw)
    assert told["images"][0] == 's3://b/"é.png'
    assert len(base64.b64decode(told["images"][1])) == 4
    assert told["outputs"][0]["uploaded_to"] == 's3://b/"é.png'
    assert "uploaded_to" not in told["outputs"][1]
    assert told["presigned_urls"] == ["https://signed"]
    assert "/host/" not in raw.decode()
    record = answer.record(job, {}, None)
    assert record["presigned_urls"] == ["https://signed"]
    assert record["outputs"] == told["outputs"]


@pytest.mark.parametrize(
    ("state", "progress", "expected"),
    [
        (State.QUEUED, {}, {"value": 0.0, "nodes_done": 0, "nodes_total": 2}),
        (State.RUNNING, {"progress": {"value": 0.5}}, {"value": 0.5}),
        (State.DELIVERING, {}, {"value": 1.0, "nodes_done": 2, "nodes_total": 2}),
        (
            State.SUCCEEDED,
            {"progress": {"value": 0.5}},
            {"value": 1.0, "nodes_done": 2, "nodes_total": 2},
        ),
    ],
)
def test_a_record_tells_how_far_it_is(
    state: State, progress: dict[str, Any], expected: dict[str, Any]
) -> None:
    job = Job(
        id="a", request={}, graph={"1": {}, "2": {}}, fingerprint="f", created_at=0.0, state=state
    )
    place = Place(3, Estimate(12.34, 5.6789))
    shown = answer.record(job, {"phase": "preparing", **progress}, place)
    assert shown["progress"] == expected
    assert shown["position"] == 3
    assert shown["estimate"] == {"wait": 12.3, "duration": 5.679}
    assert shown["created_at"] == "1970-01-01T00:00:00.000Z"
    assert ("phase" in shown) is (state is State.QUEUED)
    assert not shown.keys() & {"error", "started_at", "finished_at", "stats", "metadata"}


def test_a_failure_says_error() -> None:
    told = answer.failure({"code": "c", "message": "m", "status": 500, "hint": "h"})
    assert told == {"error": "m", "code": "c", "hint": "h"}
