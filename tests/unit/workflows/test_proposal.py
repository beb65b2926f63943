"""A proposed manifest is right about every graph, and finds what is worth a parameter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway import graph
from gateway.workflows import proposal_text
from gateway.workflows.files import manifest
from gateway.workflows.files.graph_file import GraphFile
from gateway.workflows.files.manifest import Shared
from gateway.workflows.files.mistakes import Mistake, spot
from gateway.workflows.proposal import proposed
from gateway.workflows.workflow import Parameter, Workflow
from tests.sampling import sampler

TEMPLATES = Path(__file__).parents[4] / "shared" / "data" / "ui-to-api.json"


def loaded(found: graph.Graph) -> tuple[Workflow, list[Mistake]]:
    """Return what the proposal for a graph is as a workflow, and what is wrong with it."""
    said, wrong = spot("new.yaml", proposal_text.manifest(found))
    read = manifest.read(said, Shared(), wrong)
    return manifest.workflow("new", read, GraphFile(found, {}), "", wrong), wrong


def parameters(found: graph.Graph) -> dict[str, Parameter]:
    workflow, wrong = loaded(found)
    assert wrong == []
    return dict(workflow.parameters)


def templates() -> dict[str, Any]:
    if not TEMPLATES.exists():
        return {}
    return {name: case["api"] for name, case in json.loads(TEMPLATES.read_bytes())["cases"].items()}


@pytest.mark.skipif(not TEMPLATES.exists(), reason="the recorded templates are not here")
def test_the_proposal_for_every_template_has_no_mistake() -> None:
    found = templates()
    assert len(found) > 80
    assert {name: wrong for name, graph in found.items() if (wrong := loaded(graph)[1])} == {}
    bare = [name for name, graph in found.items() if not proposed(graph)]
    assert bare == []


def test_what_stands_in_the_file_is_the_default() -> None:
    found = parameters(sampler(20, seed=7))
    assert {name: (one.type, one.default) for name, one in found.items()} == {
        "prompt": ("string", "a"),
        "negative_prompt": ("string", "b"),
        "seed": ("seed", "random"),
        "steps": ("integer", 20),
        "cfg": ("float", 7),
        "sampler": ("string", "euler"),
        "scheduler": ("string", "normal"),
        "denoise": ("float", 1),
        "width": ("integer", 64),
        "height": ("integer", 64),
        "checkpoint": ("model", "model.safetensors"),
    }
    assert (found["steps"].min, found["width"].multiple_of) == (1, 8)


def test_a_range_that_the_file_is_outside_of_is_left_out() -> None:
    found = sampler(150)
    found["5"]["inputs"] |= {"width": 65, "height": 8}
    made = parameters(found)
    assert (made["steps"].default, made["steps"].min, made["steps"].max) == (150, 1, None)
    assert (made["width"].default, made["width"].multiple_of) == (65, None)
    assert (made["height"].default, made["height"].min) == (8, None)


def test_pictures_are_required_and_named_by_their_titles() -> None:
    found: graph.Graph = {
        node_id: {
            "class_type": "LoadImage",
            "inputs": {"image": "x.png"},
            "_meta": {"title": title},
        }
        for node_id, title in (("1", "Person"), ("2", "Cloth image"))
    }
    found["3"] = {"class_type": "LoadImageMask", "inputs": {"image": "m.png", "channel": "red"}}
    made = parameters(found)
    assert {name: one.type for name, one in made.items()} == {
        "person_image": "image",
        "cloth_image": "image",
        "mask": "mask",
    }
    assert all(one.required for one in made.values())


def test_two_loras_are_told_apart_by_their_files_and_arithmetic_is_mended() -> None:
    found: graph.Graph = {
        level: {
            "class_type": "LoraLoaderModelOnly",
            "inputs": {
                "lora_name": f"{level}_noise.safetensors",
                "strength_model": 1.0000000000000002,
            },
        }
        for level in ("high", "low")
    }
    made = parameters(found)
    assert list(made) == ["lora_high", "lora_strength_high", "lora_low", "lora_strength_low"]
    assert made["lora_strength_low"].default == 1.0


def test_a_loader_of_a_custom_node_is_known_by_its_input() -> None:
    found = parameters({"1": {"class_type": "UnetLoaderGGUF", "inputs": {"unet_name": "q.gguf"}}})
    assert (found["model"].type, found["model"].folder) == ("model", "diffusion_models")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "42",
        "# no comment",
        "a: b",
        "two\nlines\n",
        "quotes \" and ' and \\",
        "\u2028\x7f\x85\U0001f600",
        "- x",
        "{x: 1}",
        "*alias",
        "x" * 300,
        "no",
        "2024-01-01",
    ],
)
def test_any_text_survives_yaml(text: str) -> None:
    found = sampler(1)
    found["6"]["inputs"]["text"] = text
    found["6"]["_meta"] = {"title": f"{text}\n"}
    assert parameters(found)["prompt"].default == text


@pytest.mark.parametrize(
    "found",
    [
        {"1": {"class_type": "A"}},
        {"1": {"class_type": "A", "inputs": {}, "_meta": "x"}},
        {"1.2": {"class_type": "A", "inputs": {"prompt": "a"}, "_meta": {"title": 3}}},
        {"a: b": {"class_type": "A\nB", "inputs": {"prompt": "a", "seed": 2**70}}},
        {"1": {"class_type": "KSampler", "inputs": {"seed": ["9", 0], "steps": True, "cfg": "x"}}},
        {"1": {"class_type": "A", "inputs": {"prompt": "x" * 200_000}}},
        {"1": {"class_type": "LoraLoader", "inputs": {"lora_name": 3, "strength_model": ["2", 0]}}},
        {"1": {"class_type": "LoraLoader", "inputs": {"lora_name": "a", "strength_model": {}}}},
    ],
)
def test_odd_graphs(found: graph.Graph) -> None:
    parameters(found)


def test_two_stages_share_what_is_the_same_and_leave_what_changes_nothing() -> None:
    stage = {"steps": 4, "cfg": 1, "sampler_name": "euler", "scheduler": "simple"}
    found: graph.Graph = {
        "1": {
            "class_type": "KSamplerAdvanced",
            "inputs": {**stage, "add_noise": "enable", "noise_seed": 5, "end_at_step": 2},
        },
        "2": {
            "class_type": "KSamplerAdvanced",
            "inputs": {
                **stage,
                "cfg": 2,
                "add_noise": "disable",
                "noise_seed": 0,
                "latent_image": ["1", 0],
            },
        },
    }
    made = parameters(found)
    assert [place.node_id for place in made["steps"].places] == ["1", "2"]
    assert (made["cfg"].default, made["cfg_2"].default) == (1, 2)
    assert [place.node_id for place in made["seed"].places] == ["1"]
    assert "seed_2" not in made
    assert "It leaves these as they are: 1.inputs.end_at_step." in proposal_text.manifest(found)
