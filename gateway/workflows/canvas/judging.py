"""What there is to say of a node before it is sent: why it cannot be, or what was left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.workflows.canvas import everywhere, values
from gateway.workflows.canvas.definitions import CAPTURED
from gateway.workflows.canvas.nodes import Node
from gateway.workflows.canvas.problems import INSTALL, SAVE_ANEW
from gateway.workflows.canvas.shapes import NodeShape

#: The class of a node that stands for a subgraph is the id of its definition.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Judged:
    """What there is to say of a node."""

    problem: str | None = None
    remedy: str = SAVE_ANEW
    notes: tuple[str, ...] = ()


class Judge:
    """Looks at nodes, once at each, however often its subgraph is used."""

    def __init__(self, *, is_noted: bool) -> None:
        """`is_noted`: the file notes links that have no wires."""
        self._is_noted = is_noted
        self._judged: dict[int, Judged] = {}

    def judge(self, node: Node) -> Judged:
        """Return what there is to say of a node."""
        if id(node) not in self._judged:
            self._judged[id(node)] = _judged(node, is_noted=self._is_noted)
        return self._judged[id(node)]


def _judged(node: Node, *, is_noted: bool) -> Judged:
    if node.problem is not None:
        return Judged(node.problem)
    if node.shape is None and _UUID.fullmatch(node.type):
        return Judged("the file has no definition of the subgraph that it stands for")
    if node.shape is None:
        return Judged(f"this ComfyUI has no class {node.type[:100]}", INSTALL)
    problem = values.misfit(node.saved.values if node.saved else None, node.shape)
    if problem is not None:
        return Judged(problem)
    return Judged(notes=tuple(_notes(node, node.shape, is_noted=is_noted)))


def _notes(node: Node, shape: NodeShape, *, is_noted: bool) -> Iterator[str]:
    yield from values.notes(node.saved.values if node.saved else None, shape)
    if node.type in everywhere.SENDERS and not is_noted:
        yield "what it gives without wires is not in the file; its script can draw them"
    for widget in shape.widgets:
        if widget.type in CAPTURED:
            yield f"what it captures as {widget.name} is as the file has it"
