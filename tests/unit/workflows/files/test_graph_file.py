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
    raw = text[1:].encode()

    places = json_places.of_nodes(raw, {"2", "7"})

    [(line, column)] = places.values()
    rest = "\n".join(text[1:].split("\n")[line - 1 :])[column - 1 :]
    assert list(places) == ["2"]
    assert json.JSONDecoder().raw_decode(rest)[0] == CANVAS["nodes"][1]


def test_a_mark_at_the_beginning_and_metadata_are_taken_off():
    said = {**CANVAS, "extra": {"_workflow_metadata": {"model": "x"}, "ds": {}}}

    found, wrong, _ = parse("a.json", b"\xef\xbb\xbf" + json.dumps(said).encode(), KNOWN)

    assert wrong == []
    assert (plain(found.graph), found.metadata) == (GRAPH, {"model": "x"})
