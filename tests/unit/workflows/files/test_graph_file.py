"""What a file of the folder holds: a graph, a workflow of the canvas, or what is wrong with it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.workflows.files import json_places
from gateway.workflows.files.conversion import Conversion
from gateway.workflows.files.graph_file import parse
from tests.contract.canvas_folder import CANVAS, GRAPH, OBJECT_INFO, plain

KNOWN = Conversion(lambda: OBJECT_INFO)
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "1", "EmptyImage"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(list(CANVAS["nodes"][1])), inner, max_size=4)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from([*CANVAS, "definitions", "_workflow_metadata"])


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4), st.lists(VALUES, max_size=3))
def test_any_workflow_of_the_canvas_is_a_graph_or_a_mistake(said, nodes):
    raw = json.dumps({**CANVAS, **said, "nodes": [*CANVAS["nodes"], *nodes]}).encode()

    found, wrong, is_canvas = parse("a.json", raw, KNOWN)

    assert (found is None) == bool(wrong)
    assert is_canvas or wrong


@pytest.mark.parametrize("indent", [None, 2])
def test_a_node_stands_where_its_brace_does(indent):
    text = "\ufeff" + json.dumps({"title": "ü", **CANVAS}, indent=indent, ensure_ascii=False)
    places = json_places.of_nodes(text[1:], {"2", "7"})

    [(line, column)] = places.values()
    rest = "\n".join(text[1:].split("\n")[line - 1 :])[column - 1 :]
    assert list(places) == ["2"]
    assert json.JSONDecoder().raw_decode(rest)[0] == CANVAS["nodes"][1]


def test_what_is_wrapped_is_found_where_it_stands():
    broken = {"9": {"inputs": {}}, **GRAPH}
    for raw in (json.dumps({"id": "9", "prompt": broken}, indent=1), json.dumps(broken, indent=1)):
        [wrong] = parse("a.json", raw.encode("utf-16"), KNOWN).mistakes
        assert raw.split("\n")[wrong.line - 1][wrong.column - 1 :].startswith('"9": {')
    unknown = {"workflow": {**CANVAS, "nodes": [{"id": 5, "type": "None"}, *CANVAS["nodes"]]}}
    [wrong] = parse("a.json", json.dumps(unknown, indent=1).encode(), KNOWN).mistakes
    assert json.dumps(unknown, indent=1).split("\n")[wrong.line].strip() == '"id": 5,'


def test_a_mark_at_the_beginning_and_metadata_are_taken_off():
    said = {**CANVAS, "extra": {"_workflow_metadata": {"model": "x"}, "ds": {}}}

    found, wrong, _ = parse("a.json", b"\xef\xbb\xbf" + json.dumps(said).encode(), KNOWN)

    assert wrong == []
    assert (plain(found.graph), found.metadata) == (GRAPH, {"model": "x"})
