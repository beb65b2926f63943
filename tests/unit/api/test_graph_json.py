"""Answers with graphs are the same bytes, however they are written."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.api import graph_json

GRAPH = {
    "1": {"class_type": "A", "inputs": {"text": "é\n", "image": ["12:5", 0]}},
    "12:5": {"class_type": "B", "inputs": {}},
}


@pytest.mark.parametrize(
    "body",
    [
        {"id": "a", "prompt": GRAPH, "warnings": []},
        {"prompt": {}},
        {"prompt": "a text"},
        {"prompt": None},
        {"outputs": [1]},
        ["a", 1],
    ],
)
def test_it_is_plain_json(body: Any) -> None:
    assert graph_json.encoded(body) == orjson.dumps(body)


@pytest.mark.parametrize("nodes", [1, graph_json.LARGE_GRAPH + 1])
async def test_an_answer(nodes: int) -> None:
    body = {"prompt": {str(number): GRAPH["1"] for number in range(nodes)}, "status": "ok"}
    found = await graph_json.graph_response(body, 202, {"Location": "/jobs/a"})
    assert (found.status, found.headers["Location"]) == (202, "/jobs/a")
    assert found.headers["Content-Type"] == "application/json; charset=utf-8"
    assert found.body == orjson.dumps(body)


def test_what_is_too_large() -> None:
    size = sum(len(orjson.dumps(node)) for node in GRAPH.values())
    assert graph_json.is_within(GRAPH, size)
    assert not graph_json.is_within(GRAPH, size - 1)
