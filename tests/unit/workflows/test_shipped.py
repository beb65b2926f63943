"""The workflows that come along: each loads, and each makes a graph that ComfyUI would run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway import graph
from gateway.comfy import nodes
from gateway.workflows import build, values
from gateway.workflows.catalog import Catalog
from gateway.workflows.workflow import Workflow

FOLDER = Path(__file__).parents[3] / "workflows"
RECORDED = Path(__file__).parents[4] / "shared/data/object_info.json"
#: Workflow -> its nodes that come from custom nodes, which a stock ComfyUI lacks.
NAMES = {
    "flux_wavespeed": {"UnetLoaderGGUF", "ApplyFBCacheOnModel"},
    "hello": set(),
    "qwen_tryon": set(),
    "sd15_image_to_image": set(),
    "sd15_text_to_image": set(),
    "sdxl_text_to_image": set(),
    "wan22_image_to_video": set(),
    "wan22_text_to_video": set(),
}
METADATA = {
    "workflow_name",
    "description",
    "model",
    "input_requirements",
    "output_resolution",
    "use_case",
    "estimated_time",
    "nodes",
}


@pytest.fixture
async def catalog() -> Catalog:
    """The folder as it is shipped."""
    found = Catalog(FOLDER)
    await found.load()
    return found


def built(workflow: Workflow, given: Mapping[str, Any]) -> graph.Graph:
    checked = values.check(workflow.parameters, given)
    return build.build(workflow, checked, None, [], lambda: 7).workflow


async def test_every_workflow_loads(catalog: Catalog) -> None:
    """A mistake in one would be told at every start."""
    assert catalog.mistakes == ()
    assert [entry.name for entry in catalog.entries()] == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
async def test_metadata_and_example(catalog: Catalog, name: str) -> None:
    """Each says what it is, and its nodes are the ones that it says."""
    workflow = catalog.get(name)

    assert workflow.metadata.keys() == METADATA
    assert set(workflow.metadata["nodes"]) == {
        node["class_type"] for node in (workflow.graph or {}).values()
    }
    assert workflow.example
    assert all(parameter.description for parameter in workflow.parameters.values())


@pytest.mark.skipif(not RECORDED.exists(), reason="../shared/data/object_info.json is not there")
@pytest.mark.parametrize("name", NAMES)
async def test_the_graph_of_the_example_is_valid(catalog: Catalog, name: str) -> None:
    """Against what a stock ComfyUI says of its nodes, given the models."""
    made = built(catalog.get(name), catalog.get(name).example)
    known = stock_with_models(made)

    missing = {node["class_type"] for node in made.values()} - known.keys()
    assert missing == NAMES[name]
    for class_type in missing:
        known[class_type] = {"output": ["MODEL"], "input": {}}
    classes = nodes.Catalog()
    classes.replace(known)
    assert nodes.check(made, classes) == []
    assert unknown_inputs(made, known, missing) == []


def stock_with_models(made: graph.Graph) -> dict[str, Any]:
    """Return the recorded classes, as if the models of a graph were there."""
    known = json.loads(RECORDED.read_text())["object_info"]
    for node in made.values():
        for name in graph.MODEL_INPUTS.get(node["class_type"], {}):
            known[node["class_type"]]["input"]["required"][name][0].append(node["inputs"][name])
    return known


def unknown_inputs(made: graph.Graph, known: dict[str, Any], missing: set[str]) -> list[str]:
    return [
        f"{node_id}.{name}"
        for node_id, node in made.items()
        if node["class_type"] not in missing
        for name in node["inputs"]
        if not any(name in part for part in known[node["class_type"]]["input"].values())
    ]


async def test_flux_as_it_is_asked_for(catalog: Catalog) -> None:
    """Without a LoRA its loader is gone; without the cache, its node."""
    workflow = catalog.get("flux_wavespeed")

    plain = built(workflow, {"prompt": "a cat"})
    bare = built(workflow, {"prompt": "a cat", "FBC_optimize": False})
    full = built(workflow, {"prompt": "a cat", "lora": "x.safetensors", "lora_strength": 0.5})

    assert "2" not in plain
    assert plain["3"]["inputs"]["model"] == ["1", 0]
    assert plain["9"]["inputs"]["steps"] == 20
    assert (plain["8"]["inputs"]["width"], plain["8"]["inputs"]["height"]) == (1024, 1024)
    assert plain["1"]["inputs"]["unet_name"] == "flux1-schnell-Q4_K_S.gguf"
    assert "3" not in bare
    assert bare["9"]["inputs"]["model"] == ["1", 0]
    assert full["2"]["inputs"] == {
        "model": ["1", 0],
        "lora_name": "x.safetensors",
        "strength_model": 0.5,
    }


async def test_the_try_on_has_a_route(catalog: Catalog) -> None:
    """Shops call it by its address."""
    found = catalog.by_route("/tryon")

    assert found is not None
    assert found.name == "qwen_tryon"
    assert list(found.parameters) == ["masked_person_image", "cloth_image", "prompt", "seed"]
