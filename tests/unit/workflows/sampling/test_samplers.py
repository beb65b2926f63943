"""Samplers: what they are told, and how their settings are written."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import graph
from gateway.workflows.sampling import samplers
from tests.unit.workflows.sampler_graphs import (
    advanced,
    edited,
    node,
    text_to_image,
    told,
    two_stages,
)


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
    started = time.thread_time()
    samplers.edits(hostile, dict.fromkeys(samplers.SETTINGS, 8))
    assert time.thread_time() - started < 5


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
