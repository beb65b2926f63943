"""PrimitiveNode: one value, written into the widgets that it is linked to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gateway.workflows.canvas.frames import Level
from gateway.workflows.canvas.nodes import Node, Slot
from gateway.workflows.canvas.shapes import NOTHING

_REPLACES = "Run widget replace on values"


def apply(level: Level, replaced: Callable[[str], str]) -> None:
    """Write the values of a level's primitives into the widgets that they are linked to."""
    for node in level.nodes.values():
        if node.type != "PrimitiveNode" or node.saved is None:
            continue
        targets = list(_targets(level, node))
        value = _value(node, targets)
        if value is NOTHING:
            continue
        if isinstance(value, str) and node.properties.get(_REPLACES):
            value = replaced(value)
        for target, slot in targets:
            widget = target.widget(slot.widget)
            if widget is not None:
                widget.value = value


def _value(node: Node, targets: list[tuple[Node, Slot]]) -> Any:
    values = node.saved.values if node.saved else None
    if isinstance(values, list) and values:
        return values[0]
    for target, slot in targets:
        # It was never given one: it shows that of the first widget it is linked to.
        widget = target.widget(slot.widget)
        return NOTHING if widget is None else widget.value
    return NOTHING


def _targets(level: Level, node: Node) -> Iterator[tuple[Node, Slot]]:
    """Yield the inputs that a primitive is linked to."""
    for target in level.nodes.values():
        for slot in target.slots:
            link = level.links.get(slot.link) if slot.link is not None else None
            if link is not None and link.origin == node.id:
                yield target, slot
