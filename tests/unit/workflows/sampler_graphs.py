"""Graphs that sample, for tests of how they are read and written."""

from __future__ import annotations

from typing import Any

from gateway import graph
from gateway.workflows.sampling import samplers


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
