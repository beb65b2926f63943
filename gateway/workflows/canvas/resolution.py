"""Where a link really begins: behind reroutes, bypassed nodes, and the walls of subgraphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from gateway.workflows.canvas.budget import Budget
from gateway.workflows.canvas.document import INPUTS
from gateway.workflows.canvas.frames import Frame
from gateway.workflows.canvas.nodes import Node

_WILD = frozenset(("*", ""))
#: A longer type is one name, and no list with commas.
_LONGEST = 1000


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


@dataclass(frozen=True, slots=True)
class _Place:
    """A slot of a node, and whether it is looked at from outside (an output) or as an input."""

    frame: Frame
    node: Node
    slot: int
    is_output: bool
    #: The type that is wanted at the far end; None where the input itself says.
    wanted: str | None = None

    @property
    def is_fork(self) -> bool:
        """Whether the type that is wanted decides where the way goes on."""
        return self.is_output and self.node.is_bypassed

    @property
    def key(self) -> _Key:
        wanted = self.wanted if self.is_fork else None
        return (self.frame, self.node.id, self.slot, self.is_output, wanted)


_Key = tuple[Frame, str, int, bool, str | None]
_End = Wire | Value | Circle | None
#: What a node without a wire stands for: another node's input, in some frame.
Wireless = Callable[[Frame, Node], tuple[Frame, Node] | None]


class Resolver:
    """Follows the links of one file; what it has seen of a way, it knows the next time."""

    def __init__(self, wireless: Wireless, budget: Budget) -> None:
        self._wireless = wireless
        self._budget = budget
        #: Where places lead: to an end, or to the next fork, whatever type is wanted.
        self._known: dict[_Key, _End | _Place] = {}

    def resolve(self, frame: Frame, node: Node, slot: int) -> Wire | Value | None:
        """Return what an input is given; None where nothing is linked in the end.

        Raises Circle, and Spent when it is a long way.
        """
        found = self._follow(_Place(frame, node, slot, is_output=False))
        if isinstance(found, Circle):
            raise Circle(found.name, found.node)
        return found

    def _follow(self, place: _Place) -> _End:
        # Places whose end is the end of all this, and those that may lead elsewhere for another.
        settled: dict[_Key, None] = {}
        passing: dict[_Key, None] = {}
        while True:
            self._budget.spend()
            key = place.key
            if key in settled or key in passing:
                found: _End | _Place = Circle(place.frame.name(place.node), place.node)
            elif key in self._known:
                found = self._known[key]
            else:
                if place.is_fork:
                    self._known.update(dict.fromkeys(passing, replace(place, wanted=None)))
                    passing.clear()
                # Where nothing is wanted yet, the slot itself says what is.
                is_settled = place.is_fork or (not place.is_output and place.wanted is None)
                (settled if is_settled else passing)[key] = None
                found = self._next(place)
            if not isinstance(found, _Place):
                self._known.update(dict.fromkeys((*settled, *passing), found))
                return found
            place = found if found.wanted or not found.is_output else self._wanting(found, place)

    def _wanting(self, found: _Place, place: _Place) -> _Place:
        return replace(found, wanted=place.wanted)

    def _next(self, place: _Place) -> _Place | Wire | Value | None:
        return self._behind_output(place) if place.is_output else _behind_input(place)

    def _behind_output(self, place: _Place) -> _Place | Wire | None:
        frame, node, slot, wanted = place.frame, place.node, place.slot, place.wanted
        if node.is_bypassed:
            self._budget.spend(4 * len(node.slots))
            through = bypass_slot(node, slot, wanted or "*")
            return None if through is None else _Place(frame, node, through, is_output=False)
        if node.kind == "subgraph":
            return _inside(frame.inner[node.id], slot, wanted)
        if node.kind == "virtual":
            meant = self._wireless(frame, node)
            if meant is not None:
                return _Place(*meant, 0, is_output=False, wanted=wanted)
            return _Place(frame, node, slot, is_output=False, wanted=wanted)
        return Wire(frame.name(node), slot)


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


def _inside(frame: Frame, slot: int, wanted: str | None) -> _Place | None:
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
    if first == second:
        return True
    ours, theirs = _kinds(first), _kinds(second)
    return not (ours.isdisjoint(theirs) and ours.isdisjoint(_WILD) and theirs.isdisjoint(_WILD))


@lru_cache(maxsize=1024)
def _kinds(name: str) -> frozenset[str]:
    return frozenset(name.lower().split(",") if len(name) <= _LONGEST else (name,))
