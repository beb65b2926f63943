"""Group nodes, as files had them before subgraphs: each is replaced by the nodes within it.

A link to an input of a group node leads to the input that it stands for, also where the official
frontend loses it on the way (reroutes, bypassed nodes, other group nodes). One that is muted or
bypassed stays as it is: none of the nodes within it runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.workflows.canvas import values
from gateway.workflows.canvas.definitions import NodeClass, mapping
from gateway.workflows.canvas.document import Link, SavedNode, saved_node
from gateway.workflows.canvas.group_shapes import Broken, ClassOf, Group, group_of
from gateway.workflows.canvas.nodes import PRIMITIVE, REROUTE, Node, Slot, Widget

_PREFIXES = ("workflow>", "workflow/")
_DEEPEST = 20
#: More than any file has, and what group nodes within each other amount to easily.
_MOST_PARTS = 200_000


class Groups:
    """The group nodes that a file defines."""

    def __init__(self, saved: Mapping[str, Mapping[str, Any]], class_of: ClassOf) -> None:
        self._saved = saved
        self._class_of = class_of
        self._groups: dict[str, Group | str] = {}
        self._nodes: dict[str, tuple[SavedNode, ...]] = {}
        self._heights: dict[str, int] = {}
        self._parts = 0

    def find(self, kind: str) -> Group | str | None:
        """Return the group node of a type, or why there is none; None for any other type."""
        if not kind.startswith(_PREFIXES) or self._is_class(kind):
            return None
        name = kind[len(_PREFIXES[0]) :]
        if name not in self._saved:
            return "the file has no definition of this group node"
        if name not in self._groups:
            try:
                self._height(name, ())
                within = self._nodes_of(name)
                self._groups[name] = group_of(name, self._saved[name], within, self._class_within)
            except Broken as broken:
                self._groups[name] = str(broken)
        return self._groups[name]

    def may_open(self, group: Group) -> bool:
        """Count one more use of a group node; return whether it may be replaced."""
        self._parts += len(group.nodes) + len(group.wires) + len(group.inputs)
        return self._parts <= _MOST_PARTS

    def _is_class(self, kind: str) -> bool:
        return kind[len(_PREFIXES[0]) :] not in self._saved and self._class_of(kind) is not None

    def _class_within(self, kind: str) -> NodeClass | None:
        found = self.find(kind)
        if found is None:
            return self._class_of(kind)
        return None if isinstance(found, str) else found.node_class

    def _nodes_of(self, name: str) -> tuple[SavedNode, ...]:
        if name not in self._nodes:
            found = self._saved[name].get("nodes")
            where = f"prompt.extra.groupNodes.{name[:100]}.nodes"
            self._nodes[name] = tuple(
                saved_node(str(index), mapping(node), f"{where}.{index}")
                for index, node in enumerate(found if isinstance(found, list) else ())
            )
        return self._nodes[name]

    def _height(self, name: str, around: tuple[str, ...]) -> int:
        """Return how deep group nodes lie within one; raises Broken where that has no end."""
        if name in around:
            raise Broken("its group node contains itself")
        if name not in self._heights:
            if len(around) >= _DEEPEST:
                raise Broken(f"group nodes lie deeper in each other than {_DEEPEST}")
            types = {node.type for node in self._nodes_of(name) if node.type.startswith(_PREFIXES)}
            names = sorted(kind[len(_PREFIXES[0]) :] for kind in types)
            inner = [self._height(one, (*around, name)) for one in names if one in self._saved]
            self._heights[name] = 1 + max(inner, default=0)
        if self._heights[name] + len(around) > _DEEPEST:
            raise Broken(f"group nodes lie deeper in each other than {_DEEPEST}")
        return self._heights[name]


@dataclass
class Opening:
    """A sheet whose group nodes are being replaced."""

    groups: Groups
    read: Callable[[SavedNode], Node]
    links: dict[str, Link]
    nodes: dict[str, Node] = field(default_factory=dict)
    #: What the outputs of the replaced group nodes stand for.
    _outputs: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    _waiting: list[Node] = field(default_factory=list)

    def run(self, found: Mapping[str, Node]) -> None:
        """Take the nodes of a sheet over, those within its group nodes in place of these."""
        for node in found.values():
            self._waiting.append(node)
            while self._waiting:
                self._take(self._waiting.pop())
        if self._outputs:
            self.links = {key: self._begun(link) for key, link in self.links.items()}

    def _take(self, node: Node) -> None:
        group = self.groups.find(node.type) if node.runs else None
        if not isinstance(group, Group):
            self.nodes[node.id] = node
            return
        inner = [self._within(node, saved) for saved in group.nodes]
        # Without all the classes within nobody knows what the values are for; those are told of.
        if not any(one.kind == "unknown" for one in inner) and node.saved and node.shape:
            node.problem = values.misfit(node.saved.values, node.shape)
        if node.problem is not None:
            self.nodes[node.id] = node
            return
        _Instance(node, group, inner, self.links).connect()
        self._outputs[node.id] = [(inner[index].id, slot) for index, slot in group.outputs]
        # Primitives have given their values to others, and have no other use.
        self._waiting += [one for one in reversed(inner) if one.type != PRIMITIVE]

    def _within(self, around: Node, saved: SavedNode) -> Node:
        node = self.read(replace(saved, id=f"{around.id}:{saved.id}"))
        if node.type == REROUTE and not node.slots:
            node.slots.append(Slot("", "*"))
        for slot in node.slots:
            slot.link = None
        if node.kind == "unknown":
            node.mode = 0
        elif node.kind == "class":
            # The group node has the values; those here are from when it was made.
            node.saved = None
        return node

    def _begun(self, link: Link) -> Link:
        """Return a link from where it begins within group nodes."""
        while (outputs := self._outputs.get(link.origin)) is not None:
            if not 0 <= link.origin_slot < len(outputs):
                break
            origin, slot = outputs[link.origin_slot]
            link = replace(link, origin=origin, origin_slot=slot)
        return link


class _Instance:
    """A group node, and the nodes that replace it."""

    def __init__(self, node: Node, group: Group, inner: list[Node], links: dict[str, Link]) -> None:
        self._node = node
        self._group = group
        self._inner = inner
        self._links = links
        self._slots = [{slot.name: slot for slot in one.slots} for one in inner]
        #: Where the primitives within lead: their node -> nodes and slots.
        self._leads: dict[int, list[tuple[int, Slot | None]]] = defaultdict(list)

    def connect(self) -> None:
        """Link the nodes with each other, and give them what the group node has."""
        for number, wire in enumerate(self._group.wires):
            slot = self._slot_at(wire.target, wire.target_slot)
            origin, target = self._inner[wire.origin], self._inner[wire.target]
            if origin.type == PRIMITIVE:
                self._leads[wire.origin].append((wire.target, slot))
            elif slot is not None:
                slot.link = f"{self._node.id}:{number}"
                link = Link(origin.id, wire.origin_slot, target.id, wire.target_slot)
                self._links[slot.link] = link
        links = {slot.name: slot.link for slot in self._node.slots}
        given = {widget.name: widget for widget in self._node.widgets}
        for name, (index, own) in self._group.inputs.items():
            for target, slot, held in self._ends(index, own):
                if held is not None and name in given:
                    held.value = given[name].value
                link_id = links.get(name)
                if slot is not None and link_id is not None:
                    self._lead(link_id, target, slot)

    def _ends(self, index: int, own: str) -> Iterator[tuple[Node, Slot | None, Widget | None]]:
        """Yield what an input within stands for: nodes, each with a slot and a widget."""
        node = self._inner[index]
        if node.type == PRIMITIVE:
            for target, slot in self._leads[index]:
                end = self._inner[target]
                yield end, slot, end.widget(slot.widget) if slot is not None else None
        elif node.type == REROUTE:
            yield node, node.slots[0], None
        else:
            yield node, self._slots[index].get(own), node.widget(own)

    def _lead(self, link_id: str, target: Node, slot: Slot) -> None:
        slot.link = link_id
        if link_id in self._links:
            self._links[link_id] = replace(self._links[link_id], target=target.id)

    def _slot_at(self, index: int, place: int) -> Slot | None:
        """Return the slot that had a number when the group node was made."""
        node, saved = self._inner[index], self._group.nodes[index].inputs
        if place < len(saved):
            return self._slots[index].get(str(saved[place].get("name")))
        return node.slots[place] if place < len(node.slots) else None
