"""LoRAs in the official templates: what comes out passes the check against a stock ComfyUI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway import graph
from gateway.comfy import nodes
from gateway.workflows.loras import chains as model_chains
from gateway.workflows.loras.injection import Lora, with_loras

_DATA = Path(__file__).parents[5] / "shared" / "data"
_NAMES = ("a.safetensors", "b.safetensors", "c.safetensors")


@pytest.fixture(scope="module")
def templates() -> dict[str, graph.Graph]:
    """Every template with a model in it."""
    path = _DATA / "ui-to-api.json"
    if not path.is_file():
        pytest.skip(f"{path} is not here: the official templates in API form")
    cases = json.loads(path.read_text())["cases"]
    graphs = {name: case["api"] for name, case in cases.items() if case.get("api")}
    return {name: found for name, found in graphs.items() if model_chains.chains(found)}


@pytest.fixture(scope="module")
def object_info() -> dict[str, Any]:
    path = _DATA / "object_info.json"
    if not path.is_file():
        pytest.skip(f"{path} is not here: what a stock ComfyUI says of its nodes")
    found: dict[str, Any] = json.loads(path.read_text())["object_info"]
    for name in ("LoraLoader", "LoraLoaderModelOnly"):
        found[name]["input"]["required"]["lora_name"][0] = list(_NAMES)
    return found


def test_every_one_passes_the_check(
    templates: dict[str, graph.Graph], object_info: dict[str, Any]
) -> None:
    catalog = nodes.Catalog()
    catalog.replace(object_info)
    assert len(templates) > 40
    for name, workflow in templates.items():
        result = with_loras(workflow, [Lora(file, 0.5) for file in _NAMES])
        added = [node_id for node_id in result if node_id not in workflow]
        assert len(added) >= len(_NAMES), name
        before = {(found.node_id, found.details) for found in nodes.check(workflow, catalog)}
        after = {(found.node_id, found.details) for found in nodes.check(result, catalog)}
        assert after == before, name


def test_every_wire_is_of_the_type_that_its_input_takes(
    templates: dict[str, graph.Graph], object_info: dict[str, Any]
) -> None:
    for name, workflow in templates.items():
        result = with_loras(workflow, [Lora("a.safetensors")])
        for node_id, node in result.items():
            for key, value in node["inputs"].items():
                changed = workflow.get(node_id, {}).get("inputs", {}).get(key) != value
                if changed and graph.is_link(value):
                    given = object_info[result[value[0]]["class_type"]]["output"][int(value[1])]
                    assert given == _taken(object_info[node["class_type"]], key), (name, node_id)


def _taken(entry: dict[str, Any], key: str) -> Any:
    inputs = entry["input"]
    return {**inputs.get("required", {}), **inputs.get("optional", {})}[key][0]
