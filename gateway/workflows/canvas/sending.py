"""A node as it is sent: its class, and the values and links of its inputs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.workflows.canvas import choices, everywhere, resolution, text, values
from gateway.workflows.canvas.definitions import CAPTURED
from gateway.workflows.canvas.document import INPUTS
from gateway.workflows.canvas.frames import Frame
from gateway.workflows.canvas.nodes import Node, Widget
from gateway.workflows.canvas.problems import INSTALL, UNTANGLE, Problems
from gateway.workflows.canvas.shapes import NOTHING
from gateway.workflows.canvas.text import Placeholders
from gateway.workflows.canvas.wireless import Setters

#: The class of a node that stands for a subgraph is the id of its definition.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SAMPLERS = frozenset(("KSampler", "KSamplerAdvanced"))


@dataclass
class Sending:
    """Turns nodes into those of a prompt."""

    placeholders: Placeholders
    problems: Problems
    #: Whether the file notes the links that are drawn without wires.
    is_noted: bool = False
    setters: Setters = field(default_factory=Setters)
    _known: resolution.Known = field(default_factory=dict)

    def node(self, frame: Frame, node: Node) -> dict[str, Any]:
        """Return a node of the prompt."""
        self._check(frame, node)
        inputs = {
            widget.name: _wrapped(self._value(frame, node, widget))
            for widget in node.widgets
            if widget.is_sent and widget.value is not NOTHING
        }
        for index, slot in enumerate(node.slots):
            if slot.link is None:
                continue
            if not _leads(frame, slot.link):
                message = f"its input {slot.name[:100]} is linked to nothing that is in the file"
                self.problems.warn(node, frame.name(node), message)
            try:
                found = resolution.resolve(frame, node, index, self.setters.meant, self._known)
            except resolution.Circle as circle:
                message = "its links lead in a circle"
                self.problems.refuse(circle.node, circle.name, message, UNTANGLE)
                break
            if isinstance(found, resolution.Value):
                inputs[slot.name] = _wrapped(found.value)
            elif found is not None:
                inputs[slot.name] = [found.node_id, found.slot]
        return {"inputs": inputs, "class_type": node.type, "_meta": {"title": node.title}}

    def _check(self, frame: Frame, node: Node) -> None:
        name = frame.name(node)
        if node.problem is not None:
            self.problems.refuse(node, name, node.problem)
            return
        if node.shape is None:
            if _UUID.fullmatch(node.type):
                message = "the file has no definition of the subgraph that it stands for"
                self.problems.refuse(node, name, message)
                return
            message = f"this ComfyUI has no class {node.type[:100]}"
            self.problems.refuse(node, name, message, INSTALL)
            return
        saved = node.saved.values if node.saved else None
        misfit = values.misfit(saved, node.shape)
        if misfit is not None:
            self.problems.refuse(node, name, misfit)
            return
        for note in values.notes(saved, node.shape):
            self.problems.warn(node, name, note)
        if node.type in everywhere.SENDERS and not self.is_noted:
            message = "what it gives without wires is not in the file; its script can draw them"
            self.problems.warn(node, name, message)

    def _value(self, frame: Frame, node: Node, widget: Widget) -> Any:
        """Return what is sent of a widget's value."""
        value, shape = widget.value, widget.shape
        if shape is not None and shape.type in CAPTURED:
            message = f"what it captures as {widget.name} is as the file has it"
            self.problems.warn(node, frame.name(node), message)
        if not isinstance(value, str):
            return value
        if node.type in text.SAVERS and widget.name == "filename_prefix":
            return self.placeholders.filled(value)
        if node.type in _SAMPLERS and widget.name == "sampler_name":
            return value.removeprefix("sample_")
        if shape is not None and shape.is_dynamic:
            return choices.chosen(value)
        return value


def linked(made: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the nodes without links to those that are not sent."""
    return {
        node_id: {
            **node,
            "inputs": {
                name: value
                for name, value in node["inputs"].items()
                if not isinstance(value, list) or value[0] in made
            },
        }
        for node_id, node in made.items()
    }


def _leads(frame: Frame, link_id: str) -> bool:
    link = frame.level.links.get(link_id)
    return link is not None and (link.origin in frame.level.nodes or link.origin == INPUTS)


def _wrapped(value: Any) -> Any:
    """Return a value as an input; a list would be taken for a link."""
    return {"__value__": value} if isinstance(value, list) else value
