"""What was made of a graph, one sentence for each change; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from gateway import graph
from gateway.storage import address

_LONGEST = 120


def told(before: graph.Graph, after: graph.Graph) -> list[str]:
    """Return a sentence for each node and each input in which two graphs differ."""
    return list(_told(before, after))


def _told(before: graph.Graph, after: graph.Graph) -> Iterator[str]:
    for node_id, node in before.items():
        if node_id not in after:
            yield f"{node_id}: {node['class_type']} is taken out"
        elif after[node_id] is not node:
            yield from _inputs(node_id, node, after[node_id])
    for node_id, node in after.items():
        if node_id not in before:
            yield f"{node_id}: {node['class_type']} is added"


def _inputs(node_id: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    old, new = before.get("inputs", {}), after.get("inputs", {})
    for name in {**old, **new}:
        if name not in new:
            yield f"{node_id}.inputs.{name}: {shown(old[name])} is taken out"
        elif name not in old:
            yield f"{node_id}.inputs.{name}: {shown(new[name])} is added"
        elif _differ(old[name], new[name]):
            yield f"{node_id}.inputs.{name}: {shown(old[name])} -> {shown(new[name])}"


def _differ(old: Any, new: Any) -> bool:
    # To Python true is 1; to ComfyUI it is another value.
    return old is not new and (old != new or isinstance(old, bool) != isinstance(new, bool))


def shown(value: Any) -> str:
    """Return a value as JSON writes it, short enough for a line."""
    if graph.is_url(value):
        value = address.shown(value)
    if isinstance(value, str):
        # A picture in base64 has millions of characters.
        short = value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"
        return json.dumps(short, ensure_ascii=False)
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
