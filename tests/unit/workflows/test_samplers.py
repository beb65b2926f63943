"""Samplers: where their settings stand, what they say, and how they are written."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import graph
from gateway.workflows import samplers

OFFICIAL = Path(__file__).parents[4] / "shared/data/ui-to-api.json"


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def text_to_image(**sampler: Any) -> graph.Graph:
    told = {
        "model": ["4", 0],
        "seed": 7,
        "steps": 20,
        "cfg": 8.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "positive": ["6", 0],
        "negative": ["7", 0],
        "latent_image": ["5", 0],
        "denoise": 1.0,
    }
    return {
        "3": node("KSampler", **{**told, **sampler}),
        "4": node("CheckpointLoaderSimple", ckpt_name="a.safetensors"),
        "5": node("EmptyLatentImage", width=512, height=768, batch_size=1),
        "6": node("CLIPTextEncode", text="a cat", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="blurry", clip=["4", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="a"),
    }


def advanced(**more: Any) -> graph.Graph:
    """A graph of SamplerCustomAdvanced, with its nodes around it."""
    return {
        "1": node(
            "SamplerCustomAdvanced",
            noise=["2", 0],
            guider=["3", 0],
            sampler=["4", 0],
            sigmas=["5", 0],
            latent_image=["6", 0],
        ),
        "2": node("RandomNoise", noise_seed=11),
        "3": node("CFGGuider", model=["9", 0], positive=["7", 0], negative=["8", 0], cfg=3.5),
        "4": node("KSamplerSelect", sampler_name="euler"),
        "5": node("BasicScheduler", model=["9", 0], scheduler="beta", steps=26, denoise=0.9),
        "6": node("EmptySD3LatentImage", width=1024, height=512, batch_size=1),
        "7": node("CLIPTextEncode", text="a dog", clip=["9", 1]),
        "8": node("CLIPTextEncode", text="ugly", clip=["9", 1]),
        "9": node("CheckpointLoaderSimple", ckpt_name="a.safetensors"),
        **more,
    }


def two_stages(**second: Any) -> graph.Graph:
    """High noise, then low noise."""
    common = {"steps": 20, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple"}
    words = {"positive": ["6", 0], "negative": ["7", 0]}
    made = text_to_image()
    made["3"] = node(
        "KSamplerAdvanced",
        **(common | words),
        add_noise="enable",
        noise_seed=5,
        start_at_step=0,
        end_at_step=10,
        latent_image=["5", 0],
        model=["4", 0],
    )
    made["10"] = node(
        "KSamplerAdvanced",
        **(common | words),
        add_noise="disable",
        noise_seed=0,
        start_at_step=10,
        end_at_step=10000,
        latent_image=["3", 0],
        model=["4", 0],
    )
    made["10"]["inputs"].update(second)
    return made


def told(workflow: graph.Graph, at: int = 0) -> dict[str, Any]:
    return samplers.values(workflow, samplers.samplers(workflow)[at])


def edited(workflow: graph.Graph, **settings: Any) -> graph.Graph:
    written, homeless = samplers.edits(workflow, settings)
    assert not homeless
    return graph.with_inputs(workflow, dict(written))


EXPECTED = {
    "seed": 7,
    "steps": 20,
    "cfg": 8.0,
    "sampler": "euler",
    "scheduler": "normal",
    "denoise": 1.0,
    "prompt": "a cat",
    "negative_prompt": "blurry",
    "width": 512,
    "height": 768,
}


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
    ("more", "prompt", "negative"),
    [
        pytest.param({}, "a cat", "blurry"),
        pytest.param(
            {"6": node("CLIPTextEncodeSDXL", text_g="a cat", text_l="a cat")}, "a cat", "blurry"
        ),
        pytest.param(
            {"6": node("CLIPTextEncodeFlux", clip_l="cat", t5xxl="a cat")}, "cat\na cat", "blurry"
        ),
        pytest.param(
            {"6": node("TextEncodeQwenImageEditPlus", prompt="swap", clip=["4", 1])},
            "swap",
            "blurry",
        ),
        pytest.param({"7": node("ConditioningZeroOut", conditioning=["6", 0])}, "a cat", None),
        pytest.param({"6": node("ConditioningZeroOut", conditioning=["7", 0])}, None, "blurry"),
        pytest.param(
            {
                "6": node(
                    "ConditioningCombine", conditioning_1=["60", 0], conditioning_2=["61", 0]
                ),
                "60": node("CLIPTextEncode", text="sky"),
                "61": node("CLIPTextEncode", text="sea"),
            },
            "sky\nsea",
            "blurry",
        ),
        pytest.param(
            {
                "6": node("CLIPTextEncode", text=["60", 0]),
                "60": node("PrimitiveString", value="a fox"),
            },
            "a fox",
            "blurry",
        ),
        pytest.param(
            {
                "6": node("CLIPTextEncode", text=["60", 0]),
                "60": node("StringConcatenate", string_a="a", string_b=["61", 0], delimiter=", "),
                "61": node("PrimitiveStringMultiline", value="b"),
            },
            "a, b",
            "blurry",
        ),
        pytest.param(
            {"6": node("CLIPTextEncode", text=["60", 0]), "60": node("Poet", topic="x", mood=3)},
            None,
            "blurry",
        ),
        pytest.param(
            {"6": node("AnySwitch", any_01=["60", 0]), "60": node("CLIPTextEncode", text="b")},
            "b",
            "blurry",
        ),
        pytest.param(
            {
                "6": node("Switch", select=2, input1=["7", 0], input2=["60", 0]),
                "60": node("CLIPTextEncode", text="b"),
            },
            "b",
            "blurry",
        ),
        pytest.param({"6": node("LotusConditioning")}, None, "blurry"),
    ],
)
def test_the_prompts_are_read_through_all_kinds_of_nodes(
    more: dict[str, Any], prompt: str | None, negative: str | None
) -> None:
    found = told({**text_to_image(), **more})
    assert (found.get("prompt"), found.get("negative_prompt")) == (prompt, negative)


@pytest.mark.parametrize("outputs", [(0, 1), (1, 0)])
def test_a_node_with_both_conditionings_passes_each_on(outputs: tuple[int, int]) -> None:
    workflow = text_to_image(positive=["20", outputs[0]], negative=["20", outputs[1]])
    workflow["20"] = node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0])
    found = told(workflow)
    expected = ["a cat", "blurry"] if outputs == (0, 1) else ["blurry", "a cat"]
    assert [found["prompt"], found["negative_prompt"]] == expected


def test_a_node_with_other_outputs_before_them_passes_conditionings_on_by_name() -> None:
    workflow = text_to_image(model=["20", 0], positive=["20", 1], negative=["20", 2])
    workflow["20"] = node("BrushNet", model=["4", 0], positive=["6", 0], negative=["7", 0])
    assert told(workflow)["prompt"] == "a cat"


def test_a_text_that_is_wired_to_both_sides_is_the_prompt() -> None:
    assert "negative_prompt" not in told(text_to_image(negative=["6", 0]))


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


@pytest.mark.parametrize(
    ("latent", "size"),
    [
        pytest.param(
            {"5": node("VAEEncode", pixels=["50", 0]), "50": node("LoadImage", image="a.png")}, None
        ),
        pytest.param(
            {
                "5": node("VAEEncode", pixels=["50", 0]),
                "50": node("ImageScale", image=["51", 0], width=640, height=480),
                "51": node("LoadImage", image="a.png"),
            },
            (640, 480),
        ),
        pytest.param(
            {
                "5": node("VAEEncode", pixels=["50", 0]),
                "50": node("ImagePadForOutpaint", image=["51", 0], left=8),
                "51": node("ImageScale", width=640, height=480),
            },
            None,
        ),
        pytest.param(
            {
                "5": node("SetLatentNoiseMask", samples=["50", 0]),
                "50": node("EmptyLatentImage", width=64, height=32),
            },
            (64, 32),
        ),
        pytest.param(
            {
                "5": node("WanImageToVideo", width=848, height=480, start_image=["50", 0]),
                "50": node("LoadImage", image="a.png"),
            },
            (848, 480),
        ),
        pytest.param(
            {
                "5": node("EmptyLatentImage", width=["50", 0], height=["51", 0]),
                "50": node("PrimitiveInt", value=96),
                "51": node("PrimitiveInt", value=128),
            },
            (96, 128),
        ),
        pytest.param(
            {
                "5": node("EmptyLatentImage", width=["50", 0], height=["50", 1]),
                "50": node("SizePicker", width=1, height=1, aspect_ratio="1:1"),
            },
            None,
        ),
        pytest.param(
            {
                "5": node("EmptyLatentImage", width=["50", 0], height=["50", 1]),
                "50": node("GetImageSize", image=["51", 0]),
                "51": node("LoadImage", image="a.png"),
            },
            None,
        ),
    ],
)
def test_the_size_is_that_of_the_node_the_latent_comes_from(
    latent: dict[str, Any], size: tuple[int, int] | None
) -> None:
    found = told({**text_to_image(), **latent})
    assert (found.get("width"), found.get("height")) == (size or (None, None))


def test_a_text_is_cut_at_64_kb_and_numbers_are_finite() -> None:
    workflow = text_to_image(cfg=float("inf"), steps="20", seed=2**64, denoise="half")
    workflow["6"]["inputs"]["text"] = "x" * 1_000_000
    found = told(workflow)
    assert len(found["prompt"]) == 65536
    assert found["steps"] == 20
    assert not {"cfg", "seed", "denoise"} & found.keys()


def test_settings_are_written_where_they_stand() -> None:
    made = edited(
        advanced(),
        seed=1,
        steps=5,
        cfg=2.0,
        sampler="lcm",
        scheduler="sgm",
        denoise=0.5,
        prompt="p",
        negative_prompt="n",
        width=64,
        height=32,
    )
    assert told(made) == {
        "seed": 1,
        "steps": 5,
        "cfg": 2.0,
        "sampler": "lcm",
        "scheduler": "sgm",
        "denoise": 0.5,
        "prompt": "p",
        "negative_prompt": "n",
        "width": 64,
        "height": 32,
    }
    assert made["1"] == advanced()["1"]


def test_what_has_no_place_is_told() -> None:
    workflow = advanced(
        **{"3": node("BasicGuider", conditioning=["7", 0]), "5": node("KarrasScheduler", steps=9)}
    )
    written, homeless = samplers.edits(workflow, {"cfg": 1.0, "scheduler": "beta", "steps": 4})
    assert written == {("5", "steps"): 4}
    assert homeless == ["cfg", "scheduler"]


def test_without_a_sampler_nothing_has_a_place() -> None:
    assert samplers.edits({"1": node("LoadImage")}, {"steps": 1}) == ({}, ["steps"])


def test_a_constant_that_feeds_the_setting_alone_is_written() -> None:
    workflow = two_stages(steps=["20", 0])
    workflow["3"]["inputs"]["steps"] = ["20", 0]
    workflow["20"] = node("PrimitiveInt", value=20)
    made = edited(workflow, steps=4)
    assert made["20"]["inputs"]["value"] == 4
    assert made["3"]["inputs"]["steps"] == ["20", 0]


def test_a_constant_that_others_read_stays_and_the_link_gives_way() -> None:
    workflow = text_to_image(steps=["20", 0])
    workflow["20"] = node("PrimitiveInt", value=20)
    workflow["21"] = node("PreviewAny", source=["20", 0])
    made = edited(workflow, steps=4)
    assert made["20"]["inputs"]["value"] == 20
    assert made["3"]["inputs"]["steps"] == 4


def test_a_constant_that_the_steps_of_a_stage_are_computed_from_is_written() -> None:
    workflow = two_stages(steps=["20", 0], start_at_step=["21", 0])
    workflow["3"]["inputs"] |= {"steps": ["20", 0], "end_at_step": ["21", 0]}
    workflow["20"] = node("PrimitiveInt", value=20)
    workflow["21"] = node("Half", a=["20", 0], expression="a/2")
    made = edited(workflow, steps=4)
    assert made["20"]["inputs"]["value"] == 4
    assert made["3"]["inputs"]["end_at_step"] == ["21", 0]


def test_a_computed_value_gives_way() -> None:
    workflow = text_to_image(seed=["20", 0])
    workflow["20"] = node("Add", a=1, b=2)
    assert "seed" not in told(workflow)
    assert edited(workflow, seed=5)["3"]["inputs"]["seed"] == 5


@pytest.mark.parametrize(
    ("steps", "at", "after", "expected"),
    [
        (20, 10, 4, 2),
        (20, 0, 4, 0),
        (20, 20, 4, 4),
        (20, 10000, 4, 10000),
        (20, 30, 50, 51),
        (20, 1, 4, 1),
        (20, 19, 4, 3),
        (25, 20, 50, 40),
        (20, 10, 1, 1),
    ],
)
def test_what_counts_in_steps_keeps_its_share(
    steps: int, at: int, after: int, expected: int
) -> None:
    workflow = two_stages(steps=steps, start_at_step=at)
    assert edited(workflow, steps=after)["10"]["inputs"]["start_at_step"] == expected


def test_a_split_of_sigmas_keeps_its_share() -> None:
    workflow = advanced(
        **{
            "5": node("SplitSigmas", sigmas=["50", 0], step=5),
            "50": node("BasicScheduler", scheduler="simple", steps=20, denoise=1.0),
        }
    )
    assert edited(workflow, steps=40)["5"]["inputs"]["step"] == 10


def test_a_second_pass_goes_on_with_the_first_and_keeps_its_proportion() -> None:
    workflow = text_to_image()
    workflow["20"] = node("LatentUpscale", samples=["3", 0], width=768, height=1152)
    workflow["21"] = {**workflow["3"], "inputs": {**workflow["3"]["inputs"]}}
    workflow["21"]["inputs"]["latent_image"] = ["20", 0]
    second = samplers.samplers(workflow)[1]
    assert (second.before, second.same_size) == ("3", False)
    made = edited(workflow, width=1024, height=768)
    assert (told(made)["width"], told(made)["height"]) == (1024, 768)
    assert (told(made, 1)["width"], told(made, 1)["height"]) == (1536, 1152)


def test_a_prompt_of_several_texts_has_no_place() -> None:
    workflow = text_to_image(positive=["20", 0])
    workflow["20"] = node(
        "ConditioningConcat", conditioning_to=["6", 0], conditioning_from=["7", 0]
    )
    assert samplers.edits(workflow, {"prompt": "x"}) == ({}, ["prompt"])


def test_a_cycle_is_read_to_its_end() -> None:
    workflow = text_to_image(steps=["20", 0], positive=["21", 0], latent_image=["22", 0])
    workflow["20"] = node("Loop", steps=["20", 0])
    workflow["21"] = node("ConditioningCombine", conditioning_1=["21", 0], conditioning_2=["6", 0])
    workflow["22"] = node("LatentBlend", samples1=["22", 0])
    found = told(workflow)
    assert found["prompt"] == "a cat"
    assert not {"steps", "width"} & found.keys()


def test_a_graph_made_to_be_slow_is_read_in_time() -> None:
    count = 3000
    hostile: graph.Graph = {
        f"s{n}": node(
            "KSampler", steps=1, cfg=1, positive=[f"c{n}", 0], latent_image=[f"s{n - 1}", 0]
        )
        for n in range(count)
    }
    for n in range(count):
        wires = {"conditioning_1": [f"c{n + 1}", 0], "conditioning_2": [f"c{n + 2}", 0]}
        hostile[f"c{n}"] = node("ConditioningCombine", **wires)
        hostile[f"t{n}"] = node(
            "StringConcatenate", string_a=[f"t{n + 1}", 0], string_b=[f"t{n + 1}", 0]
        )
    hostile["s0"]["inputs"]["positive"] = ["x", 0]
    hostile["x"] = node("CLIPTextEncode", text=["t0", 0])
    started = time.perf_counter()
    samplers.edits(hostile, dict.fromkeys(samplers.SETTINGS, 8))
    assert time.perf_counter() - started < 5


WORDS = st.sampled_from(
    [
        *("model", "positive", "negative", "latent_image", "seed", "noise_seed", "noise", "steps"),
        *("cfg", "sampler", "sampler_name", "scheduler", "sigmas", "guider", "denoise", "text"),
        *("width", "height", "samples", "pixels", "conditioning", "cond1", "value", "string_a"),
        *("string_b", "start_at_step", "end_at_step", "step", "add_noise", "lora_name", "select"),
    ]
)
IDS = st.sampled_from("abcdef")
VALUES = st.one_of(
    st.tuples(IDS, st.integers(0, 2)).map(list),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
CLASSES = st.sampled_from([*samplers.CLASSES, "ConditioningZeroOut", "ImageScale", "A"])
GRAPHS = st.dictionaries(
    IDS,
    st.fixed_dictionaries(
        {"class_type": CLASSES}, optional={"inputs": st.dictionaries(WORDS, VALUES, max_size=8)}
    ),
    min_size=1,
)


@given(GRAPHS)
def test_any_graph_is_read_and_written(workflow: graph.Graph) -> None:
    found = samplers.samplers(workflow)
    for sampler in found:
        json.dumps(samplers.values(workflow, sampler), allow_nan=False)
    settings = {"steps": 10, "cfg": 2.0, "width": 64, "height": 64, "prompt": "p", "seed": 1}
    written, homeless = samplers.edits(workflow, settings)
    made = graph.with_inputs(workflow, dict(written))
    assert made.keys() == workflow.keys()
    assert set(homeless) <= settings.keys()
    assert found or homeless == list(settings)


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
