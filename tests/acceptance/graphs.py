"""Small graphs, and the pictures that come of them."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from tests.acceptance.conftest import Answer

Graph = dict[str, Any]


def empty_image(prefix: Any = "picture", **inputs: Any) -> Graph:
    """Return a graph of an 8 x 4 green picture, saved."""
    size = {"width": 8, "height": 4, "batch_size": 1, "color": 0x00FF00}
    return {
        "1": {"class_type": "EmptyImage", "inputs": {**size, **inputs}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }


def load_image(image: Any) -> Graph:
    """Return a graph that saves a given picture."""
    graph = empty_image()
    graph["1"] = {"class_type": "LoadImage", "inputs": {"image": image}}
    return graph


def picture_of(answer: Answer, index: int = 0) -> Image.Image:
    """Return a picture of a 200."""
    assert answer.status == 200, answer.raw[:2000]
    return Image.open(io.BytesIO(base64.b64decode(answer.json["images"][index])))


def no_such_model(graph: Graph) -> None:
    loader = {"class_type": "VAELoader", "inputs": {"vae_name": "nowhere.safetensors"}}
    latent = {
        "class_type": "EmptyLatentImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1},
    }
    decode = {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["3", 0]}}
    graph |= {"3": loader, "4": latent, "5": decode}
    graph["2"]["inputs"]["images"] = ["5", 0]
