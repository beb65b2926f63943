"""Graphs: what is refused, what is found in them, and how they are edited."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors, graph

LONG = 5000


def node(class_type: str = "A", **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def chain(length: int, **more: Any) -> graph.Graph:
    """Node n needs node n - 1."""
    return {str(n): node(source=[str(n - 1), 0], **more) for n in range(length)}


GRAPHS = st.dictionaries(
    st.sampled_from("abcdef"),
    st.fixed_dictionaries(
        {"class_type": st.sampled_from(["A", "Save"])},
        optional={
            "inputs": st.dictionaries(
                st.sampled_from(["image", "filename_prefix", "x", "y"]),
                st.one_of(
                    st.text(max_size=5),
                    st.integers(),
                    st.tuples(st.sampled_from("abcdefg"), st.integers(0, 2)).map(list),
                ),
            ),
            "_meta": st.just({"title": "t"}),
        },
    ),
    min_size=1,
)


@pytest.mark.parametrize(
    ("prompt", "code", "location"),
    [
        ({}, "invalid_request", "prompt"),
        (None, "invalid_request", "prompt"),
        ({"nodes": [], "links": []}, "invalid_request", "prompt.nodes"),
        ({"1": "text"}, "invalid_request", "prompt.1"),
        ({"1": None}, "invalid_request", "prompt.1"),
        ({"1": {"inputs": {}}}, "invalid_graph", "prompt.1.class_type"),
        ({"1": {"class_type": 5}}, "invalid_graph", "prompt.1.class_type"),
        ({"1": {"class_type": "A", "inputs": []}}, "invalid_request", "prompt.1.inputs"),
        ({"1": node(), "n" * 300: 7}, "invalid_request", f"prompt.{'n' * 100}"),
    ],
)
def test_what_is_no_graph_is_refused(prompt: Any, code: str, location: str) -> None:
    with pytest.raises(errors.RequestRefused) as refused:
        graph.check_shape(prompt)
    told = refused.value.to_dict()
    assert (told["code"], told["location"]) == (code, location)


@given(GRAPHS)
def test_a_graph_passes_as_it_is(workflow: graph.Graph) -> None:
    assert graph.check_shape(workflow) is workflow


def test_a_node_may_be_called_nodes() -> None:
    assert graph.check_shape({"nodes": node()})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["1", 0], True),
        (["1", 1.0], True),
        (["1"], False),
        (["1", "0"], False),
        ([1, 0], False),
        (["1", 0, 0], False),
        ("1", False),
        ({"0": "1", "1": 0}, False),
    ],
)
def test_a_link_is_an_id_and_a_number(value: Any, expected: bool) -> None:
    assert graph.is_link(value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://host/x.png", True),
        ("HTTP://host/x.png", True),
        ("s3://bucket/x", True),
        ("gs://bucket/x", True),
        ("az://container/x", True),
        ("hf://owner/name/x", True),
        ("ftp://host/x", False),
        ("file:///models/x", True),
        ("file:/models/x", False),
        ("see https://host/x", False),
        ("https:/host", False),
        ("", False),
        (None, False),
        (["https://host/x"], False),
    ],
)
def test_urls(value: Any, expected: bool) -> None:
    assert graph.is_url(value) is expected


def test_media_are_found_by_the_name_of_the_input() -> None:
    workflow = {
        "1": node(image="a.png", audio="a.wav", text="b.png"),
        "2": node(video=["1", 0], file=5, image=None),
        "3": {"class_type": "A"},
        "4": node(file="x"),
    }
    assert [(ref.location, ref.value) for ref in graph.media_refs(workflow)] == [
        ("prompt.1.inputs.image", "a.png"),
        ("prompt.1.inputs.audio", "a.wav"),
        ("prompt.4.inputs.file", "x"),
    ]


def test_lists_of_files_are_found() -> None:
    workflow = {
        "1": node(directory=["https://host/a", "aGk="]),
        "2": node(directory=["1", 0]),
        "3": node(directory="folder"),
        "4": {"class_type": "A"},
    }
    assert list(graph.directory_lists(workflow)) == [("1", ["https://host/a", "aGk="])]


@pytest.mark.parametrize("entries", [[], [1], ["a", None], [["a"]]])
def test_lists_of_anything_else_are_refused(entries: list[Any]) -> None:
    with pytest.raises(errors.InvalidInput) as refused:
        list(graph.directory_lists({"1": node(directory=entries)}))
    assert refused.value.to_dict()["location"] == "prompt.1.inputs.directory"


def test_urls_are_found_wherever_they_stand() -> None:
    url = "https://host/m.safetensors"
    workflow = {
        "1": node("CheckpointLoaderSimple", ckpt_name=url, other=f"see {url}"),
        "2": node("DualCLIPLoader", clip_name1="here.safetensors", clip_name2=url),
        "3": node("A", link=["1", 0], number=5),
        "4": {"class_type": "A"},
    }
    assert [ref.location for ref in graph.urls(workflow)] == [
        "prompt.1.inputs.ckpt_name",
        "prompt.2.inputs.clip_name2",
    ]


@pytest.mark.parametrize(
    "prefix",
    ["", "x", "a/b/name", "a..b/..c", "%date%/x", "ä", "x" * 200, "a//b", "./x", "xx:y"],
)
def test_prefixes_inside_the_output_folder_pass(prefix: str) -> None:
    graph.check_prefixes({"1": node(filename_prefix=prefix), "2": node(filename_prefix=["1", 0])})


@pytest.mark.parametrize(
    ("prefix", "says"),
    [
        ("..", "leaves"),
        ("../x", "leaves"),
        ("a/../../x", "leaves"),
        ("a/..", "leaves"),
        ("/x", "absolute"),
        ("~/x", "absolute"),
        ("C:x", "absolute"),
        ("a\\b", "backslash"),
        ("a\nb", "control"),
        ("a\x00", "control"),
        ("\x7f", "control"),
        ("x" * 201, "201 characters"),
    ],
)
def test_prefixes_outside_are_refused(prefix: str, says: str) -> None:
    with pytest.raises(errors.InvalidInput, match=says) as refused:
        graph.check_prefixes({"7": node(filename_prefix=prefix)})
    assert refused.value.to_dict()["location"] == "prompt.7.inputs.filename_prefix"


@pytest.mark.parametrize(("prepend", "expected"), [(True, "job_a/b"), (False, "job")])
def test_every_prefix_becomes_the_jobs_own(prepend: bool, expected: str) -> None:
    workflow = {"1": node(filename_prefix="a/b", x=1), "2": node(filename_prefix=["1", 0])}
    edited = graph.with_prefixes(workflow, "job", prepend=prepend)
    assert edited == {"1": node(filename_prefix=expected, x=1), "2": workflow["2"]}


@given(GRAPHS)
def test_edits_leave_the_original_alone(workflow: graph.Graph) -> None:
    before = copy.deepcopy(workflow)
    graph.with_prefixes(workflow, "job", prepend=True)
    graph.made_unique(workflow, "job", {"Save"})
    graph.with_inputs(workflow, dict.fromkeys([(node_id, "new") for node_id in workflow], 1))
    assert workflow == before


@given(GRAPHS)
def test_marks_leave_no_trace(workflow: graph.Graph) -> None:
    marked = graph.made_unique(workflow, "job", {"Save"})
    assert list(marked) == list(workflow)
    for node_id, entry in marked.items():
        inputs = workflow[node_id].get("inputs", {})
        has_prefix = isinstance(inputs.get("filename_prefix"), str)
        is_marked = entry.get("inputs", {}).get(graph.UNIQUE_INPUT) == "job"
        assert is_marked == (entry["class_type"] == "Save" and not has_prefix)
    shown = graph.without_marks(marked)
    assert {k: {"inputs": {}, **v} for k, v in shown.items()} == {
        k: {"inputs": {}, **v} for k, v in workflow.items()
    }


@given(GRAPHS)
def test_what_runs_anew_is_each_output_and_nothing_else(workflow: graph.Graph) -> None:
    for before in (workflow, graph.made_unique(workflow, "job", {"Save"})):
        anew = graph.run_anew(before, "again", {"Save"})
        for entry in anew.values():
            is_marked = entry.get("inputs", {}).get(graph.UNIQUE_INPUT) == "again"
            assert is_marked == (entry["class_type"] == "Save")


def test_what_a_node_needs_is_reached_once() -> None:
    diamond = {
        "d": node(left=["b", 0], right=["c", 0], broken=["gone", 0]),
        "b": node(x=["a", 0]),
        "c": node(x=["a", 1], y=["a", 0]),
        "a": node(),
        "apart": node(x=["a", 0]),
    }
    reached = list(graph.reached_from(diamond, "d"))
    assert reached[0] == "d"
    assert sorted(reached) == ["a", "b", "c", "d"]
    assert graph.cycle_through(diamond, "d") is None


@pytest.mark.parametrize(
    ("workflow", "start", "cycle"),
    [
        ({"a": node(x=["a", 0])}, "a", ["a", "a"]),
        ({"a": node(x=["b", 0]), "b": node(x=["a", 0])}, "a", ["a", "b", "a"]),
        (
            {"s": node(x=["a", 0]), "a": node(x=["b", 0]), "b": node(x=["a", 0])},
            "s",
            ["a", "b", "a"],
        ),
        ({"s": node(), "a": node(x=["a", 0])}, "s", None),
        ({"s": node(x=["gone", 0])}, "s", None),
    ],
)
def test_cycles(workflow: graph.Graph, start: str, cycle: list[str] | None) -> None:
    assert graph.cycle_through(workflow, start) == cycle


@given(GRAPHS)
def test_a_cycle_is_one(workflow: graph.Graph) -> None:
    for start in workflow:
        cycle = graph.cycle_through(workflow, start)
        if cycle is not None:
            assert cycle[0] == cycle[-1]
            for current, needed in itertools.pairwise(cycle):
                values = workflow[current].get("inputs", {}).values()
                assert any(graph.is_link(v) and v[0] == needed for v in values)


def test_long_chains_need_no_deep_stack() -> None:
    last = str(LONG - 1)
    assert graph.cycle_through(chain(LONG), last) is None
    assert len(list(graph.reached_from(chain(LONG), last))) == LONG
    ring = chain(LONG) | {"0": node(source=[last, 0])}
    cycle = graph.cycle_through(ring, last)
    assert cycle is not None
    assert len(cycle) == LONG + 1


def test_what_the_ends_need() -> None:
    workflow = {
        "1": node("Loader"),
        "2": node("Sampler", model=["1", 0], broken=["9", 0]),
        "3": node("Save", images=["2", 0]),
        "4": node("Loader"),
        "5": node("Save"),
    }
    assert list(graph.needed(workflow, {"Save"})) == ["1", "2", "3", "5"]
    assert graph.needed(workflow, set()) == {}
