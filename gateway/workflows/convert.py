"""Workflows as the canvas saves them, brought into the API format; pure.

The measure is the official frontend: the graph that it would send for the same file. What follows
from where is told in the modules of `canvas`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from gateway import errors, graph
from gateway.workflows.canvas import (
    document,
    frames,
    nodes,
    primitives,
    promotion,
    resolution,
    text,
    values,
)
from gateway.workflows.canvas.definitions import NOTHING, NodeShape, shape
from gateway.workflows.canvas.document import OUTPUTS, Document, Sheet
from gateway.workflows.canvas.frames import Frame, Level
from gateway.workflows.canvas.nodes import Node, Widget
from gateway.workflows.canvas.wireless import Setters

_MOST_TOLD = 100
_SAMPLERS = frozenset(("KSampler", "KSamplerAdvanced"))


class Converted(NamedTuple):
    """A graph in API format, and what is worth knowing about how it came about."""

    graph: graph.Graph
    warnings: list[str]


def convert(ui: Mapping[str, Any], object_info: Mapping[str, Any]) -> Converted:
    """Return what the official frontend would send to `/prompt` for a workflow.

    `object_info` is the mapping of `/object_info`: class -> definition. Raises NotConvertible with
    each node of which something cannot be known, InvalidRequest for what is no workflow at all.
    """
    return _Conversion(document.read(ui), object_info).run()


class _Conversion:
    """One file on its way."""

    def __init__(self, read: Document, object_info: Mapping[str, Any]) -> None:
        self._document = read
        self._object_info = object_info
        self._shapes: dict[str, NodeShape | None] = {}
        self._problems: list[dict[str, Any]] = []
        self._warnings: list[str] = []
        self._setters = Setters()

    def run(self) -> Converted:
        sheets = {"": self._document.root, **self._document.subgraphs}
        levels = {name: self._level(sheet) for name, sheet in sheets.items()}
        promotion.promote(levels)
        try:
            flat = frames.flattened(levels)
        except frames.Endless as endless:
            raise self._refused(endless.node, "its subgraph contains itself") from None
        except frames.TooLarge:
            raise errors.NotConvertible(
                f"Its subgraphs amount to more than {frames.MOST_NODES} nodes.", location="prompt"
            ) from None
        everything = [node for level in levels.values() for node in level.nodes.values()]
        now = datetime.now()

        def replaced(value: str) -> str:
            return text.replaced(value, everything, now)

        for level in levels.values():
            primitives.apply(level, replaced)
        promotion.hand_down(levels)
        made = {
            frame.name(node): self._node(frame, node, replaced) for frame, node in flat if node.runs
        }
        if self._problems:
            raise _not_convertible(self._problems)
        for node in made.values():
            node["inputs"] = {
                name: value for name, value in node["inputs"].items() if not _is_lost(value, made)
            }
        return Converted(made, self._warnings)

    # Sheets

    def _level(self, sheet: Sheet) -> Level:
        found = {node_id: self._read(saved) for node_id, saved in sheet.nodes.items()}
        ends: dict[int, document.Link] = {}
        for slot, port in enumerate(sheet.outputs):
            link = next((sheet.links[one] for one in port.links if one in sheet.links), None)
            if link is not None:
                ends[slot] = link
        for link in sheet.links.values():
            if link.target == OUTPUTS:
                ends.setdefault(link.target_slot, link)
        return Level(sheet.id, found, sheet.links, ends)

    def _read(self, saved: document.SavedNode) -> Node:
        sheet = self._document.subgraphs.get(saved.type)
        if sheet is not None:
            return nodes.of_subgraph(saved, sheet)
        if saved.type in nodes.VIRTUAL:
            return nodes.as_saved(saved, "virtual")
        found = self._shape(saved.type)
        return nodes.as_saved(saved, "unknown") if found is None else nodes.of_class(saved, found)

    def _shape(self, name: str) -> NodeShape | None:
        if name not in self._shapes:
            definition = self._object_info.get(name)
            found = shape(name, definition) if isinstance(definition, Mapping) else None
            self._shapes[name] = found
        return self._shapes[name]

    # Nodes

    def _node(self, frame: Frame, node: Node, replaced: Callable[[str], str]) -> dict[str, Any]:
        if (problem := self._unknown(node)) is not None:
            self._problem(node, frame, problem)
        inputs = {
            widget.name: _wrapped(_sent(node, widget, replaced))
            for widget in node.widgets
            if widget.is_sent and widget.value is not NOTHING
        }
        for index, slot in enumerate(node.slots):
            try:
                found = resolution.resolve(frame, node, index, self._setters.meant)
            except resolution.Circle as circle:
                self._problem(circle.node, frame, "its links lead in a circle")
                break
            if isinstance(found, resolution.Value):
                inputs[slot.name] = _wrapped(found.value)
            elif found is not None:
                inputs[slot.name] = [found.node_id, found.slot]
        return {"inputs": inputs, "class_type": node.type, "_meta": {"title": node.title}}

    def _unknown(self, node: Node) -> str | None:
        """Return what cannot be known of a node."""
        found = self._shape(node.type)
        if found is None:
            return f"this ComfyUI has no class {node.type[:100]}"
        return values.misfit(node.saved.values if node.saved else None, found)

    def _problem(self, node: Node, frame: Frame, message: str) -> None:
        self._problems.append(_told(node, frame.name(node), message))

    def _refused(self, node: Node, message: str) -> errors.NotConvertible:
        return _not_convertible([_told(node, node.id, message)])


def _sent(node: Node, widget: Widget, replaced: Callable[[str], str]) -> Any:
    """Return what is sent of a widget's value."""
    value = widget.value
    if not isinstance(value, str):
        return value
    if node.type in text.SAVERS and widget.name == "filename_prefix":
        return replaced(value)
    if node.type in _SAMPLERS and widget.name == "sampler_name":
        return value.removeprefix("sample_")
    if widget.shape is not None and widget.shape.is_dynamic:
        return text.chosen(value)
    return value


def _wrapped(value: Any) -> Any:
    """Return a value as an input; a list would be taken for a link."""
    return {"__value__": value} if isinstance(value, list) else value


def _is_lost(value: Any, made: Mapping[str, Any]) -> bool:
    """Whether a link leads to a node that is not sent."""
    return isinstance(value, list) and value[0] not in made


def _told(node: Node, node_id: str, message: str) -> dict[str, Any]:
    found = {"id": node_id, "title": node.title, "class_type": node.type, "message": message}
    properties = node.properties
    source = properties.get("cnr_id") or properties.get("aux_id")
    return {**found, "custom_node": source} if isinstance(source, str) else found


def _not_convertible(problems: list[dict[str, Any]]) -> errors.NotConvertible:
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    title = "" if first["title"] == first["class_type"] else f" {first['title'][:100]!r}"
    sources = sorted({one["custom_node"][:100] for one in problems if "custom_node" in one})
    installed = (
        f" The file names where it comes from: {', '.join(sources[:20])}." if sources else ""
    )
    return errors.NotConvertible(
        f"Node {first['id'][:100]}{title} ({first['class_type'][:100]}): {first['message']}{more}.",
        hint=f"Install the custom node that it needs, or send the API format.{installed}",
        location="prompt",
        nodes=problems[:_MOST_TOLD],
    )
