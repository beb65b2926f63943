"""Nodes taken out of real graphs: what is joined fits, by ComfyUI's own account of its nodes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gateway import graph
from gateway.workflows import bypass

DATA = Path(__file__).parents[4] / "shared/data"

pytestmark = pytest.mark.skipif(
    not (DATA / "ui-to-api.json").exists(), reason="../shared/data is not there"
)


@cache
def classes() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / "object_info.json").read_bytes())["object_info"]
    return found


@cache
def templates() -> list[graph.Graph]:
    cases = json.loads((DATA / "ui-to-api.json").read_bytes())["cases"]
    return [case["api"] for case in cases.values()]


def taken(class_type: str) -> dict[str, Any]:
    """Return what a class takes: input -> type."""
    inputs = classes()[class_type]["input"]
    fields = {**inputs.get("required", {}), **(inputs.get("optional") or {})}
    return {name: field[0] for name, field in fields.items()}


def given(made: graph.Graph, link: list[Any]) -> Any:
    """Return the type of an output."""
    return classes()[made[link[0]]["class_type"]]["output"][link[1]]


def joined(before: graph.Graph, after: graph.Graph) -> Iterator[tuple[str, str, list[Any]]]:
    """Yield each wire that has another beginning now."""
    for node_id, node in after.items():
        for name, value in node.get("inputs", {}).items():
            if graph.is_link(value) and value != before[node_id]["inputs"][name]:
                yield node_id, name, value


def test_what_may_stay_empty_may_stay_empty() -> None:
    wrong = [
        (class_type, name)
        for class_type, names in bypass.OPTIONAL.items()
        for name in names
        if name not in (classes()[class_type]["input"].get("optional") or {})
    ]
    assert wrong == []


def test_whatever_is_joined_fits() -> None:
    counted: Counter[str] = Counter()
    for template in templates():
        for gone in template:
            made, gaps = bypass.without(template, {gone})
            counted["refused" if gaps else "taken out"] += 1
            for node_id, name, link in () if gaps else joined(template, made):
                class_type = made[node_id]["class_type"]
                if class_type in classes() and made[link[0]]["class_type"] in classes():
                    wanted = taken(class_type).get(name, "*")
                    assert wanted in ("*", given(made, link)), (class_type, name)
                    counted["joined"] += 1

    assert counted["taken out"] > 250
    assert counted["joined"] > 50


@pytest.mark.parametrize("class_type", ["LoraLoader", "LoraLoaderModelOnly", "ModelSamplingSD3"])
def test_what_passes_a_model_on_can_always_go(class_type: str) -> None:
    for template in templates():
        gone = {node_id for node_id, node in template.items() if node["class_type"] == class_type}

        made, gaps = bypass.without(template, gone)

        assert gaps == []
        assert made.keys() == template.keys() - gone
