"""One run told by its frames: in order, repeated, broken, and restored from the history."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.comfy import attempt as attempts
from gateway.comfy.attempt import Attempt, Execution
from gateway.comfy.events import Frame, Preview
from gateway.comfy.observer import FileRef, Observer, Progress

WORKFLOW = {
    "1": {"class_type": "Load"},
    "2": {"class_type": "Sample"},
    "3": {"class_type": "Save"},
    "4": {"class_type": "Show"},
}
Told = tuple[Attempt, list[Progress], list[str]]


class Listening(Observer):
    def __init__(self, told: list[Progress]) -> None:
        self.told = told
        self.files: list[tuple[list[str], int]] = []
        self.previews: list[Preview] = []

    def on_progress(self, progress: Progress) -> None:
        self.told.append(progress)

    def on_files(self, files: list[FileRef], settled: int) -> None:
        self.files.append(([ref.filename for ref in files], settled))

    def on_preview(self, preview: Preview) -> None:
        self.previews.append(preview)


def begin() -> Told:
    progress: list[Progress] = []
    classes: list[str] = []
    loop = asyncio.new_event_loop()
    result: asyncio.Future[Execution] = loop.create_future()
    loop.close()
    made = Attempt(
        "p", WORKFLOW, Listening(progress), lambda class_type, _: classes.append(class_type), result
    )
    return made, progress, classes


def take(attempt: Attempt, *frames: tuple[str, dict[str, Any]]) -> None:
    for kind, data in frames:
        attempt.take(Frame(kind, data))


def images(*names: str) -> dict[str, Any]:
    return {"images": [{"filename": name, "subfolder": "", "type": "output"} for name in names]}


def executed(node: str, output: Any, **more: Any) -> tuple[str, dict[str, Any]]:
    return "executed", {"node": node, "output": output, **more}


START = ("execution_start", {"timestamp": 1000})
CACHED = ("execution_cached", {"nodes": ["1"], "timestamp": 1001})
SUCCESS = ("execution_success", {"timestamp": 1500})
END = ("executing", {"node": None})


def executing(node: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "executing", {"node": node, **more}


def test_a_whole_run() -> None:
    attempt, progress, classes = begin()
    take(
        attempt,
        START,
        CACHED,
        executing("2", timestamp=1010),
        ("progress", {"value": 1, "max": 4}),
        executing("3", timestamp=1400),
        executed("3", images("x.png")),
        SUCCESS,
    )
    assert attempt.started
    assert not attempt.over.is_set()
    take(attempt, END)
    assert attempt.over.is_set()
    result = attempt.result.result()
    assert result.files == [FileRef("3", "x.png", "", "output")]
    assert (result.start, result.end, result.cached) == (1000.0, 1500.0, ["1"])
    assert result.node_starts == {"2": 1010.0, "3": 1400.0}
    assert classes == ["Sample", "Save"]
    assert [found.value for found in progress] == [0.0, 0.25, 0.25, 0.3125, 0.5, 0.75]
    stepping = progress[3]
    assert (stepping.node, stepping.class_type, stepping.step, stepping.steps) == (
        *("2", "Sample", 1.0, 4.0),
    )


@pytest.mark.parametrize(("sent", "told"), [(11, "11"), (11.0, "11"), (0.5, "0.5")])
def test_a_step_is_told_as_the_whole_number_that_it_is(sent: float, told: str) -> None:
    attempt, progress, _ = begin()
    take(attempt, START, executing("2"), ("progress", {"value": sent, "max": 20.0}))
    assert (repr(progress[-1].step), repr(progress[-1].steps)) == (told, "20")


def test_outputs_come_in_the_order_of_the_graph() -> None:
    attempt, _, _ = begin()
    take(
        attempt,
        executed("grown", images("late.png")),
        executed("4", {"text": ["said"], "more": "one", "number": [1]}),
        executed("3", images("a.png", "b.png")),
        executed("3.0.1", {"gifs": [{"filename": "c.gif"}]}, display_node="3"),
        executed("3", images("a.png", "d.png")),
        executed("2", {"ui": {"filename": "e.png", "subfolder": "s", "type": "temp"}}),
        SUCCESS,
    )
    result = attempt.result.result()
    names = [(found.node_id, found.filename) for found in result.files]
    assert names == [
        ("2", "e.png"),
        ("3", "a.png"),
        ("3", "b.png"),
        ("3", "c.gif"),
        ("3", "d.png"),
        ("grown", "late.png"),
    ]
    assert result.files[0] == FileRef("2", "e.png", "s", "temp")
    assert result.texts == [("4", "said"), ("4", "one")]


@pytest.mark.parametrize(
    "frame",
    [
        ("unknown", {}),
        ("progress", {}),
        ("progress", {"value": math.nan, "max": 5}),
        ("progress", {"value": 1, "max": math.nan}),
        ("progress", {"value": math.inf, "max": math.inf}),
        ("progress", {"value": 1, "max": 0}),
        ("progress", {"value": "1", "max": None}),
        ("progress", {"value": -5, "max": 1}),
        ("execution_start", {"timestamp": None}),
        ("execution_cached", {"nodes": None}),
        ("execution_cached", {"nodes": 5}),
        ("execution_cached", {"nodes": [None, 5, ["1"]]}),
        ("executing", {"node": "not in the graph"}),
        ("executed", {}),
        ("executed", {"node": "3", "output": None}),
        ("executed", {"node": "3", "output": {"images": None, "x": [None, 1, {}]}}),
        ("executed", {"node": "3", "output": {"images": [{"filename": None}]}}),
        ("executed", {"node": None, "display_node": 5, "output": {}}),
        ("executed", {"node": "3", "display_node": ["3"], "output": {}}),
    ],
    ids=str,
)
def test_odd_frames_do_no_harm(frame: tuple[str, dict[str, Any]]) -> None:
    attempt, progress, _ = begin()
    take(attempt, START, executing("2"), frame, executed("3", images("x.png")), SUCCESS)
    assert [found.filename for found in attempt.result.result().files] == ["x.png"]
    assert all(0 <= found.value <= 1 for found in progress)


@pytest.mark.parametrize("stamp", [math.nan, math.inf, 1e300, -1, 1_795_000_000_000_000, "x"])
def test_what_is_no_time_is_now(stamp: Any) -> None:
    attempt, _, _ = begin()
    take(attempt, ("execution_start", {"timestamp": stamp}), executed("3", images("x.png")))
    take(attempt, ("execution_success", {"timestamp": stamp}))
    done = attempt.result.result()
    assert abs(done.start / 1000 - time.time()) < 60
    assert done.start <= done.end < (time.time() + 60) * 1000


FRAMES = st.one_of(
    st.sampled_from([START, CACHED, END, executed("3", {}), executed("9", {})]),
    st.sampled_from([*WORKFLOW, "9"]).map(executing),
    st.tuples(st.floats(), st.floats()).map(
        lambda pair: ("progress", {"value": pair[0], "max": pair[1]})
    ),
)


@given(st.lists(FRAMES))
def test_progress_never_goes_back(frames: list[tuple[str, dict[str, Any]]]) -> None:
    attempt, progress, _ = begin()
    take(attempt, *frames)
    values = [found.value for found in progress]
    assert values == sorted(values)
    assert all(0 <= value <= 1 for value in values)


def test_an_error_is_told_once_and_without_paths() -> None:
    attempt, _, _ = begin()
    error = {
        "node_id": "2",
        "node_type": "Sample",
        "exception_type": "ValueError",
        "exception_message": "no /srv/comfy/models/x.safetensors here\n",
        "traceback": [
            '  File "/srv/comfy/execution.py", line 1, in execute\n    run()\n',
            '  File "/srv/comfy/custom_nodes/pack/nodes.py", line 2, in go\n    raise\n',
            '  File "C:\\comfy\\pack\\more.py", line 3\n',
            None,
        ],
    }
    take(attempt, START, ("execution_error", error), SUCCESS, ("execution_interrupted", {}))
    failure = attempt.result.exception()
    assert isinstance(failure, errors.ExecutionFailed)
    told = failure.to_dict()
    assert told["message"] == "Node 2 (Sample) raised ValueError: no x.safetensors here"
    assert told["traceback"] == [
        '  File "nodes.py", line 2, in go\n    raise\n',
        '  File "more.py", line 3\n',
    ]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], []),
        (['  File "/a/execution.py", line 1\n'], ['  File "execution.py", line 1\n']),
        (["see '/a/b/c.txt' and /d/e"], ["see 'c.txt' and e"]),
        ([1, None], []),
    ],
)
def test_tracebacks_are_cut(lines: list[Any], expected: list[str]) -> None:
    assert attempts.node_traceback(lines) == expected


@pytest.mark.parametrize("data", [{}, {"exception_message": 5, "traceback": "text"}])
def test_an_odd_error_is_an_error(data: dict[str, Any]) -> None:
    assert attempts.execution_failed(data).to_dict()["traceback"] == []


def test_an_interruption_is_a_cancel() -> None:
    attempt, _, _ = begin()
    take(attempt, START, ("execution_interrupted", {"node_id": "2"}))
    assert isinstance(attempt.result.exception(), errors.JobCancelled)


def test_a_gap_leaves_the_end_to_the_history() -> None:
    attempt, _, _ = begin()
    take(attempt, START, executed("4", images("seen.png")))
    attempt.has_gaps = True
    take(attempt, SUCCESS)
    assert not attempt.result.done()
    messages = [["execution_start", {"timestamp": 900}], ["execution_cached", {"nodes": ["2"]}]]
    attempt.restore(
        {
            "status": {"status_str": "success", "messages": [*messages, ["execution_success", {}]]},
            "outputs": {"4": images("b.png"), "3": images("a.png")},
        }
    )
    assert attempt.over.is_set()
    result = attempt.result.result()
    assert [found.filename for found in result.files] == ["a.png", "b.png"]
    assert (result.start, result.cached) == (900.0, ["2"])


@pytest.mark.parametrize(
    ("entry", "failure"),
    [
        ({"status": {"status_str": "error", "messages": []}}, errors.ExecutionFailed),
        (
            {
                "status": {
                    "status_str": "error",
                    "messages": [["execution_interrupted", {}], ["execution_error", None]],
                }
            },
            errors.JobCancelled,
        ),
        ({}, None),
        ({"status": None, "outputs": None}, None),
        ({"status": "odd", "outputs": [1]}, None),
        ({"status": {"messages": 5}, "outputs": {"3": None}}, None),
        ({"status": {"messages": [None, [], ["a"], [1, {}], "ab"]}}, None),
    ],
    ids=str,
)
def test_any_entry_of_the_history_ends_the_attempt(
    entry: dict[str, Any], failure: type[BaseException] | None
) -> None:
    attempt, _, _ = begin()
    attempt.restore(entry)
    assert attempt.over.is_set()
    found = attempt.result.exception()
    assert found is None if failure is None else isinstance(found, failure)


def listening(output_nodes: frozenset[str]) -> tuple[Attempt, Listening]:
    loop = asyncio.new_event_loop()
    result: asyncio.Future[Execution] = loop.create_future()
    loop.close()
    observer = Listening([])
    made = Attempt("p", WORKFLOW, observer, lambda *_: None, result, output_nodes=output_nodes)
    return made, observer


def test_the_place_of_a_file_is_final_when_no_node_before_it_may_report() -> None:
    attempt, heard = listening(frozenset({"3", "4"}))
    take(attempt, START, executing("4"), executed("4", images("late.png")))
    take(attempt, executing("3"), executed("3", images("a.png", "b.png")), SUCCESS, END)
    assert heard.files == [(["late.png"], 0), (["a.png", "b.png", "late.png"], 3)]


def test_a_node_that_grew_others_may_report_again() -> None:
    attempt, heard = listening(frozenset({"3", "4"}))
    grown = executed("3.0.1", images("a.png"), display_node="3")
    take(attempt, START, grown, executed("4", images("b.png")), SUCCESS, END)
    assert heard.files == [(["a.png"], 0), (["a.png", "b.png"], 0)]


def test_a_node_that_reports_nothing_is_waited_for_until_it_is_done() -> None:
    attempt, heard = listening(frozenset({"3", "4"}))
    take(attempt, START, executed("4", images("b.png")), executed("3", None), SUCCESS, END)
    assert heard.files == [(["b.png"], 0), (["b.png"], 1)]


@pytest.mark.parametrize(("said", "told"), [(None, "2"), ("7", "7")])
def test_a_preview_is_of_the_node_that_runs_unless_it_says(said: str | None, told: str) -> None:
    attempt, heard = listening(frozenset())
    take(attempt, START, executing("2"))
    attempt.take_preview(Preview("image/jpeg", b"x", None, said))
    assert [preview.node_id for preview in heard.previews] == [told]
