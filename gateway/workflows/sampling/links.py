"""Follow the links of a graph to the values at their ends; pure, and in linear time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Any, NamedTuple

from gateway import graph

#: Nodes between an input and the value at the end of its wire.
HOPS = 16
#: Nodes that are looked at to learn who else reads a value.
READERS = 64
#: Characters of a text that is told.
TEXT_LENGTH = 65536

#: How nodes that hold a constant call it.
VALUES = ("value", "int", "float", "number", "string", "text", "seed")
#: Words in the inputs of a node that picks a size by itself, whatever its width says.
PICKERS = ("aspect", "ratio", "resolution", "dimension", "swap")


class Place(NamedTuple):
    """An input that holds a value: the key of `graph.with_inputs`."""

    node_id: str
    name: str


class Wires:
    """One reading of a graph; what it costs in all is bounded by the size of the graph."""

    def __init__(self, workflow: graph.Graph) -> None:
        self._graph = workflow
        self._left = 2000 + 10 * len(workflow)
        self._alone: dict[tuple[str, Any, int], bool] = {}

    def spend(self) -> bool:
        """Whether there is time for one more node; hostile graphs run out of it."""
        self._left -= 1
        return self._left >= 0

    def inputs(self, node_id: str) -> Mapping[str, Any]:
        """Return a node's inputs; none of a node that is not there."""
        node = self._graph.get(node_id)
        found: Mapping[str, Any] = node.get("inputs", {}) if node else {}
        return found

    def class_of(self, node_id: str) -> str:
        """Return a node's class; empty of a node that is not there."""
        node = self._graph.get(node_id)
        return str(node["class_type"]) if node else ""

    def leads(self, value: Any) -> bool:
        """Whether a value is a link to a node that is there."""
        return isinstance(value, list) and graph.is_link(value) and value[0] in self._graph

    def source(self, node_id: str, *names: str) -> tuple[str, int] | None:
        """Return where the first of these inputs that is a link comes from: node id and output."""
        inputs = self.inputs(node_id)
        for name in names:
            value: Any = inputs.get(name)
            if self.leads(value):
                return value[0], value[1]
        return None

    def walk_to(
        self, start: tuple[str, int] | None, wire: str, wanted: Callable[[Mapping[str, Any]], bool]
    ) -> str | None:
        """Return the nearest node that is wanted, going on by the inputs that begin with `wire`."""
        seen: set[str] = set()
        while start and start[0] not in seen and self.spend():
            seen.add(start[0])
            if wanted(self.inputs(start[0])):
                return start[0]
            start = self._onward(start[0], wire)
        return None

    def _onward(self, node_id: str, wire: str) -> tuple[str, int] | None:
        names = [name for name in self.inputs(node_id) if name.startswith(wire)]
        inputs = self.inputs(node_id)
        return self.source(node_id, *(names or (inputs if len(inputs) == 1 else ())))

    def literal(self, place: Place) -> Place | None:
        """Return where the value of an input stands; None where it is computed, or is not there."""
        for _ in range(HOPS):
            value: Any = self.inputs(place.node_id).get(place.name)
            if not graph.is_link(value):
                return None if value is None else place
            name = _carrier(self.inputs(value[0]), place.name)
            if name is None:
                return None
            place = Place(value[0], name)
        return None

    def value(self, place: Place) -> Any:
        """Return the value of an input, also behind links; None where it is computed."""
        found = self.literal(place)
        return None if found is None else self.inputs(found.node_id)[found.name]

    def text(self, place: Place, depth: int = 0) -> str | None:
        """Return the text of an input, also put together of others; None where it is computed."""
        if depth > HOPS or not self.spend():
            return None
        found = self.value(place)
        if isinstance(found, str):
            return found[:TEXT_LENGTH]
        source = self.source(*place)
        if source is None or not {"string_a", "string_b"} <= self.inputs(source[0]).keys():
            return None
        parts = [self.text(Place(source[0], name), depth + 1) for name in ("string_a", "string_b")]
        between = self.inputs(source[0]).get("delimiter")
        joined = (between if isinstance(between, str) else "").join(part or "" for part in parts)
        return None if None in parts else joined[:TEXT_LENGTH]

    def home(self, place: Place, peers: AbstractSet[Place]) -> Place:
        """Return where to write for an input: the constant behind it if it feeds `peers` alone."""
        found = self.literal(place)
        if found is None or found == place:
            return place
        source, output = self.inputs(place.node_id)[place.name]
        key = (found.node_id, output if source == found.node_id else None, id(peers))
        if key not in self._alone:
            self._alone[key] = self._feeds_only(key[0], key[1], peers)
        return found if self._alone[key] else place

    def _feeds_only(self, node_id: str, output: Any, peers: AbstractSet[Place]) -> bool:
        waiting: list[tuple[str, Any]] = [(node_id, output)]
        seen = {node_id}
        while waiting:
            current, output = waiting.pop()
            readers = [
                reader
                for read, reader in self._readers.get(current, ())
                if output is None or read == output
            ]
            outside = {reader.node_id for reader in readers if reader not in peers} - seen
            seen |= outside
            if not readers or len(seen) > READERS:
                return False
            waiting.extend((node_id, None) for node_id in outside)
        return True

    @cached_property
    def _readers(self) -> dict[str, list[tuple[Any, Place]]]:
        found: dict[str, list[tuple[Any, Place]]] = {}
        for node_id, node in self._graph.items():
            for name, value in node.get("inputs", {}).items():
                if graph.is_link(value):
                    found.setdefault(value[0], []).append((value[1], Place(node_id, name)))
        return found


def _carrier(inputs: Mapping[str, Any], wanted: str) -> str | None:
    """Return the input of a node that its output passes on, as far as names tell."""
    if wanted in inputs:
        picks = any(word in name for name in inputs for word in PICKERS)
        return None if picks else wanted
    if len(inputs) == 1:
        return next(iter(inputs))
    if any(graph.is_link(value) for value in inputs.values()):
        return None
    return next((name for name in VALUES if name in inputs), None)
