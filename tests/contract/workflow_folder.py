"""A folder of named workflows, written by a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gateway.workflows.catalog import Catalog, Entry

#: A graph of each thing that a manifest may mean, or must not.
GRAPH: dict[str, Any] = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 1,
            "steps": 20,
            "cfg": 7.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
            "model": ["4", 0],
            "positive": ["6", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
        },
        "_meta": {"title": "Sampler"},
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512}},
    "6": {
        "class_type": "CLIPTextEncode",
        "inputs": {"text": "a cat", "clip": ["4", 1]},
        "_meta": {"title": "Positive"},
    },
    "7": {
        "class_type": "CLIPTextEncode",
        "inputs": {"text": "", "clip": ["4", 1]},
        "_meta": {"title": "Negative"},
    },
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "x"}},
}


def put(folder: Path, name: str, content: Any) -> None:
    """Write one file; a dict becomes JSON."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content, indent=2)
    path.write_text(text, encoding="utf-8")


async def loaded(folder: Path, **collaborators: Any) -> Catalog:
    """Return the catalog of a folder."""
    catalog = Catalog(folder, **collaborators)
    await catalog.load()
    return catalog


def entry(catalog: Catalog, name: str) -> Entry:
    """Return what the catalog says of a name."""
    return next(found for found in catalog.entries() if found.name == name)
