"""What a node gave for the same inputs the last time, kept while the next prompt may use it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.embedded.folders import Folders
from gateway.embedded.graph import Graph, is_link
from gateway.embedded.nodes import CLASSES


@dataclass(slots=True)
class Cache:
    """Values and client-visible outputs by signature, memories by node; only the last prompt's."""

    values: dict[Hashable, tuple[Any, ...]] = field(default_factory=dict)
    uis: dict[Hashable, dict[str, list[Any]]] = field(default_factory=dict)
    memories: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def keep_only(self, graph: Graph, signatures: Mapping[str, Hashable]) -> None:
        """Forget everything that this prompt does not name."""
        wanted = set(signatures.values())
        self.values = {key: value for key, value in self.values.items() if key in wanted}
        self.uis = {key: ui for key, ui in self.uis.items() if key in wanted}
        nodes = {(node_id, node["class_type"]) for node_id, node in graph.items()}
        self.memories = {key: memory for key, memory in self.memories.items() if key in nodes}

    def clear(self) -> None:
        self.values, self.uis, self.memories = {}, {}, {}


def signatures(graph: Graph, folders: Folders) -> dict[str, Hashable]:
    """For each node what it and all its ancestors depend on: equal signatures give equal values."""
    fingerprints = {node_id: _fingerprint(node, folders) for node_id, node in graph.items()}
    return {node_id: _signature(graph, node_id, fingerprints) for node_id in graph}


def _signature(graph: Graph, node_id: str, fingerprints: Mapping[str, Hashable]) -> Hashable:
    places: dict[str, int] = {}
    _number_ancestors(graph, node_id, places)
    described = [_describe(graph, member, places, fingerprints) for member in (node_id, *places)]
    return tuple(described)


def _number_ancestors(graph: Graph, node_id: str, places: dict[str, int]) -> None:
    if node_id not in graph:
        return
    for _, value in sorted(graph[node_id]["inputs"].items()):
        if is_link(value) and value[0] not in places:
            places[value[0]] = len(places)
            _number_ancestors(graph, value[0], places)


def _describe(
    graph: Graph, node_id: str, places: Mapping[str, int], fingerprints: Mapping[str, Hashable]
) -> Hashable:
    if node_id not in graph:
        return float("nan")
    node = graph[node_id]
    inputs = tuple(
        (name, ("link", places[value[0]], value[1]) if is_link(value) else _hashable(value))
        for name, value in sorted(node["inputs"].items())
    )
    return (node["class_type"], fingerprints[node_id], inputs)


def _fingerprint(node: dict[str, Any], folders: Folders) -> Hashable:
    """What the class says about inputs that change behind their names, such as a file's content."""
    node_class = CLASSES[node["class_type"]]
    if node_class.fingerprint is None:
        return False
    try:
        return node_class.fingerprint(folders, **node["inputs"])
    except (AttributeError, OSError, TypeError, ValueError):
        # Never equal to anything, so the node runs, and says itself what is wrong.
        return float("nan")


def _hashable(value: Any) -> Hashable:
    if isinstance(value, dict):
        return frozenset((_hashable(key), _hashable(item)) for key, item in value.items())
    if isinstance(value, list):
        return tuple(_hashable(item) for item in value)
    hashable: Hashable = value
    return hashable
