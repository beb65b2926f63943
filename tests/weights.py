"""Small weights that are whole, and a graph that loads some."""

from __future__ import annotations

import json
import random
import struct
from typing import Any


def safetensors(size: int = 4096, seed: int = 0) -> bytes:
    """Return a safetensors file of exactly `size` bytes, at least 256: one tensor of noise."""
    length = size - 8 - 120
    header = {"t": {"dtype": "U8", "shape": [length], "data_offsets": [0, length]}}
    text = json.dumps(header).ljust(120).encode()
    return struct.pack("<Q", len(text)) + text + random.Random(seed).randbytes(length)


def decoding(vae: str, *, side: int = 16, prefix: str = "vae") -> dict[str, Any]:
    """Return a graph that loads a VAE, and makes one picture with it."""
    latent = {"width": side, "height": side, "batch_size": 1}
    return {
        "1": {"class_type": "VAELoader", "inputs": {"vae_name": vae}},
        "2": {"class_type": "EmptyLatentImage", "inputs": latent},
        "3": {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0], "vae": ["1", 0]}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": prefix}},
    }
