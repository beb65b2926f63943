"""Workflows as the canvas saves them, and what ComfyUI says of the nodes in them."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from gateway import given
from gateway.workflows.catalog import Catalog, Conversion


def _class(required: dict[str, Any], output: list[str]) -> dict[str, Any]:
    return {
        "input": {"required": required},
        "input_order": {"required": list(required)},
        "output": output,
        "output_name": output,
        "output_is_list": [False for _ in output],
        "output_node": not output,
        "python_module": "nodes",
    }


OBJECT_INFO: dict[str, Any] = {
    "EmptyImage": _class(
        {
            "width": ["INT", {"default": 512, "min": 1, "max": 16384}],
            "height": ["INT", {"default": 512, "min": 1, "max": 16384}],
            "batch_size": ["INT", {"default": 1, "min": 1, "max": 4096}],
            "color": ["INT", {"default": 0, "min": 0, "max": 0xFFFFFF}],
        },
        ["IMAGE"],
    ),
    "SaveImage": _class(
        {"images": ["IMAGE"], "filename_prefix": ["STRING", {"default": "ComfyUI"}]}, []
    ),
}

#: What the canvas saves.
CANVAS: dict[str, Any] = {
    "version": 0.4,
    "last_node_id": 2,
    "last_link_id": 1,
    "nodes": [
        {
            "id": 1,
            "type": "EmptyImage",
            "title": "Background",
            "pos": [0, 0],
            "mode": 0,
            "inputs": [],
            "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}],
            "properties": {"cnr_id": "comfyui-backgrounds"},
            "widgets_values": [8, 4, 1, 255],
        },
        {
            "id": 2,
            "type": "SaveImage",
            "pos": [400, 0],
            "mode": 0,
            "inputs": [{"name": "images", "type": "IMAGE", "link": 1}],
            "outputs": [],
            "properties": {},
            "widgets_values": ["canvas"],
        },
    ],
    "links": [[1, 1, 0, 2, 0, "IMAGE"]],
    "groups": [],
    "config": {},
    "extra": {},
}

#: What the canvas sends for it, titles aside.
GRAPH: dict[str, Any] = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 4, "batch_size": 1, "color": 255},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "canvas"}},
}


class Comfy:
    """What is known of a ComfyUI, and a folder that is read with it."""

    def __init__(self, definitions: Mapping[str, Any] | None = None) -> None:
        self.definitions = definitions or {}

    async def loaded(self, folder: Path) -> Catalog:
        """Return the catalog of a folder."""
        reading = Conversion(lambda: self.definitions, given.embedded_in)
        catalog = Catalog(folder, conversion=reading)
        await catalog.load()
        return catalog


def canvas(**widgets: Any) -> dict[str, Any]:
    """Return the workflow with other values, by their names."""
    found = copy.deepcopy(CANVAS)
    names = list(OBJECT_INFO["EmptyImage"]["input"]["required"])
    for name, value in widgets.items():
        found["nodes"][0]["widgets_values"][names.index(name)] = value
    return found


def plain(graph: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a graph less the titles."""
    return {
        node_id: {key: node[key] for key in ("class_type", "inputs")}
        for node_id, node in (graph or {}).items()
    }


def png(**texts: Any) -> bytes:
    """Return a picture with these in it, as ComfyUI writes them."""
    info = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        info.add_text(key, json.dumps(value))
    target = io.BytesIO()
    Image.new("RGB", (2, 2)).save(target, "PNG", pnginfo=info)
    return target.getvalue()
