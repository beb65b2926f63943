"""The bus of live events: what is told, how often, and what it costs when nobody listens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from gateway import metrics
from gateway.jobs import events as bus
from gateway.jobs.channel import Reader
from gateway.jobs.estimate import Place
from gateway.jobs.events import Events
from gateway.jobs.job import Job, State
from tests.unit.jobs.test_channel import kinds, parsed
from tests.waiting import wait_until

JOB = Job(id="a", request={}, graph={"1": {}, "2": {}}, fingerprint="", created_at=0.0)
RUNNING = replace(JOB, state=State.RUNNING)
DONE = replace(JOB, state=State.SUCCEEDED)
FILE = {"index": 0, "filename": "a.png", "path": "/secret/a.png"}


@contextmanager
def reading(
    events: Events, job: Job = RUNNING, position: int | None = None, **more: Any
) -> Iterator[Reader]:
    given = {"last_id": None, "previews": False, "on_news": lambda: None, **more}
    with events.reading(job.id, **given) as reader:
        events.seed(job, position)
        yield reader


def progress(value: float) -> dict[str, Any]:
    return {"value": value, "nodes_done": 0, "nodes_total": 2}


def told(reader: Reader) -> list[dict[str, Any]]:
    return [data for _, _, data in parsed(reader.take())]


class Places:
    def __init__(self, **places: int) -> None:
        self.places_of = places
        self.asked: list[str] = []

    async def places(self, jobs: Sequence[Job]) -> dict[str, Place]:
        self.asked.append("".join(job.id for job in jobs))
        return {job.id: Place(self.places_of[job.id]) for job in jobs}


async def test_progress_is_told_at_once_then_at_a_pace_and_the_newest_wins() -> None:
    events = Events()
    with reading(events) as reader:
        for value in (0.1, 0.2, 0.3):
            events.publish("a", "progress", progress(value))
        assert [data.get("value") for data in told(reader)] == [None, 0.1]
        found = await wait_until(lambda: told(reader), description="the last one was told too")
    assert [data["value"] for data in found] == [0.3]


async def test_progress_never_goes_back_over_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "PROGRESS_EVERY_S", 0.0)
    events = Events()
    with reading(events) as reader:
        told(reader)
        for value in (0.2, 0.6):
            events.publish("a", "progress", progress(value))
        events.changed(replace(JOB, attempt=2))
        events.changed(replace(RUNNING, attempt=2))
        for value in (0.0, 0.5, 0.7):
            events.publish("a", "progress", progress(value))
        events.changed(replace(DONE, attempt=2))
        found = told(reader)
    assert [data["value"] for data in found if "value" in data] == [0.2, 0.6, 0.6, 0.6, 0.7, 1.0]
    states = [(data["state"], data["attempt"]) for data in found if "state" in data]
    assert states == [("queued", 2), ("running", 2), ("succeeded", 2)]


async def test_what_is_held_back_is_told_before_the_end() -> None:
    events = Events()
    with reading(events) as reader:
        told(reader)
        for value in (0.1, 0.9):
            events.publish("a", "progress", progress(value))
        events.changed(replace(JOB, state=State.FAILED))
        events.publish("a", "progress", progress(1.0))
        events.publish("a", "log", {"level": "info", "message": "late"})
        found = told(reader)
        assert reader.is_over
    assert [data.get("value") or data["state"] for data in found] == [0.1, 0.9, "failed"]


async def test_all_that_comes_in_one_turn_wakes_a_reader_once() -> None:
    events, woken = Events(), []
    with reading(events, on_news=lambda: woken.append(1)):
        await asyncio.sleep(0)
        woken.clear()
        for number in range(5):
            events.publish("a", "log", {"level": "info", "message": str(number)})
        await asyncio.sleep(0)
        assert woken == [1]


async def test_a_job_that_nobody_watches_costs_nothing() -> None:
    events = Events()
    for number in range(1000):
        events.changed(replace(JOB, id=str(number)))
    assert not events._channels
    with reading(events, JOB, 5):
        pass
    with reading(events, RUNNING):
        pass
    assert not events._channels
    assert not events._queued


async def test_the_events_of_only_so_many_jobs_that_are_over_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bus, "KEPT_JOBS", 2)
    events = Events()
    for name in "abc":
        events.publish(name, "log", {"level": "info", "message": "x"})
        events.changed(replace(DONE, id=name))
    assert list(events._channels) == ["b", "c"]
    monkeypatch.setattr(bus, "_LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(bus, "KEPT_S", 0.0)
    events.publish("d", "log", {"level": "info", "message": "x"})
    events.changed(replace(DONE, id="d"))
    events._over = dict.fromkeys(events._over, 0.0)
    looking = asyncio.create_task(events.look(Places()))
    await wait_until(lambda: not events._channels, description="all were forgotten")
    looking.cancel()


async def test_positions_of_watched_jobs_fall() -> None:
    events, places = Events(), Places(a=1)
    with reading(events, JOB, 3) as reader:
        assert told(reader) == [{"state": "queued", "attempt": 1, "position": 3}]
        assert await events._looked(places) is False
        assert told(reader) == [{"state": "queued", "attempt": 1, "position": 1}]
        await events._looked(places)
        assert told(reader) == []
        events.changed(RUNNING)
        await events._looked(places)
        assert told(reader) == [{"state": "running", "attempt": 1}]
    assert places.asked == ["a", "a", ""]


async def test_one_look_takes_in_many_jobs_and_the_next_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bus, "_LOOK_AT", 2)
    events, places = Events(), Places(a=1, b=2, c=3)
    with contextlib.ExitStack() as stack:
        for name in "abc":
            stack.enter_context(reading(events, replace(JOB, id=name), 9))
        assert await events._looked(places)
        await events._looked(places)
    assert places.asked == ["ab", "ca"]


async def test_a_wish_to_cancel_is_no_new_state() -> None:
    events = Events()
    with reading(events) as reader:
        told(reader)
        events.changed(replace(RUNNING, cancel_asked=True))
        assert told(reader) == []


async def test_a_state_that_overtook_the_reader_stands() -> None:
    events = Events()
    with events.reading("a", None, previews=False, on_news=lambda: None) as reader:
        events.changed(DONE)
        events.seed(JOB, 4)
        assert [data.get("state", "-") for data in told(reader)] == ["-", "succeeded"]


async def test_outputs_show_no_path_and_can_be_fetched_while_the_job_runs() -> None:
    events = Events()
    with reading(events) as reader:
        told(reader)
        early = {key: value for key, value in FILE.items() if key != "index"}
        events.publish_output("a", early, key="ref")
        assert events.outputs("a") == []
        assert told(reader) == [{"filename": "a.png"}]
        events.publish_output("a", FILE, key="ref")
        assert events.outputs("a") == [FILE]
        assert told(reader) == [{"index": 0, "filename": "a.png", "url": "/jobs/a/outputs/0"}]
    assert events.outputs("other") == []


async def test_of_a_job_that_was_over_before_the_record_is_told() -> None:
    events = Events()
    done = replace(DONE, result={"outputs": [FILE]})
    with reading(events, done) as reader:
        raw = reader.take()
        assert kinds(raw) == ["output", "progress", "state"]
        assert reader.is_over
    with reading(events, done, last_id=parsed(raw)[-1][0]) as again:
        assert again.is_told
    with reading(events, done, last_id=parsed(raw)[0][0]) as again:
        assert kinds(again.take()) == ["progress", "state"]


async def test_a_name_that_is_used_again_is_another_job() -> None:
    events = Events()
    events.publish("a", "log", {"level": "info", "message": "x"})
    events.changed(DONE)
    again = replace(JOB, created_at=5.0)
    with events.reading("a", None, previews=False, on_news=lambda: None) as reader:
        events.changed(again)
        events.seed(again, 2)
        assert told(reader) == [{"state": "queued", "attempt": 1}]
        events.publish("a", "progress", progress(0.5))
        events.changed(replace(again, state=State.FAILED))
        assert [data.get("state") or data["value"] for data in told(reader)] == [0.5, "failed"]
    assert list(events._channels) == list(events._over) == ["a"]


async def test_previews_are_made_for_those_who_asked() -> None:
    events = Events()
    assert not events.wants_previews("a")
    with reading(events):
        assert not events.wants_previews("a")
    with reading(events, previews=True) as reader:
        assert events.wants_previews("a")
        told(reader)
        for picture in (b"1", b"2", b"3"):
            events.publish_preview("a", "7", "image/png", picture)
        assert told(reader) == [
            {"node_id": "7", "content_type": "image/png", "data_base64": "MQ=="}
        ]
        found = await wait_until(lambda: told(reader), description="the newest comes later")
        assert found[0]["data_base64"] == "Mw=="


async def test_ids_rise_over_restarts() -> None:
    with reading(Events()) as reader:
        ((before, *_),) = parsed(reader.take())
    with reading(Events()) as reader:
        ((after, *_),) = parsed(reader.take())
    assert after > before


async def test_the_end_of_all_streams_but_some() -> None:
    events = Events()
    other = replace(RUNNING, id="b")
    with reading(events) as ends, reading(events, other) as stays:
        events.end(keep={"b"})
        assert (ends.is_over, stays.is_over) == (True, False)
        with reading(events) as late:
            assert late.is_over
        events.end(keep=set())
        assert stays.is_over


async def test_readers_are_counted() -> None:
    events, before = Events(), metrics.sse_readers._value.get()
    with reading(events), reading(events):
        assert metrics.sse_readers._value.get() == before + 2
    assert metrics.sse_readers._value.get() == before
