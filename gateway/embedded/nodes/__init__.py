"""Every class of nodes the engine has, by name."""

from __future__ import annotations

from gateway.embedded.nodes import images, loaders, loading, sampling, saving, text
from gateway.embedded.nodes.definition import Node

CLASSES: dict[str, Node] = {
    node.name: node
    for room in (sampling, loaders, saving, loading, images, text)
    for node in room.NODES
}
