"""A node with its slots and the values of its widgets, as the frontend has it once it is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.workflows.canvas import values
from gateway.workflows.canvas.document import BYPASSED, MUTED, SavedNode, Sheet, kind_of
from gateway.workflows.canvas.shapes import NodeShape, WidgetClass

Kind = Literal["class", "subgraph", "virtual", "unknown"]

#: The property by which placeholders in texts find a node.
SEARCHED = "Node name for S&R"
PRIMITIVE, REROUTE = "PrimitiveNode", "Reroute"
#: Links without a wire: what one is given, the other gives.
SETTERS = frozenset(("SetNode", "easy setNode"))
GETTERS = frozenset(("GetNode", "easy getNode"))
#: Nodes of the canvas alone: they hold a note, bend a wire or switch others; none of them runs.
VIRTUAL = frozenset(
    (
        "Note",
        "MarkdownNote",
        *(PRIMITIVE, REROUTE, *SETTERS, *GETTERS),
        "Reroute (rgthree)",
        "Label (rgthree)",
        "Bookmark (rgthree)",
        "Fast Actions Button (rgthree)",
        "Fast Bypasser (rgthree)",
        "Fast Groups Bypasser (rgthree)",
        "Fast Groups Muter (rgthree)",
        "Fast Muter (rgthree)",
        "Mute / Bypass Relay (rgthree)",
        "Mute / Bypass Repeater (rgthree)",
        "Node Collector (rgthree)",
        "Note Plus (mtb)",
        "Random Unmuter (rgthree)",
    )
)


@dataclass(slots=True)
class Slot:
    """An input slot; `widget` is the widget whose value it replaces when something is linked."""

    name: str
    type: str
    link: str | None = None
    widget: str | None = None


@dataclass(slots=True)
class Widget:
    """A widget and its value."""

    name: str
    value: Any
    is_sent: bool = True
    #: What its class says of it; None for one that a subgraph shows of an inner node.
    shape: WidgetClass | None = None


@dataclass(slots=True)
class Node:
    """A node of a sheet."""

    id: str
    type: str
    kind: Kind
    title: str
    mode: int
    slots: list[Slot]
    outputs: list[str]
    widgets: list[Widget] = field(default_factory=list)
    properties: Mapping[str, Any] = field(default_factory=dict)
    saved: SavedNode | None = None
    #: How the canvas shows its class; None where ComfyUI has no such class.
    shape: NodeShape | None = None
    #: What a subgraph consists of.
    sheet: Sheet | None = None
    #: Why it cannot be sent, where that shows before it is.
    problem: str | None = None
    _by_name: dict[str | None, Widget] = field(default_factory=dict)
    _indexed: int = 0

    @property
    def is_bypassed(self) -> bool:
        """Whether what it is given goes on as what it gives."""
        return self.mode == BYPASSED

    @property
    def runs(self) -> bool:
        """Whether it is part of the prompt."""
        return self.kind in ("class", "unknown") and self.mode not in (MUTED, BYPASSED)

    def widget(self, name: str | None) -> Widget | None:
        """Return the widget of a name; the first of several."""
        if self._indexed != len(self.widgets):
            self._by_name = {widget.name: widget for widget in reversed(self.widgets)}
            self._indexed = len(self.widgets)
        return self._by_name.get(name)


def of_class(saved: SavedNode, shape: NodeShape) -> Node:
    """Return a node of a class that ComfyUI has."""
    outputs = shape.node_class.outputs
    return Node(
        saved.id,
        saved.type,
        "class",
        saved.title or shape.node_class.title,
        saved.mode,
        list(_slots(saved, shape)),
        [*outputs, *(kind_of(slot) for slot in saved.outputs[len(outputs) :])],
        list(_widgets(saved, shape)),
        # What others name it by in their texts.
        {SEARCHED: saved.type, **saved.properties},
        saved,
        shape,
    )


def as_saved(saved: SavedNode, kind: Kind) -> Node:
    """Return a node of which nothing is known but what the file says."""
    return Node(
        saved.id,
        saved.type,
        kind,
        saved.title or saved.type,
        saved.mode,
        [_slot(slot) for slot in saved.inputs],
        [kind_of(slot) for slot in saved.outputs],
        properties=saved.properties,
        saved=saved,
    )


def of_subgraph(saved: SavedNode, sheet: Sheet) -> Node:
    """Return a node that stands for a subgraph; its widgets are known once its sheet is."""
    own = {str(slot.get("name")): slot for slot in saved.inputs}
    slots = [Slot(port.name, port.type, _link(own.get(port.name, {}))) for port in sheet.inputs]
    names = {port.name for port in sheet.inputs}
    extra = [_slot(slot) for slot in saved.inputs if str(slot.get("name")) not in names]
    return Node(
        saved.id,
        saved.type,
        "subgraph",
        saved.title or sheet.name,
        saved.mode,
        [*slots, *extra],
        [port.type for port in sheet.outputs],
        properties=saved.properties,
        saved=saved,
        sheet=sheet,
    )


def _slots(saved: SavedNode, shape: NodeShape) -> Iterator[Slot]:
    """Yield those of the class, with the links of the file, and those that scripts added."""
    own = {str(slot.get("name")): slot for slot in saved.inputs}
    for slot in shape.slots:
        yield Slot(slot.name, slot.type, _link(own.get(slot.name, {})), slot.widget)
    names = {slot.name for slot in shape.slots}
    for found in saved.inputs:
        # A widget that its class has no longer cannot be linked to.
        if str(found.get("name")) not in names and not found.get("widget"):
            yield _slot(found)


def _slot(found: Mapping[str, Any]) -> Slot:
    widget = found.get("widget")
    name = widget.get("name") if isinstance(widget, Mapping) else None
    shown = name if isinstance(name, str) else None
    return Slot(str(found.get("name")), kind_of(found), _link(found), shown)


def _link(slot: Mapping[str, Any]) -> str | None:
    link = slot.get("link")
    return None if link is None else str(link)


def _widgets(saved: SavedNode, shape: NodeShape) -> Iterator[Widget]:
    given = values.by_name(saved.values, shape)
    for widget in shape.widgets:
        value = given.pop(widget.name, widget.default) if widget.is_saved else widget.default
        yield Widget(widget.name, values.held(widget, value), widget.is_sent, widget)
    for number, row in enumerate(values.rows(saved.values, shape), 1):
        yield Widget(f"lora_{number}", row)
    # By name, a file also has values of widgets that a script of the class adds.
    for name, value in given.items() if isinstance(saved.values, Mapping) else ():
        if value is None or isinstance(value, str | int | float):
            yield Widget(str(name), value)
