"""A named workflow becomes a graph: 60 nodes, 8 parameters, a preset, 3 LoRAs; best of three.

Run it with: python -m bench.build
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from gateway.graph import Graph
from gateway.workflows import build
from gateway.workflows.loras.injection import Lora
from gateway.workflows.sampling.presets import BUILT_IN
from gateway.workflows.sampling.samplers import Place
from gateway.workflows.workflow import Parameter, Workflow

ROUNDS = 3
CALLS = 1000
NODES = 60
BAR_MS = 1.0

LORAS = [Lora("detail.safetensors", 0.7), Lora("light.safetensors"), Lora("film.safetensors", 0.4)]
GIVEN = {"prompt": "a lighthouse in the fog", "seed": "random", "cfg": 6.5, "upscale": True}


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """Return a node as ComfyUI exports it."""
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": class_type}}


def picture() -> Graph:
    """Return a graph with a LoRA of its own, two samplers, and pictures worked on to 60 nodes."""
    sampled = {
        "steps": 20,
        "cfg": 8.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 1.0,
        "seed": 1,
        "positive": ["6", 0],
        "negative": ["7", 0],
    }
    graph = {
        "4": node("CheckpointLoaderSimple", ckpt_name="sd15.safetensors"),
        "5": node("EmptyLatentImage", width=512, height=512, batch_size=1),
        "10": node(
            "LoraLoader",
            model=["4", 0],
            clip=["4", 1],
            lora_name="own.safetensors",
            strength_model=1.0,
            strength_clip=1.0,
        ),
        "6": node("CLIPTextEncode", text="a lamp", clip=["10", 1]),
        "7": node("CLIPTextEncode", text="blurred", clip=["10", 1]),
        "3": node("KSampler", model=["10", 0], latent_image=["5", 0], **sampled),
        "11": node("LatentUpscaleBy", samples=["3", 0], upscale_method="area", scale_by=1.5),
        "12": node("KSampler", model=["10", 0], latent_image=["11", 0], **sampled),
        "8": node("VAEDecode", samples=["12", 0], vae=["4", 2]),
        "13": node("ImageScaleBy", image=["8", 0], upscale_method="area", scale_by=2.0),
    }
    last = "13"
    for number in range(100, 100 + NODES - len(graph) - 1):
        graph[str(number)] = node("ImageBlur", image=[last, 0], blur_radius=1, sigma=0.5)
        last = str(number)
    return {**graph, "9": node("SaveImage", images=[last, 0], filename_prefix="picture")}


def workflow() -> Workflow:
    """Return it with its parameters."""
    samplers = ("3", "12")
    parameters = [
        Parameter("prompt", "string", required=True, places=(Place("6", "text"),)),
        Parameter("negative", "string", default="dark", places=(Place("7", "text"),)),
        Parameter("seed", "seed", places=tuple(Place(one, "seed") for one in samplers)),
        Parameter(
            "steps",
            "integer",
            default=25,
            min=1,
            max=100,
            places=tuple(Place(one, "steps") for one in samplers),
        ),
        Parameter("cfg", "float", min=0, max=30, places=(Place("3", "cfg"),)),
        Parameter(
            "width",
            "integer",
            default=640,
            min=64,
            max=2048,
            multiple_of=8,
            places=(Place("5", "width"),),
        ),
        Parameter("lora", "lora", default="None", places=(Place("10", "lora_name"),)),
        Parameter("upscale", "boolean", default=True, toggle=("13",)),
    ]
    return Workflow("bench", {one.name: one for one in parameters}, picture())


def measured(named: Workflow) -> float:
    """Return the median of one build in milliseconds."""
    took = []
    for _ in range(CALLS):
        began = time.perf_counter()
        build.build(named, GIVEN, BUILT_IN["high-quality"], LORAS, lambda: 7)
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


def main() -> None:
    """Print the best round."""
    named = workflow()
    built = build.build(named, GIVEN, BUILT_IN["high-quality"], LORAS, lambda: 7)
    assert named.graph is not None
    assert len(named.graph) == NODES
    assert len(built.workflow) == NODES - 1 + len(LORAS)
    rounds = [measured(named) for _ in range(ROUNDS)]
    print(f"a graph of {NODES} nodes, a preset, {len(LORAS)} LoRAs, best of {ROUNDS}")
    print(f"build p50 {min(rounds):.3f} ms (bar: <= {BAR_MS:g})")


if __name__ == "__main__":
    main()
