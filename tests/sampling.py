"""Text to image that reports each of its steps, and the weights that it loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.weights import safetensors

_MODEL = "model.safetensors"


def put_model(models: Path) -> None:
    """Put weights where the sampler looks for them."""
    folder = models / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MODEL).write_bytes(safetensors())


def sampler(steps: int, seed: int = 1) -> dict[str, Any]:
    """Return text to image, of so many steps; another seed is another picture."""
    settings = {"seed": seed, "steps": steps, "cfg": 7, "sampler_name": "euler"}
    settings |= {"scheduler": "normal", "denoise": 1}
    links = {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0]}
    size = {"width": 64, "height": 64, "batch_size": 1}
    return {
        "3": {"class_type": "KSampler", "inputs": {**settings, **links, "latent_image": ["5", 0]}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": _MODEL}},
        "5": {"class_type": "EmptyLatentImage", "inputs": size},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "b", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "s"}},
    }
