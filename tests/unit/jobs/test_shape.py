from __future__ import annotations

import copy
import time
from typing import Any

import pytest

from gateway.jobs.shape import shape_of

GRAPH: dict[str, dict[str, Any]] = {
    "1": {"class_type": "Loader", "inputs": {"name": "a.safetensors"}},
    "2": {"class_type": "Sampler", "inputs": {"model": ["1", 0], "seed": 7, "steps": 20}},
    "3": {"class_type": "Save", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
}


def with_input(node_id: str, name: str, value: Any) -> dict[str, dict[str, Any]]:
    graph = copy.deepcopy(GRAPH)
    graph[node_id]["inputs"][name] = value
    return graph


@pytest.mark.parametrize(
    "graph",
    [
        with_input("2", "seed", 8),
        with_input("2", "steps", 50),
        with_input("2", "sizes", [512, 512]),
        with_input("1", "name", "https://a.test/b.safetensors"),
        dict(reversed(GRAPH.items())),
    ],
)
def test_literal_values_and_the_order_of_nodes_do_not_count(graph: dict[str, Any]) -> None:
    assert shape_of(graph) == shape_of(GRAPH)


@pytest.mark.parametrize(
    "graph",
    [
        with_input("2", "model", ["1", 1]),
        with_input("2", "other", ["1", 0]),
        {**GRAPH, "1": {"class_type": "OtherLoader", "inputs": {}}},
        {**GRAPH, "4": {"class_type": "Save", "inputs": {"images": ["2", 0]}}},
        {},
    ],
)
def test_classes_and_links_count(graph: dict[str, Any]) -> None:
    assert shape_of(graph) != shape_of(GRAPH)


def test_it_fits_an_integer_of_the_database_and_takes_any_text() -> None:
    for n in range(200):
        assert 0 < shape_of({"1": {"class_type": f"A{n}\ud800"}}) < 2**63


def test_it_costs_little() -> None:
    node = {"model": ["1", 0], "positive": ["2", 1], **{f"w{n}": n for n in range(6)}}
    graph = {str(n): {"class_type": f"Class{n}", "inputs": node} for n in range(30)}
    took = []
    for _ in range(50):
        began = time.thread_time()
        shape_of(graph)
        took.append(time.thread_time() - began)

    assert min(took) < 1e-4
