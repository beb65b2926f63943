"""Recipes: what made an output, told from the graph that ran."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import graph
from gateway.workflows.sampling.recipe import MOST_FILES, Recipe, recipe

OFFICIAL = Path(__file__).parents[5] / "shared/data/ui-to-api.json"


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def sampler(**more: Any) -> dict[str, Any]:
    told = {"seed": 7, "steps": 20, "cfg": 8.0, "sampler_name": "euler", "scheduler": "normal"}
    wires = {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0]}
    return node("KSampler", **{**told, **wires, "latent_image": ["5", 0], "denoise": 1.0, **more})


def lora(name: str, model: str, strength: float = 0.5, **more: Any) -> dict[str, Any]:
    told = {"lora_name": name, "strength_model": strength, "strength_clip": 0.25}
    return node("LoraLoader", model=[model, 0], clip=[model, 1], **{**told, **more})


def text_to_image(**more: Any) -> graph.Graph:
    return {
        "3": sampler(),
        "4": node("CheckpointLoaderSimple", ckpt_name="a.safetensors"),
        "5": node("EmptyLatentImage", width=512, height=768),
        "6": node("CLIPTextEncode", text="a cat", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="blurry", clip=["4", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="a"),
        **more,
    }


def loras(workflow: graph.Graph, output: str = "9") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = recipe(workflow, output).as_dict()["loras"]
    return found


def models(workflow: graph.Graph, output: str = "9") -> list[tuple[str, str]]:
    return [(model.folder, model.name) for model in recipe(workflow, output).models]


def test_a_recipe_tells_what_made_a_picture() -> None:
    assert recipe(text_to_image(), "9").as_dict() == {
        "prompt": "a cat",
        "negative_prompt": "blurry",
        "seed": 7,
        "steps": 20,
        "cfg": 8.0,
        "sampler": "euler",
        "scheduler": "normal",
        "denoise": 1.0,
        "width": 512,
        "height": 768,
        "loras": [],
        "models": [{"folder": "checkpoints", "name": "a.safetensors"}],
    }


def test_without_a_sampler_the_models_are_told() -> None:
    workflow = {
        "1": node("LoadImage", image="a.png"),
        "2": node("UpscaleModelLoader", model_name="x4.pth"),
        "3": node("ImageUpscaleWithModel", upscale_model=["2", 0], image=["1", 0]),
        "4": node("SaveImage", images=["3", 0]),
        "5": sampler(),
    }
    told = recipe(workflow, "4").as_dict()
    assert told.pop("models") == [{"folder": "upscale_models", "name": "x4.pth"}]
    assert told.pop("loras") == []
    assert set(told.values()) == {None}


def test_of_a_node_that_is_not_there_nothing_is_known() -> None:
    assert recipe(text_to_image(), "404") == Recipe()


def test_a_service_tells_its_prompt() -> None:
    workflow = {
        "1": node("OpenAIDalle3", prompt=["2", 0], seed=5, size="1024x1024"),
        "2": node("PrimitiveString", value="a cat"),
        "3": node("SaveImage", images=["1", 0]),
    }
    told = recipe(workflow, "3")
    assert (told.prompt, told.seed, told.steps) == ("a cat", 5, None)


def test_with_two_passes_the_nearest_one_tells() -> None:
    workflow = text_to_image(
        **{
            "20": node("LatentUpscaleBy", samples=["3", 0], scale_by=1.5),
            "21": sampler(seed=8, denoise=0.5, latent_image=["20", 0], positive=["22", 0]),
            "22": node("CLIPTextEncode", text="a sharp cat", clip=["4", 1]),
            "23": node("VAEDecode", samples=["21", 0], vae=["4", 2]),
            "24": node("SaveImage", images=["23", 0]),
        }
    )
    first, second = recipe(workflow, "9"), recipe(workflow, "24")
    assert (first.seed, first.prompt, first.width) == (7, "a cat", 512)
    assert (second.seed, second.prompt, second.denoise) == (8, "a sharp cat", 0.5)
    # By a factor of a size: not in the graph.
    assert second.width is None


def high_and_low() -> graph.Graph:
    stage = {"steps": 4, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple"}
    wires = {"positive": ["6", 0], "negative": ["7", 0]}
    return text_to_image(
        **{
            "3": node(
                "KSamplerAdvanced",
                **(stage | wires),
                add_noise="disable",
                noise_seed=0,
                model=["31", 0],
                latent_image=["2", 0],
            ),
            "2": node(
                "KSamplerAdvanced",
                **(stage | wires),
                add_noise="enable",
                noise_seed=99,
                model=["21", 0],
                latent_image=["5", 0],
            ),
            "21": node("ModelSamplingSD3", model=["22", 0], shift=8.0),
            "22": node("LoraLoaderModelOnly", model=["23", 0], lora_name="h", strength_model=1.0),
            "23": node("UNETLoader", unet_name="high.safetensors"),
            "31": node("ModelSamplingSD3", model=["32", 0], shift=8.0),
            "32": node("LoraLoaderModelOnly", model=["33", 0], lora_name="l", strength_model=0.8),
            "33": node("UnetLoaderGGUF", unet_name="low.gguf"),
        }
    )


def test_of_two_stages_the_one_that_makes_the_noise_tells_seed_and_size() -> None:
    told = recipe(high_and_low(), "9")
    assert (told.seed, told.width, told.height) == (99, 512, 768)


def test_the_loras_of_both_stages_are_told() -> None:
    assert loras(high_and_low()) == [
        {"name": "h", "strength": 1.0, "strength_clip": None},
        {"name": "l", "strength": 0.8, "strength_clip": None},
    ]
    assert set(models(high_and_low())) == {
        ("diffusion_models", "high.safetensors"),
        ("diffusion_models", "low.gguf"),
        ("loras", "h"),
        ("loras", "l"),
        ("checkpoints", "a.safetensors"),
    }


def test_loras_are_told_in_the_order_applied() -> None:
    workflow = text_to_image(
        **{
            "3": sampler(model=["12", 0]),
            "10": lora("first", "11"),
            "11": node("CheckpointLoaderSimple", ckpt_name="b.safetensors"),
            "12": lora("last", "13"),
            "13": node("ModelSamplingDiscrete", model=["10", 0], sampling="lcm"),
        }
    )
    assert [one["name"] for one in loras(workflow)] == ["first", "last"]
    assert loras(workflow)[0] == {"name": "first", "strength": 0.5, "strength_clip": 0.25}


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"lora_name": "a", "strength": 0.5}, [("a", 0.5, None)]),
        ({"lora_name": "a", "lora_strength": 0.5}, [("a", 0.5, None)]),
        ({"lora_name": "a", "strength_model": ["40", 0]}, [("a", 0.75, None)]),
        ({"lora": "a", "strength": 1}, [("a", 1.0, None)]),
        (
            {"lora_01": "a", "strength_01": 1, "lora_02": "None", "strength_02": 1},
            [("a", 1.0, None)],
        ),
        (
            {"lora_name_1": "a", "model_weight_1": 1, "clip_weight_1": 0.5, "switch_1": "On"},
            [("a", 1.0, 0.5)],
        ),
        ({"lora_name_1": "a", "model_weight_1": 1, "switch_1": "Off"}, []),
        ({"lora_1": {"on": True, "lora": "a", "strength": 0.5}}, [("a", 0.5, None)]),
        ({"lora_1": {"on": False, "lora": "a", "strength": 0.5}}, []),
        ({"lora_name": "a", "strength_model": 0, "strength_clip": 0.0}, []),
        ({"lora_name": "None", "strength_model": 1}, []),
        ({"lora_name": "a", "strength_model": float("nan")}, []),
    ],
)
def test_loras_of_custom_loaders_are_read(
    inputs: dict[str, Any], expected: list[tuple[Any, ...]]
) -> None:
    workflow = text_to_image(**{"3": sampler(model=["10", 0])})
    workflow["10"] = node("SomeLoraLoader", model=["4", 0], **inputs)
    workflow["40"] = node("PrimitiveFloat", value=0.75)
    assert [tuple(one.values()) for one in loras(workflow)] == expected


def test_a_lora_that_is_off_is_no_model_that_was_used() -> None:
    workflow = text_to_image(**{"3": sampler(model=["10", 0]), "10": lora("off", "4", 0.0)})
    workflow["10"]["inputs"]["strength_clip"] = 0
    assert models(workflow) == [("checkpoints", "a.safetensors")]


@pytest.mark.parametrize(
    ("loader", "expected"),
    [
        (node("VAELoader", vae_name="v"), ("vae", "v")),
        (node("VAELoader", vae_name=["40", 0]), ("vae", "from a text")),
        (node("DualCLIPLoaderGGUF", clip_name2="c"), ("text_encoders", "c")),
        (node("SomeLoader", unet_name="u"), ("diffusion_models", "u")),
    ],
)
def test_models_are_told_with_their_folders(
    loader: dict[str, Any], expected: tuple[str, str]
) -> None:
    workflow = text_to_image(**{"30": loader, "40": node("PrimitiveString", value="from a text")})
    workflow["8"]["inputs"]["vae"] = ["30", 0]
    assert expected in models(workflow)


def test_models_of_other_outputs_are_left_out() -> None:
    workflow = text_to_image(**{"30": node("VAELoader", vae_name="unused")})
    assert models(workflow) == [("checkpoints", "a.safetensors")]


def test_a_recipe_is_bounded() -> None:
    workflow = text_to_image()
    workflow["6"]["inputs"]["text"] = "x" * 1_000_000
    for n in range(MOST_FILES + 50):
        workflow[f"l{n}"] = lora(f"{n}" + "y" * 5000, f"l{n - 1}" if n else "4")
    workflow["3"]["inputs"]["model"] = [f"l{MOST_FILES + 49}", 0]
    told = recipe(workflow, "9")
    assert len(told.prompt or "") == 65536
    assert len(told.loras) == len(told.models) == MOST_FILES
    assert max(len(model.name) for model in told.models) <= 1024


def test_a_deep_graph_is_told_in_time() -> None:
    count = 5000
    workflow = text_to_image()
    for n in range(count):
        workflow[f"l{n}"] = lora("a", f"l{n - 1}" if n else "4")
        workflow[f"s{n}"] = sampler(latent_image=[f"s{n + 1}", 0], add_noise="disable")
    workflow["3"]["inputs"] |= {"model": [f"l{count - 1}", 0], "latent_image": ["s0", 0]}
    started = time.thread_time()
    recipe(workflow, "9")
    assert time.thread_time() - started < 5


IDS = st.sampled_from("abcdef")
WORDS = st.sampled_from(
    [
        *("model", "positive", "negative", "latent_image", "seed", "noise", "steps", "cfg"),
        *("sampler_name", "sigmas", "guider", "text", "prompt", "width", "height", "images"),
        *("lora_name", "lora_1", "strength", "strength_model", "ckpt_name", "unet_name", "value"),
    ]
)
VALUES = st.one_of(
    st.tuples(IDS, st.integers(0, 2)).map(list),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    st.dictionaries(st.sampled_from(["on", "lora", "strength"]), st.text() | st.floats()),
)
GRAPHS = st.dictionaries(
    IDS,
    st.fixed_dictionaries(
        {"class_type": st.sampled_from(["KSampler", "LoraLoader", "CheckpointLoaderSimple", "A"])},
        optional={"inputs": st.dictionaries(WORDS, VALUES, max_size=8)},
    ),
    min_size=1,
)


@given(GRAPHS, IDS)
def test_any_graph_gives_an_answer(workflow: graph.Graph, output: str) -> None:
    json.dumps(recipe(workflow, output).as_dict(), allow_nan=False)


@pytest.mark.skipif(not OFFICIAL.exists(), reason="../shared/data/ui-to-api.json is not there")
def test_official_graphs_give_recipes() -> None:
    cases = json.loads(OFFICIAL.read_bytes())["cases"]
    told = 0
    for case in cases.values():
        for node_id, made in case["api"].items():
            if made["class_type"].startswith("Save"):
                found = recipe(case["api"], node_id)
                told += bool(found.seed is not None and found.models)
    assert told > 40
