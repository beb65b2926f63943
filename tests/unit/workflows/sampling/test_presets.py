"""Presets: on every kind of sampler, and refused where there is none."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gateway import errors, graph
from gateway.workflows.sampling import presets, samplers
from gateway.workflows.sampling.presets import BUILT_IN, Preset
from gateway.workflows.sampling.samplers import Place


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def k_sampler(**more: Any) -> dict[str, Any]:
    told = {"seed": 1, "steps": 20, "cfg": 8.0, "sampler_name": "a", "scheduler": "b"}
    wires = {"positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0], "denoise": 1.0}
    return node("KSampler", **{**told, **wires, **more})


def of_parts(guider: dict[str, Any], scheduler: dict[str, Any]) -> graph.Graph:
    wires = {"noise": ["2", 0], "guider": ["3", 0], "sampler": ["4", 0], "sigmas": ["5", 0]}
    return {
        "1": node("SamplerCustomAdvanced", latent_image=["6", 0], **wires),
        "2": node("RandomNoise", noise_seed=1),
        "3": guider,
        "4": node("KSamplerSelect", sampler_name="a"),
        "5": scheduler,
        "6": node("EmptyLatentImage", width=512, height=512),
    }


BASIC = node("BasicScheduler", scheduler="b", steps=20, denoise=1.0)
SAMPLERS = {
    "KSampler": {"3": k_sampler()},
    "KSamplerAdvanced": {
        "3": node(
            "KSamplerAdvanced", noise_seed=1, steps=20, cfg=8.0, sampler_name="a", scheduler="b"
        )
    },
    "SamplerCustom": {
        "3": node("SamplerCustom", noise_seed=1, cfg=8.0, sampler=["4", 0], sigmas=["5", 0]),
        "4": node("KSamplerSelect", sampler_name="a"),
        "5": BASIC,
    },
    "SamplerCustomAdvanced": of_parts(node("CFGGuider", cfg=8.0), BASIC),
    "a custom one": {"3": {**k_sampler(), "class_type": "TiledSampler"}},
}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("preset", BUILT_IN)
def test_a_preset_sets_whatever_sampler_there_is(name: str, preset: str) -> None:
    workflow: graph.Graph = SAMPLERS[name]
    made, warnings = presets.apply(workflow, BUILT_IN[preset])
    told = samplers.values(made, samplers.samplers(made)[0])
    wanted = BUILT_IN[preset].settings
    assert {setting: told[setting] for setting in wanted} == wanted
    assert not warnings
    assert workflow == SAMPLERS[name]


def test_the_built_in_presets_are_as_documented() -> None:
    assert {name: tuple(preset.settings.values()) for name, preset in BUILT_IN.items()} == {
        "draft": (10, 5.0, "euler", "normal"),
        "balanced": (20, 7.0, "euler_ancestral", "normal"),
        "fast": (15, 7.0, "dpmpp_2m", "normal"),
        "high-quality": (50, 7.5, "dpmpp_2m_sde", "karras"),
        "ultra": (100, 8.0, "dpmpp_2m_sde", "karras"),
    }


@pytest.mark.parametrize(
    "workflow",
    [
        {"1": node("LoadImage", image="a.png"), "2": node("SaveImage", images=["1", 0])},
        {"1": node("OpenAIDalle2", prompt="a", seed=1)},
        {},
    ],
)
def test_a_preset_on_a_graph_without_a_sampler_is_refused(workflow: graph.Graph) -> None:
    with pytest.raises(errors.PresetRefused) as refused:
        presets.apply(workflow, BUILT_IN["draft"])
    assert refused.value.location == "preset"
    assert "no sampler" in refused.value.message


def test_what_finds_no_place_is_a_warning() -> None:
    workflow = of_parts(node("BasicGuider"), node("KarrasScheduler", steps=20))
    made, warnings = presets.apply(workflow, BUILT_IN["draft"])
    assert made["5"]["inputs"]["steps"] == 10
    assert warnings == [
        f"The preset's {setting} has no place at 1 (SamplerCustomAdvanced): "
        "it stays as the workflow has it."
        for setting in ("cfg", "scheduler")
    ]


def test_only_the_samplers_without_a_place_are_warned_of() -> None:
    workflow = of_parts(node("BasicGuider"), BASIC) | {"9": k_sampler()}
    made, warnings = presets.apply(workflow, Preset(cfg=2.0))
    assert made["9"]["inputs"]["cfg"] == 2.0
    assert len(warnings) == 1
    assert "at 1 (SamplerCustomAdvanced):" in warnings[0]


def test_all_samplers_get_it_and_stages_keep_their_share() -> None:
    stage = {"steps": 20, "cfg": 1.0, "sampler_name": "a", "scheduler": "b", "noise_seed": 1}
    workflow = {
        "1": node("KSamplerAdvanced", **stage, start_at_step=0, end_at_step=8),
        "2": node(
            "KSamplerAdvanced", **stage, start_at_step=8, end_at_step=10000, latent_image=["1", 0]
        ),
    }
    made, _ = presets.apply(workflow, BUILT_IN["draft"])
    counted = [
        [made[n]["inputs"][name] for name in ("steps", "start_at_step", "end_at_step")]
        for n in ("1", "2")
    ]
    assert counted == [[10, 0, 4], [10, 4, 10000]]


def test_width_and_height_go_to_the_node_the_latent_comes_from() -> None:
    workflow = {
        "3": k_sampler(latent_image=["4", 0]),
        "4": node("SetLatentNoiseMask", samples=["5", 0]),
        "5": node("EmptyLatentImage", width=512, height=512),
        "8": node("EmptyLatentImage", width=64, height=64),
    }
    made, warnings = presets.apply(workflow, Preset(width=1024, height=768))
    assert (made["5"]["inputs"]["width"], made["5"]["inputs"]["height"]) == (1024, 768)
    assert made["8"] == workflow["8"]
    assert not warnings


def test_a_picture_keeps_its_size_with_a_warning() -> None:
    workflow = {
        "3": k_sampler(),
        "5": node("VAEEncode", pixels=["8", 0]),
        "8": node("LoadImage", image="a.png"),
    }
    made, warnings = presets.apply(workflow, Preset(width=1024))
    assert made == workflow
    assert warnings[0].startswith("The preset's width has no place at 3 (KSampler)")


def test_what_the_caller_gave_is_kept() -> None:
    stage = {"steps": 30, "cfg": 1.0, "sampler_name": "a", "noise_seed": 1}
    workflow = {"1": node("KSamplerAdvanced", **stage, start_at_step=0, end_at_step=15)}
    kept = {Place("1", "steps")}
    made, warnings = presets.apply(workflow, Preset(steps=10, cfg=5.0), kept)
    told = made["1"]["inputs"]
    assert (told["steps"], told["end_at_step"], told["cfg"]) == (30, 15, 5.0)
    assert not warnings


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"steps": 10001},
        {"steps": "20"},
        {"steps": 2.5},
        {"steps": True},
        {"cfg": -1},
        {"cfg": 100.5},
        {"cfg": float("nan")},
        {"denoise": 1.1},
        {"sampler": ""},
        {"scheduler": 5},
        {"width": 8},
        {"width": 16385},
        {"height": 1001},
        {"seed": 5},
    ],
)
def test_a_preset_that_no_sampler_would_take_is_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Preset.model_validate(wrong)


def test_a_preset_sets_what_it_names_and_no_more() -> None:
    assert Preset.model_validate({"cfg": 7, "width": 848}).settings == {"cfg": 7.0, "width": 848}
