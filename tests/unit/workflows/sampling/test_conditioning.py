"""Prompts: found through all that a conditioning goes through."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.workflows.sampler_graphs import node, text_to_image, told


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
