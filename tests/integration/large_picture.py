"""Sends a prompt that reads a large picture and makes a larger one, as a program of its own.

What it builds and reads would else be in the way of the gateway that a test has in its process.
"""

from __future__ import annotations

import base64
import json
import random
import sys
import urllib.request
from typing import Any

INPUT_BYTES = 20_000_000


def large_bmp() -> bytes:
    """A picture of 20 MB that needs no encoder: a header, and noise."""
    width = 2500
    height = INPUT_BYTES // (width * 3)
    size = width * height * 3
    info = [(40, 4), (width, 4), (height, 4), (1, 2), (24, 2), (0, 4), (size, 4)]
    head = [(54 + size, 4), (0, 4), (54, 4), *info, (0, 16)]
    fields = b"".join(value.to_bytes(length, "little") for value, length in head)
    return b"BM" + fields + random.Random(1).randbytes(size)


def enlarged(width: int, height: int) -> dict[str, Any]:
    size = {"width": width, "height": height, "upscale_method": "bilinear", "crop": "disabled"}
    return {
        "1": {
            "class_type": "LoadImage",
            "inputs": {"image": base64.b64encode(large_bmp()).decode()},
        },
        "2": {"class_type": "ImageScale", "inputs": {"image": ["1", 0], **size}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "out"}},
    }


def send(url: str, width: int, height: int) -> dict[str, Any]:
    """Return what is said of the picture that came back."""
    data = json.dumps({"prompt": enlarged(width, height)}).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as response:
        output = json.load(response)["outputs"][0]
    return {name: output[name] for name in ("width", "height", "size")}


if __name__ == "__main__":
    print(json.dumps(send(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
