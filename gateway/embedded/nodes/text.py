"""Nodes that hand text through, and show it."""

from __future__ import annotations

import json
from typing import Any

from gateway.embedded.nodes.definition import Context, Node, Result


def primitive_string(context: Context, value: str) -> Result:
    return Result((value,))


def preview_any(context: Context, source: Any = None) -> Result:
    return Result(ui={"text": [_as_text(source)]})


def _as_text(source: Any) -> str:
    if isinstance(source, str | int | float | bool):
        return str(source)
    if source is None:
        return "None"
    try:
        return json.dumps(source)
    except (TypeError, ValueError):
        return str(source)


NODES = (
    Node(
        name="PrimitiveString",
        display_name="String",
        category="utils/primitive",
        module="comfy_extras.nodes_primitive",
        required={"value": ("STRING", {"multiline": False})},
        outputs=("STRING",),
        output_tooltips=(None,),
        marks={"deprecated": False, "experimental": False, "api_node": False},
        run=primitive_string,
    ),
    Node(
        name="PreviewAny",
        display_name="Preview Any",
        category="utils",
        module="comfy_extras.nodes_preview_any",
        required={"source": ("*", {})},
        is_output=True,
        run=preview_any,
    ),
)
