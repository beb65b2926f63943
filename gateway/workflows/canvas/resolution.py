"""Where a link really begins: behind reroutes, bypassed nodes, and the walls of subgraphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway.workflows.canvas.document import INPUTS
from gateway.workflows.canvas.frames import Frame
from gateway.workflows.canvas.nodes import Node


class Wire(NamedTuple):
    """An output of a node that may run."""

    node_id: str
    slot: int


class Value(NamedTuple):
    """A value that a subgraph shows of an inner node, as its own node has it."""

    value: Any


class Circle(Exception):
    """A link leads back to itself through nodes that do not run; `node` is one of them."""

    def __init__(self, name: str, node: Node) -> None:
        super().__init__(name)
        self.name = name
        self.node = node


@dataclass(slots=True)
class _Place:
    """A slot of a node, and whether it is looked at from outside (an output) or as an input."""

    frame: Frame
    node: Node
    slot: int
    is_output: bool
    #: The type that is wanted at the far end; None where the input itself says.
    wanted: str | None = None

    @property
    def key(self) -> tuple[str, str, int, bool, str | None]:
        return (self.frame.prefix, self.node.id, self.slot, self.is_output, self.wanted)


#: What a node without a wire stands for: another node's input, in some frame.
Wireless = Callable[[Frame, Node], "tuple[Frame, Node] | None"]


#: Where places lead that were looked at before: chains are long, and many nodes take what ends one.
Known = dict[Any, "Wire | Value | Circle | None"]


def resolve(
    frame: Frame, node: Node, slot: int, wireless: Wireless, known: Known
) -> Wire | Value | None:
    """Return what an input is given; None where nothing is linked in the end. Raises Circle."""
    place = _Place(frame, node, slot, is_output=False)
    way: dict[Any, None] = {}
    while True:
        key = place.key
        if key in known:
            found: _Place | Wire | Value | Circle | None = known[key]
            break
        if key in way:
            found = Circle(place.frame.name(place.node), place.node)
            break
        way[key] = None
        found = _behind_output(place, wireless) if place.is_output else _behind_input(place)
        if not isinstance(found, _Place):
            break
        place = found
    assert not isinstance(found, _Place)
    known.update(dict.fromkeys(way, found))
    if isinstance(found, Circle):
        raise Circle(found.name, found.node)
    return found


def _behind_input(place: _Place) -> _Place | Value | None:
    frame, node = place.frame, place.node
    if not 0 <= place.slot < len(node.slots):
        return None
    found = node.slots[place.slot]
    link = frame.level.links.get(found.link) if found.link is not None else None
    if link is None:
        return None
    if frame.node is not None and frame.around is not None and link.origin == INPUTS:
        return _outside(frame.around, frame.node, link.origin_slot)
    origin = frame.level.nodes.get(link.origin)
    if origin is None:
        return None
    wanted = place.wanted or found.type
    return _Place(frame, origin, link.origin_slot, is_output=True, wanted=wanted)


def _outside(frame: Frame, node: Node, slot: int) -> _Place | Value | None:
    """Return what comes in through a slot of the node that stands for a subgraph."""
    if not 0 <= slot < len(node.slots):
        return None
    found = node.slots[slot]
    if found.link is not None:
        return _Place(frame, node, slot, is_output=False)
    widget = node.widget(found.widget)
    return None if widget is None else Value(widget.value)


def _behind_output(place: _Place, wireless: Wireless) -> _Place | Wire | None:
    frame, node, slot = place.frame, place.node, place.slot
    wanted = place.wanted or "*"
    if node.is_bypassed:
        through = bypass_slot(node, slot, wanted)
        return None if through is None else _Place(frame, node, through, is_output=False)
    if node.kind == "subgraph":
        return _inside(frame.inner[node.id], slot, wanted)
    if node.kind == "virtual":
        meant = wireless(frame, node)
        if meant is not None:
            return _Place(*meant, 0, is_output=False, wanted=wanted)
        return _Place(frame, node, slot, is_output=False, wanted=wanted)
    return Wire(frame.name(node), slot)


def _inside(frame: Frame, slot: int, wanted: str) -> _Place | None:
    """Return what comes out of a subgraph."""
    link = frame.level.ends.get(slot)
    if link is None:
        return None
    if link.origin == INPUTS and frame.node is not None and frame.around is not None:
        return _Place(frame.around, frame.node, link.origin_slot, is_output=False, wanted=wanted)
    origin = frame.level.nodes.get(link.origin)
    if origin is None:
        return None
    return _Place(frame, origin, link.origin_slot, is_output=True, wanted=wanted)


def bypass_slot(node: Node, slot: int, wanted: str) -> int | None:
    """Return the input that goes on as an output of a bypassed node, by its type."""
    slots = node.slots
    if wanted == "*":
        return slot if len(slots) > slot else 0
    given = node.outputs[slot] if 0 <= slot < len(node.outputs) else "*"

    def fits(kind: str) -> bool:
        return is_valid(kind, given) and is_valid(kind, wanted)

    if 0 <= slot < len(slots) and fits(slots[slot].type):
        return slot
    exact = next((index for index, one in enumerate(slots) if one.type == wanted), None)
    if exact is not None:
        return exact
    return next((index for index, one in enumerate(slots) if fits(one.type)), None)


def is_valid(first: str, second: str) -> bool:
    """Whether a link may join two types: `*` fits all, and a type may be a list with commas."""
    if first == second or "*" in (first, second) or "" in (first, second):
        return True
    ours, theirs = first.lower().split(","), second.lower().split(",")
    return any(one == other or "*" in (one, other) for one in ours for other in theirs)
