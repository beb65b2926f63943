"""A node as it is sent: its class, and the values and links of its inputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from gateway.workflows.canvas import resolution, text
from gateway.workflows.canvas.budget import Budget
from gateway.workflows.canvas.document import INPUTS
from gateway.workflows.canvas.frames import Frame
from gateway.workflows.canvas.judging import Judge
from gateway.workflows.canvas.nodes import Node, Widget
from gateway.workflows.canvas.problems import UNTANGLE, Problems
from gateway.workflows.canvas.resolution import Value, Wire
from gateway.workflows.canvas.shapes import NOTHING
from gateway.workflows.canvas.text import Texts
from gateway.workflows.canvas.wireless import Setters

_SAMPLERS = frozenset(("KSampler", "KSamplerAdvanced"))


class Sending:
    """Turns nodes into those of a prompt."""

    def __init__(
        self, sent: Collection[str], texts: Texts, judge: Judge, problems: Problems, budget: Budget
    ) -> None:
        """`sent`: the ids of all nodes of the prompt."""
        self._sent = sent
        self._texts = texts
        self._judge = judge
        self._problems = problems
        self._budget = budget
        self._setters = Setters()
        self._resolver = resolution.Resolver(self._setters.meant, budget)

    @property
    def without_setter(self) -> Mapping[str, Node]:
        """The nodes that ask for what no SetNode has, by their ids in the prompt."""
        return self._setters.missing

    def node(self, frame: Frame, node: Node) -> dict[str, Any]:
        """Return a node of the prompt: {inputs, class_type, _meta}; raises Spent."""
        self._budget.spend(len(node.slots) + len(node.widgets))
        name = frame.name(node)
        self._tell(node, name)
        inputs: dict[str, Any] = {}
        for widget in node.widgets:
            if widget.is_sent:
                self._put(inputs, widget.name, self._value(node, widget))
        for index, slot in enumerate(node.slots):
            if slot.link is None:
                continue
            if not _leads(frame, slot.link):
                message = f"its input {slot.name[:100]} is linked to nothing that is in the file"
                self._problems.warn(node, name, message)
            self._link(inputs, slot.name, self._resolved(frame, node, index))
        return {"inputs": inputs, "class_type": node.type, "_meta": {"title": node.title}}

    def _resolved(self, frame: Frame, node: Node, index: int) -> Wire | Value | None:
        try:
            return self._resolver.resolve(frame, node, index)
        except resolution.Circle as circle:
            message = "its links lead in a circle"
            self._problems.refuse(circle.node, circle.name, message, UNTANGLE)
            return None

    def _link(self, inputs: dict[str, Any], name: str, found: Wire | Value | None) -> None:
        if isinstance(found, Value):
            self._put(inputs, name, found.value)
        elif found is not None and found.node_id in self._sent:
            inputs[name] = [found.node_id, found.slot]
        elif found is not None:
            # What a muted node would give takes the place of the widget's value all the same.
            inputs.pop(name, None)

    def _put(self, inputs: dict[str, Any], name: str, value: Any) -> None:
        """Set a value as an input; a list would be taken for a link."""
        if isinstance(value, str):
            self._budget.write(len(value))
        if value is NOTHING:
            inputs.pop(name, None)
        else:
            inputs[name] = {"__value__": value} if isinstance(value, list) else value

    def _tell(self, node: Node, name: str) -> None:
        """Note what there is to say of a node."""
        found = self._judge.judge(node)
        if found.problem is not None:
            self._problems.refuse(node, name, found.problem, found.remedy)
        for note in found.notes:
            self._problems.warn(node, name, note)

    def _value(self, node: Node, widget: Widget) -> Any:
        """Return what is sent of a widget's value."""
        value, shape = widget.value, widget.shape
        if not isinstance(value, str):
            return value
        if node.type in text.SAVERS and widget.name == "filename_prefix":
            return self._texts.filled(value)
        if node.type in _SAMPLERS and widget.name == "sampler_name":
            return value.removeprefix("sample_")
        if shape is not None and shape.is_dynamic:
            return self._texts.chosen(value)
        return value


def _leads(frame: Frame, link_id: str) -> bool:
    link = frame.level.links.get(link_id)
    return link is not None and (link.origin in frame.level.nodes or link.origin == INPUTS)
