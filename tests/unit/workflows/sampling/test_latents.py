"""Sizes: those of the node that a latent comes from."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.workflows.sampling import samplers
from tests.unit.workflows.sampler_graphs import edited, node, text_to_image, told


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
