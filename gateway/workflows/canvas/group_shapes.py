"""Group nodes as the file defines them: which slots and widgets one has, and what they stand for.

The order of the widgets is that of the values which the file has for a group node, so it follows
the official frontend to the letter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway.workflows.canvas import definitions
from gateway.workflows.canvas.definitions import SEEDS, Input, NodeClass, mapping
from gateway.workflows.canvas.document import SavedNode, kind_of, slot_number
from gateway.workflows.canvas.nodes import PRIMITIVE, REROUTE

#: What knows the classes of the nodes within; None for a class that nobody knows.
ClassOf = Callable[[str], NodeClass | None]

#: More than any group node has, and what a few of them within each other amount to easily.
_MOST_INPUTS = 2_000


class Broken(Exception):
    """A definition of which no node can be made; the argument says why."""


class Wire(NamedTuple):
    """A link between two nodes of a group, which are counted from 0."""

    origin: int
    origin_slot: int
    target: int
    target_slot: int
    type: str


@dataclass(frozen=True, slots=True)
class Group:
    """A group node as the file defines it."""

    node_class: NodeClass
    nodes: tuple[SavedNode, ...]
    wires: tuple[Wire, ...]
    #: What an input of the group node stands for: a node within, and the name of its input.
    inputs: Mapping[str, tuple[int, str]]
    #: What an output stands for: a node within, and its output.
    outputs: tuple[tuple[int, int], ...]


def group_of(
    name: str, saved: Mapping[str, Any], nodes: tuple[SavedNode, ...], class_of: ClassOf
) -> Group:
    """Return the group node of a definition in `extra.groupNodes`; `nodes` are those within.

    Raises Broken.
    """
    return _Plan(saved, nodes, class_of).group(name)


class _Plan:
    """A group node whose slots and widgets are being found."""

    def __init__(
        self, saved: Mapping[str, Any], nodes: tuple[SavedNode, ...], class_of: ClassOf
    ) -> None:
        self._nodes = nodes
        self._known = class_of
        self._config = mapping(saved.get("config"))
        self._wires = tuple(_wires(saved.get("links"), len(nodes)))
        self._external = _external(saved.get("external"))
        self._arriving = dict(_arriving(saved.get("links")))
        self._linked = {(wire.target, wire.target_slot) for wire in self._wires}
        self._to: dict[int, list[Wire]] = defaultdict(list)
        self._from: dict[int, list[Wire]] = defaultdict(list)
        for wire in self._wires:
            self._to[wire.target].append(wire)
            self._from[wire.origin].append(wire)
        self._required: dict[str, list[Any]] = {}
        self._inputs: dict[str, tuple[int, str]] = {}
        self._outputs: list[tuple[int, int]] = []
        self._kinds: list[str] = []
        self._seen: dict[str, int] = {}
        self._labelled: dict[int, dict[str, Any]] = {}

    def group(self, name: str) -> Group:
        """Return the group node."""
        later: list[tuple[int, int, list[Input]]] = []
        for index in range(len(self._nodes)):
            found = self._class_of(index)
            if found is None:
                continue
            inputs, outputs = found
            later.append((index, *self._add_inputs(index, inputs)))
            self._add_outputs(index, outputs)
        # Widgets that were made inputs come after all others.
        for index, sockets, converted in later:
            for position, one in enumerate(converted, sockets):
                if (index, position) not in self._linked:
                    self._add(index, one)
        definition = {"input": {"required": self._required}, "output": self._kinds}
        return Group(
            definitions.read(f"workflow>{name}", {**definition, "display_name": name}),
            self._nodes,
            self._wires,
            self._inputs,
            tuple(self._outputs),
        )

    # What the nodes within have

    def _class_of(self, index: int) -> tuple[list[Input], list[str]] | None:
        """Return inputs and outputs of a node; None for one that only the canvas knows."""
        kind = self._nodes[index].type
        if kind == PRIMITIVE:
            return self._primitive(index)
        if kind == REROUTE:
            return self._reroute(index)
        found = self._known(kind)
        return None if found is None else (list(found.inputs), list(found.outputs))

    def _primitive(self, index: int) -> tuple[list[Input], list[str]] | None:
        """Return a widget with the type and the options of what it is linked to."""
        leaving = self._from[index]
        if not leaving:
            return None
        kind = leaving[0].type
        options: dict[str, Any] = {}
        for wire in leaving:
            given = self._input(wire.target, self._slot_name(wire.target, wire.target_slot))
            if given is not None:
                kind = "COMBO" if given.type == "COMBO" else kind
                options = dict(given.options)
        options.pop("forceInput", None)
        return [Input("value", kind, {**options, "control_after_generate": True})], [kind]

    def _reroute(self, index: int) -> tuple[list[Input], list[str]] | None:
        """Return a slot in and a slot out, unless nothing but the group uses it."""
        leaving = self._from[index]
        arriving = self._to[index]
        if leaving and arriving and not self._external.get((index, 0)):
            return None
        kind = "*"
        if leaving:
            ends = (self._slot(wire.target, wire.target_slot) for wire in leaving)
            kind = next((one for one in map(kind_of, ends) if one != "*"), "*")
        elif arriving:
            outputs = self._nodes[arriving[-1].origin].outputs
            slot = arriving[-1].origin_slot
            kind = kind_of(outputs[slot]) if slot < len(outputs) else "*"
        else:
            kind = self._arriving.get(index, "*")
            kind = self._external.get((index, 0), "*") if kind == "*" else kind
        return [Input(kind, kind, {"forceInput": True})], [kind]

    def _slot(self, index: int, slot: int) -> Mapping[str, Any]:
        inputs = self._nodes[index].inputs
        return inputs[slot] if 0 <= slot < len(inputs) else {}

    def _slot_name(self, index: int, slot: int) -> str | None:
        name = self._slot(index, slot).get("name")
        return name if isinstance(name, str) else None

    def _input(self, index: int, name: str | None) -> Input | None:
        found = self._known(self._nodes[index].type)
        inputs = found.inputs if found is not None else ()
        return next((one for one in inputs if one.name == name), None)

    def _labels(self, index: int) -> Mapping[str, Any]:
        if index not in self._labelled:
            slots = reversed(self._nodes[index].inputs)
            self._labelled[index] = {str(slot.get("name")): slot.get("label") for slot in slots}
        return self._labelled[index]

    # What the group node gets

    def _add_inputs(self, index: int, inputs: Iterable[Input]) -> tuple[int, list[Input]]:
        """Add widgets and sockets; return how many sockets there are, and the widgets to come."""
        places, with_widget = _places(self._nodes[index])
        converted: dict[int, Input] = {}
        sockets: list[Input] = []
        for one in inputs:
            if not one.has_widget_type:
                sockets.append(one)
            elif one.name in with_widget:
                converted[with_widget[one.name]] = one
            else:
                self._add(index, one)
        for position, one in enumerate(sockets):
            if (index, places.get(one.name, position)) not in self._linked:
                self._add(index, one, may_hide=True)
        # The frontend sorts these numbers as texts: 10 comes before 4.
        return len(sockets), [converted[place] for place in sorted(converted, key=str)]

    def _add(self, index: int, given: Input, *, may_hide: bool = False) -> None:
        own = mapping(mapping(mapping(self._config.get(str(index))).get("input")).get(given.name))
        name, prefix = self._named(index, given.name, own.get("name"))
        if may_hide and own.get("visible") is False:
            return
        options = dict(given.options)
        if given.name in SEEDS:
            options["control_after_generate"] = f"{prefix}control_after_generate"
        if len(self._required) >= _MOST_INPUTS:
            raise Broken(f"it has more than {_MOST_INPUTS} inputs")
        self._required[name] = [given.type, options]
        self._inputs[name] = (index, given.name)

    def _named(self, index: int, given: str, own: Any) -> tuple[str, str]:
        """Return the name of an input of the group node, and what was put before it."""
        node = self._nodes[index]
        label = self._labels(index).get(given)
        name = own if isinstance(own, str) else label if isinstance(label, str) else given
        key, prefix = name, ""
        if (node.type == PRIMITIVE and node.title) or name in self._seen:
            prefix = f"{node.title or node.type} "
            key = name = f"{prefix}{given}"
            if name in self._seen:
                name = f"{prefix}{self._seen[name]} {given}"
        self._seen[key] = self._seen.get(key, 1) + 1
        return name, prefix

    def _add_outputs(self, index: int, kinds: list[str]) -> None:
        own = mapping(mapping(self._config.get(str(index))).get("output"))
        used = {wire.origin_slot for wire in self._from[index]}
        for slot, kind in enumerate(kinds):
            visible = mapping(own.get(str(slot))).get("visible")
            if visible is None:
                visible = slot not in used or bool(self._external.get((index, slot)))
            if visible:
                self._outputs.append((index, slot))
                self._kinds.append(kind)


def _places(node: SavedNode) -> tuple[dict[str, int], dict[str, int]]:
    """Return the number of each slot of a node, and of those that belong to a widget."""
    places: dict[str, int] = {}
    with_widget: dict[str, int] = {}
    for place, slot in enumerate(node.inputs):
        name = str(slot.get("name"))
        places.setdefault(name, place)
        if mapping(slot.get("widget")).get("name") == name:
            with_widget.setdefault(name, place)
    return places, with_widget


def _lists(found: Any, length: int) -> Iterator[list[Any]]:
    for one in found if isinstance(found, list) else ():
        if isinstance(one, list) and len(one) >= length:
            yield one


def _wires(links: Any, count: int) -> Iterator[Wire]:
    """Yield the links whose two ends are in the group."""
    for link in _lists(links, 4):
        ends = [-1 if part is None else slot_number(part) for part in link[:4]]
        kind = link[5] if len(link) > 5 and isinstance(link[5], str) and link[5] else "*"
        origin, origin_slot, target, target_slot = ends
        if 0 <= origin < count and 0 <= target < count and origin_slot >= 0 and target_slot >= 0:
            yield Wire(origin, origin_slot, target, target_slot, kind)


def _arriving(links: Any) -> Iterator[tuple[int, str]]:
    """Yield the nodes that were linked from outside, the last first, and by which type."""
    for link in reversed(list(_lists(links, 6))):
        if isinstance(link[5], str):
            yield slot_number(link[2]), link[5]


def _external(found: Any) -> dict[tuple[int, int], str]:
    """Return the outputs that are used outside: (node, slot) -> type."""
    return {
        (slot_number(one[0]), slot_number(one[1])): str(one[2])
        for one in _lists(found, 3)
        if one[2]
    }
