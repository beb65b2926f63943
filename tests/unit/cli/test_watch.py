"""What the command line makes of a job's events, and how it shows them."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from gateway.cli.follow import JobEvent, pause
from gateway.cli.job_screen import JsonLines, Lines, details
from gateway.cli.jobs import duration, expected
from gateway.cli.watch import advanced, failure, plain


def job(state: str = "running", value: float = 0.0, **more: Any) -> dict[str, Any]:
    progress = {"value": value, **more.pop("progress", {})}
    return {"id": "a", "state": state, "progress": progress, **more}


def test_a_state_replaces_all_but_the_progress() -> None:
    event = JobEvent("state", {"state": "running", "attempt": 2})
    found = advanced(job("queued", 0.3, position=3, phase="preparing"), event)
    assert found == job("running", 0.3, attempt=2)


@pytest.mark.parametrize("kind", ["preview", "output", "log", "later"])
def test_other_events_change_nothing(kind: str) -> None:
    assert advanced(job(), JobEvent(kind, {"state": "failed"})) == job()


def test_progress_without_a_value() -> None:
    found = advanced(job(), JobEvent("progress", {"value": None, "node": "3"}))
    assert found["progress"] == {"value": 0.0, "node": "3"}


def test_a_line_for_each_state_and_each_tenth() -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    shown = [
        job("queued", position=2),
        job("queued", position=2),
        job("queued", position=1),
        job(),
        *(job(value=value / 100, progress={"steps": 9, "step": 1}) for value in (4, 11, 12, 35)),
        job(value=0.2),
        job("delivering", 1.0),
        job("succeeded", 1.0),
    ]
    for one in shown:
        lines.show(one)
    assert stream.getvalue().splitlines() == [
        "queued, 2",
        "queued, 1",
        "running",
        "running 11% step 1 of 9",
        "running 35% step 1 of 9",
        "delivering",
        "succeeded",
    ]


def test_json_lines_are_the_events_and_nothing_else() -> None:
    stream = io.StringIO()
    lines = JsonLines(stream)
    lines.event(JobEvent("log", {"message": "a\nb"}, "7"))
    lines.show(job())
    lines.say("x")
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"id": "7", "event": "log", "data": {"message": "a\nb"}}
    ]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (job("queued"), ""),
        (job("queued", estimate={"wait": 40.4, "duration": 400}), "in ~40 s, takes ~7 min"),
        (job("queued", estimate={"wait": 40, "duration": None}), "in ~40 s"),
        (job("running", estimate={"wait": 0}), ""),
        (job(progress={"nodes_done": 1, "nodes_total": 5}), "node 2 of 5"),
        (job(progress={"nodes_done": 5, "nodes_total": 5}), "node 5 of 5"),
        (job(progress={"step": 3, "steps": 20}, attempt=2), "step 3 of 20, attempt 2"),
        (job("delivering", progress={"nodes_total": 5}), ""),
    ],
)
def test_details(found: dict[str, Any], told: str) -> None:
    assert details(found) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (5300, "88 min"), (7200, "2.0 h")],
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_an_estimate_is_no_news_once_the_job_runs() -> None:
    assert expected(job("succeeded", estimate={"wait": 3})) == ""


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("plain \u20ac", "plain \u20ac"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "]0;titlex"),
        (" 10%|#   |\r 50%|##  |\r\n", " 50%|##  |"),
        ("a\tb\nc", "a\tbc"),
    ],
)
def test_what_a_terminal_may_show(line: str, told: str) -> None:
    assert plain(line) == told


@pytest.mark.parametrize(
    ("record", "told", "hint"),
    [
        ({"state": "failed", "error": {"message": "No.", "hint": "Do."}}, "No.", "Do."),
        ({"state": "cancelled"}, "The job is cancelled.", None),
        (
            {
                "state": "failed",
                "error": {"message": "Refused."},
                "node_errors": {"1": {"errors": [{"message": "Bad", "details": "x"}]}},
            },
            "Refused.",
            "node 1: Bad: x",
        ),
    ],
)
def test_how_a_job_that_did_not_succeed_is_told(
    record: dict[str, Any], told: str, hint: str | None
) -> None:
    found = failure(record)
    assert found is not None
    assert (found.message, found.hint) == (told, hint)


def test_pauses_grow_and_are_bounded() -> None:
    assert [pause(number) for number in (0, 1, 2, 9, 10**6)] == [0.25, 0.5, 1.0, 10.0, 10.0]
