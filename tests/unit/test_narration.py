"""What is told of a run: files as they come, lines at a rate, frames under the caller's name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from gateway import errors, narration
from gateway.comfy.events import Frame, parse_text
from gateway.comfy.observer import FileRef, Progress
from gateway.jobs.events import Events
from gateway.jobs.job import Job
from gateway.narration import Narration, Narrator, Throttle, level_of
from tests.waiting import wait_until

A, B = (FileRef(node, f"{node}.png", "", "output") for node in "12")


class Told(Events):
    """Keeps what is told as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, dict[str, Any]]] = []

    def publish(self, job_id: str, kind: Any, data: dict[str, Any], *, key: Any = None) -> None:
        assert job_id == "a"
        self.heard.append((kind, data))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [data for found, data in self.heard if found == kind]


class System:
    def __init__(self, *names: str) -> None:
        self.names = names
        self.heard: list[tuple[str, Mapping[str, Any], str | None]] = []

    def wants(self, name: str) -> bool:
        return name in self.names or "all" in self.names

    def notify(self, name: str, data: Mapping[str, Any], job_id: str | None = None) -> None:
        self.heard.append((name, data, job_id))


def job(**more: Any) -> Job:
    return Job(id="a", request={}, fingerprint="", created_at=0.0, **{"graph": {}, **more})


def described(index: int | None, ref: FileRef) -> dict[str, Any]:
    if ref.filename == "gone.png":
        raise errors.OutputMissing("gone")
    return {**({} if index is None else {"index": index}), "filename": ref.filename}


def narrator(events: Events, system: Any = None, tell: Any = lambda _: None) -> Narrator:
    return Narration(events, system or System()).of(job(), tell, described)


async def test_files_are_told_as_they_come_and_again_when_their_place_is_known() -> None:
    events = Told()
    told = narrator(events)
    told.on_files([B], 0)
    await wait_until(lambda: events.of("output"), description="the first file was told")
    told.on_files([A, B], 2)
    await wait_until(lambda: len(events.of("output")) == 3, description="both were told")
    final = [{"index": 0, "filename": "1.png"}, {"index": 1, "filename": "2.png"}]
    told.collected([A, B], final)
    url = "/jobs/a/outputs/"
    assert events.of("output") == [
        {"filename": "2.png"},
        {**final[0], "url": f"{url}0"},
        {**final[1], "url": f"{url}1"},
    ]
    told.delivered([{**final[0], "filename": "1.webp"}, final[1]])
    assert events.of("output")[3:] == [{"index": 0, "filename": "1.webp", "url": f"{url}0"}]


async def test_a_short_run_looks_at_no_file_twice() -> None:
    events = Told()
    told = narrator(events)
    told.on_files([A], 1)
    told.collected([A], [{"index": 0, "filename": "1.png"}])
    await asyncio.sleep(0)
    assert len(events.of("output")) == 1


async def test_a_file_that_is_not_there_is_no_harm() -> None:
    events = Told()
    told = narrator(events)
    told.on_files([FileRef("1", "gone.png", "", "output"), B], 2)
    found = await wait_until(lambda: events.of("output"), description="the other was told")
    assert [one["filename"] for one in found] == ["2.png"]
    told.close()


async def test_the_record_and_readers_hear_of_progress_that_never_goes_back() -> None:
    events, record = Told(), []
    told = narrator(events, tell=record.append)
    for value in (0.5, 0.0, 0.7):
        told.on_progress(Progress(value, None, None, 1, 2))
    assert [one["value"] for one in events.of("progress")] == [0.5, 0.5, 0.7]
    assert [one["progress"]["value"] for one in record] == [0.5, 0.5, 0.7]
    assert {one["started_at"] for one in record} == {record[0]["started_at"]}


async def test_after_its_end_only_frames_are_told() -> None:
    events, system = Told(), System("all")
    told = narrator(events, system)
    told.close()
    told.on_progress(Progress(0.5, None, None, 1, 2))
    told.on_line("late")
    told.on_files([A], 1)
    assert events.heard == []
    frame = parse_text('{"type":"executing","data":{"node":null,"prompt_id":"p"}}')
    assert frame is not None
    told.on_frame(frame)
    assert system.heard == [
        ("executing", {"type": "executing", "data": {"node": None, "prompt_id": "a"}}, "a")
    ]


def test_frames_bear_the_callers_name_everywhere() -> None:
    system = System("progress_state")
    told = narrator(Told(), system)
    nodes = '{"3":{"prompt_id":"p","value":NaN},"4":7}'
    data = f'{{"prompt_id":"p","nodes":{nodes}}}'
    for kind in ("progress_state", "progress", "custom"):
        frame = parse_text(f'{{"type":"{kind}","sid":"s","data":{data}}}')
        assert frame is not None
        told.on_frame(frame)
    told.on_frame(Frame("progress_state", {"prompt_id": "p"}))
    renamed = {"prompt_id": "a", "nodes": {"3": {"prompt_id": "a", "value": None}, "4": 7}}
    assert system.heard == [
        ("progress_state", {"type": "progress_state", "sid": "s", "data": renamed}, "a")
    ]


def test_status_frames_are_of_no_job() -> None:
    system = System("status")
    for kind in ("status", "monitor"):
        frame = parse_text(f'{{"type":"{kind}","data":{{"sid":"s"}}}}')
        assert frame is not None
        Narration(Told(), system).on_status(frame)
    assert system.heard == [("status", {"type": "status", "data": {"sid": "s"}}, None)]


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("got prompt", "info"),
        ("!!! Exception during processing !!! x", "error"),
        ("[ERROR] An error occurred", "error"),
        ("Traceback (most recent call last):", "error"),
        ("WARNING: no VAE weights", "warning"),
        ("UserWarning: old", "warning"),
        ("ValueError: no", "error"),
        ("terrors of the deep", "info"),
    ],
)
def test_levels(line: str, level: str) -> None:
    assert level_of(line) == level


def test_a_flood_of_lines_is_cut_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    throttle = Throttle(1.0, 2)
    assert [throttle.passes(now) for now in (10, 10, 10, 10, 11, 12)] == [0, 0, None, None, 2, 0]
    monkeypatch.setattr(narration, "_LINES_AT_ONCE", 1)
    monkeypatch.setattr(narration, "_LINE_LENGTH", 5)
    events = Told()
    told = narrator(events)
    told.on_line("123456")
    told.on_line("lost")
    assert events.of("log") == [{"level": "info", "message": "12345"}]


def test_what_is_fetched_is_named_without_secrets() -> None:
    events = Told()
    model = {
        "node_id": "1",
        "name": "vae_name",
        "url": "https://u:p@host/a.safetensors?token=s3cret&v=1",
        "folder": "vae",
    }
    graph = {"2": {"class_type": "LoadImage", "inputs": {"image": "http://host/a.png"}}}
    Narration(events, System()).fetching(job(models=[model], graph=graph))
    assert [one["message"] for one in events.of("log")] == [
        "Fetching https://host/a.safetensors?token=***&v=1.",
        "Fetching http://host/a.png.",
    ]


def test_a_run_that_is_tried_again_says_so() -> None:
    events = Told()
    told = narrator(events)
    told.on_run()
    assert events.of("log") == []
    told.on_run()
    assert events.of("log") == [{"level": "warning", "message": "The job is run once more."}]
