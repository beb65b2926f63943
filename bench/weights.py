"""Weights of any size for benches: a whole safetensors file, sparse on the disk."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any


def write(path: Path, size: int) -> None:
    """Write a file of exactly `size` bytes, one tensor of zeros."""
    length = size - 8 - 120
    header = {"t": {"dtype": "U8", "shape": [length], "data_offsets": [0, length]}}
    text = json.dumps(header).ljust(120).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(size)


def decoding(vae: str, prefix: str) -> dict[str, Any]:
    """Return a graph that loads a VAE, and makes one picture beside it.

    For the embedded engine: stock ComfyUI reads the weights for real, and refuses zeros.
    """
    latent = {"width": 16, "height": 16, "batch_size": 1}
    return {
        "1": {"class_type": "VAELoader", "inputs": {"vae_name": vae}},
        "2": {"class_type": "EmptyLatentImage", "inputs": latent},
        "3": {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0], "vae": ["1", 0]}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": prefix}},
    }
