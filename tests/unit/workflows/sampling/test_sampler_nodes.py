"""Which nodes sample, and what stands behind their wires."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway import graph
from gateway.workflows.sampling import samplers
from tests.unit.workflows.sampler_graphs import EXPECTED, advanced, node, text_to_image, told


def test_a_ksampler_tells_all_that_it_is_told() -> None:
    assert told(text_to_image()) == EXPECTED


def test_a_sampler_of_parts_tells_what_its_parts_are_told() -> None:
    assert told(advanced()) == {
        "seed": 11,
        "steps": 26,
        "cfg": 3.5,
        "sampler": "euler",
        "scheduler": "beta",
        "denoise": 0.9,
        "prompt": "a dog",
        "negative_prompt": "ugly",
        "width": 1024,
        "height": 512,
    }


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param({"5": node("KarrasScheduler", steps=9)}, {"scheduler": "karras", "steps": 9}),
        pytest.param(
            {"5": node("AlignYourStepsScheduler", steps=9, denoise=1.0)},
            {"scheduler": "align_your_steps"},
        ),
        pytest.param({"4": node("SamplerDPMPP_2M_SDE", eta=1.0)}, {"sampler": "dpmpp_2m_sde"}),
        pytest.param(
            {
                "4": node("DetailSampler", sampler=["40", 0]),
                "40": node("KSamplerSelect", sampler_name="lcm"),
            },
            {"sampler": "lcm"},
        ),
        pytest.param(
            {
                "5": node("FlipSigmas", sigmas=["50", 0]),
                "50": node("SplitSigmas", sigmas=["51", 0], step=5),
                "51": node("SetFirstSigma", sigmas=["52", 0], sigma=1.0),
                "52": node("BasicScheduler", scheduler="simple", steps=12, denoise=1.0),
            },
            {"steps": 12, "scheduler": "simple"},
        ),
        pytest.param(
            {
                "5": node("ExtendIntermediateSigmas", sigmas=["50", 0], steps=2),
                "50": node("KarrasScheduler", steps=9),
            },
            {"steps": 9},
        ),
        pytest.param(
            {
                "3": node(
                    "DualCFGGuider",
                    cond1=["7", 0],
                    cond2=["8", 0],
                    negative=["8", 0],
                    cfg_conds=4.0,
                    cfg_cond2_negative=1.0,
                )
            },
            {"cfg": 4.0, "prompt": "a dog", "negative_prompt": "ugly"},
        ),
        pytest.param({"2": node("DisableNoise")}, {"seed": None}),
        pytest.param(
            {
                "3": node("BasicGuider", model=["9", 0], conditioning=["30", 0]),
                "30": node("FluxGuidance", conditioning=["7", 0], guidance=3.5),
            },
            {"cfg": None, "prompt": "a dog", "negative_prompt": None},
        ),
    ],
)
def test_what_stands_behind_the_wires_of_a_sampler_is_read(
    more: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = told(advanced(**more))
    assert {name: found.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("class_type", "inputs"),
    [
        ("KSampler (Efficient)", {}),
        ("FaceDetailer", {"image": ["8", 0], "guide_size": 512}),
        ("MySampler", {"preview": True}),
    ],
)
def test_samplers_of_custom_nodes_are_known_by_their_inputs(
    class_type: str, inputs: dict[str, Any]
) -> None:
    workflow = text_to_image(**inputs)
    workflow["3"]["class_type"] = class_type
    assert told(workflow) == EXPECTED


@pytest.mark.parametrize(
    "other",
    [
        node("BasicScheduler", model=["1", 0], scheduler="a", steps=1, denoise=1.0),
        node("KSamplerSelect", sampler_name="a"),
        node("RandomNoise", noise_seed=1),
        node("TrainLoraNode", model=["1", 0], positive=["2", 0], steps=1, seed=1, rank=8),
        node("CFGGuider", model=["1", 0], positive=["2", 0], negative=["2", 0], cfg=1.0),
        node("StabilityTextToAudio", prompt="a", seed=1, steps=1),
        {"class_type": "Bare"},
    ],
)
def test_other_nodes_are_no_samplers(other: dict[str, Any]) -> None:
    assert not samplers.samplers({"1": other})


OFFICIAL = Path(__file__).parents[5] / "shared/data/ui-to-api.json"


def official() -> dict[str, graph.Graph]:
    if not OFFICIAL.exists():
        return {}
    cases = json.loads(OFFICIAL.read_bytes())["cases"]
    return {name: case["api"] for name, case in cases.items()}


@pytest.mark.skipif(not OFFICIAL.exists(), reason="../shared/data/ui-to-api.json is not there")
def test_every_official_graph_with_a_sampler_is_read() -> None:
    read = 0
    for name, workflow in official().items():
        present = {
            node_id for node_id, made in workflow.items() if made["class_type"] in samplers.CLASSES
        }
        found = samplers.samplers(workflow)
        assert {sampler.node_id for sampler in found} == present, name
        for sampler in found:
            values = samplers.values(workflow, sampler)
            silent = not sampler.adds_noise
            assert {"steps", "sampler", "scheduler"} <= values.keys(), name
            assert "seed" in values or silent, name
            assert "prompt" in values or _has_no_prompt(workflow), name
            written, _ = samplers.edits(workflow, dict.fromkeys(values, 8))
            assert all(place.node_id in workflow for place in written), name
            read += 1
    assert read > 50


def _has_no_prompt(workflow: graph.Graph) -> bool:
    classes = {made["class_type"] for made in workflow.values()}
    return bool(
        classes
        & {"LotusConditioning", "Hunyuan3Dv2Conditioning", "Hunyuan3Dv2ConditioningMultiView"}
        or {"ConditioningZeroOut", "unCLIPConditioning"} <= classes
    )
